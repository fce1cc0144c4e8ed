"""Joining: fingerprints, kernel arguments and join documents, overlay addresses, Provision messages, image labels."""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf import json_format

from talos import jointoken, kernelargs, meta, siderolink
from talos.gen.sidero import link_pb2
from talos.siderolink import Purpose
from tests.talos.vectors import unequal

# Errors whose words are ours to match; the others come from the reference's URL, base64 and YAML readers.
OWN_ERRORS = (
    "no join token",
    "no machine API URL",
    "no events server port",
    "no log server port",
    "unsupported version",
)


def cases(data: dict, folder: Path) -> Iterator[tuple[str, dict]]:
    for part, records in data.items():
        if isinstance(records, dict):
            yield part, {"part": part, "input": {}, "expected": records}
            continue
        for index, record in enumerate(records):
            yield f"{part}/{index}", {"part": part, **record}


def check(case: dict) -> str | None:
    return _CHECKS[case["part"]](case["input"], case["expected"])


def check_error(call, want: str) -> str | None:
    try:
        call()
    except ValueError as error:
        return unequal("error", str(error), want) if want.startswith(OWN_ERRORS) else None
    return f"no error, want {want!r}"


def check_fingerprint(given: dict, want: dict) -> str | None:
    links = [
        jointoken.NetworkLink(link["Type"], link["Kind"], bytes.fromhex(link["HW"]), bytes.fromhex(link["Perm"]))
        for link in given["links"]
    ]
    return unequal("fingerprint", jointoken.machine_fingerprint(links), want["fingerprint"])


def check_join_options(given: dict, want: dict) -> str | None:
    def options() -> kernelargs.JoinOptions:
        return kernelargs.join_options(
            None if given.get("withoutURL") else given["url"],
            given["token"],
            event_port=given["eventPort"],
            log_port=given["logPort"],
            tunnel=given.get("tunnel", False),
            provider=given.get("provider", ""),
            machine_request=given.get("machineRequest", ""),
            signed_form=given.get("version", "2"),
        )

    if "error" in want:
        return check_error(options, want["error"])
    return unequal("kernel arguments", options().kernel_arguments(), want["kernelArgs"]) or unequal(
        "documents", options().documents(), want["config"]
    )


def check_network_prefix(given: dict, want: dict) -> str | None:
    return unequal("prefix", str(siderolink.prefix(given["value"])), want["siderolinkPrefix"]) or unequal(
        "server", str(siderolink.server_address(given["value"])), want["serverAddress"]
    )


def check_virtual_prefix(given: dict, want: dict) -> str | None:
    got = {
        "listenHost": str(siderolink.server_address()),
        "virtualPrefix": str(siderolink.prefix(purpose=Purpose.VIRTUAL)),
    }
    return unequal("addresses", got, want)


def check_provision_endpoints(given: dict, want: dict) -> str | None:
    wire = siderolink.order_for_wire(given["strings"])
    if "panic" in want:
        return unequal("order of nothing", wire, [])
    return unequal("wire", wire, want["wire"]) or unequal("read", siderolink.order_for_wire(wire), want["read"])


def check_image_labels_encode(given: dict, want: dict) -> str | None:
    return unequal("encoded", meta.encode_image_labels(given["extra"]), want["encoded"])


def check_image_labels_parse(given: dict, want: dict) -> str | None:
    if "error" in want:
        return check_error(lambda: meta.parse_image_labels(given["value"]), want["error"])
    return unequal("labels", meta.parse_image_labels(given["value"]), want["labels"])


def check_message(given: dict, want: dict, message) -> str | None:
    data = bytes.fromhex(want["hex"])
    parsed = json_format.ParseDict(given["json"], message())
    return unequal("encoded", parsed.SerializeToString(deterministic=True).hex(), want["hex"]) or unequal(
        "decoded", message.FromString(data), parsed
    )


def check_ula(given: dict, want: dict) -> str | None:
    overlay = siderolink.has_purpose(given["value"], Purpose.SIDEROLINK)
    got = {
        "siderolink": overlay,
        "kubespan": siderolink.has_purpose(given["value"], Purpose.KUBESPAN),
        "notSideroLink": not overlay,
    }
    return unequal("purpose", got, want)


_CHECKS = {
    "machineFingerprint": check_fingerprint,
    "joinOptions": check_join_options,
    "networkPrefix": check_network_prefix,
    "virtualPrefix": check_virtual_prefix,
    "provisionEndpoints": check_provision_endpoints,
    "imageLabelsEncode": check_image_labels_encode,
    "imageLabelsParse": check_image_labels_parse,
    "provisionRequestBytes": lambda given, want: check_message(given, want, link_pb2.ProvisionRequest),
    "provisionResponseBytes": lambda given, want: check_message(given, want, link_pb2.ProvisionResponse),
    "isULA": check_ula,
}
