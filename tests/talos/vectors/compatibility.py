"""Talos and Kubernetes versions that go together, upgrade pairs, and versions inside image names."""

from collections.abc import Callable, Iterator
from pathlib import Path

from talos import images, semver, versions
from tests.talos.vectors import unequal


def cases(data: dict, folder: Path) -> Iterator[tuple[str, dict]]:
    for part, records in data.items():
        for record in records:
            inputs = [str(record[key]) for key in ("talos", "from", "to", "kubernetes", "image") if key in record]
            yield f"{part}/{' '.join(inputs)}", {"part": part, **record}


def check(case: dict) -> str | None:
    return _CHECKS[case["part"]](case)


def error_of(call: Callable, *arguments: str) -> str | None:
    try:
        call(*arguments)
    except ValueError as error:
        return str(error)
    return None


def check_kubernetes(case: dict) -> str | None:
    want = case.get("parseError") or case["error"]
    return unequal("error", error_of(versions.check_kubernetes, case["kubernetes"], case["talos"]), want)


def check_talos_upgrade(case: dict) -> str | None:
    want = case.get("parseError") or case["error"]
    return unequal("error", error_of(versions.check_talos_upgrade, case["from"], case["to"]), want)


def check_talos_version(case: dict) -> str | None:
    talos = case["talos"]
    if "parseError" in case:
        return unequal("error", error_of(semver.parse, talos), case["parseError"])
    got = {
        "string": str(semver.parse(talos)),
        "disablePredictableNetworkInterfaces": versions.disables_predictable_interfaces(talos),
        "precreateStatePartition": versions.precreates_state_partition(talos),
        "supportsSSAManifestSync": versions.syncs_manifests_by_server_side_apply(talos),
    }
    return unequal("version", got, {key: case[key] for key in got})


def check_kubernetes_image(case: dict) -> str | None:
    image = case["image"]
    if "versionError" in case:
        found = unequal("version error", error_of(images.kubernetes_version, image), case["versionError"])
    else:
        found = unequal("version", str(images.kubernetes_version(image)), case["version"])
    got = error_of(images.check_kubernetes_image, image, versions.CURRENT_TALOS)
    return found or unequal("tag error", got, case["validateTagError"])


def check_kubernetes_upgrade_path(case: dict) -> str | None:
    if case.get("error"):
        got = error_of(versions.kubernetes_upgrade_supported, case["from"], case["to"])
        return unequal("error", got, case["error"])
    return unequal("supported", versions.kubernetes_upgrade_supported(case["from"], case["to"]), case["supported"])


_CHECKS = {
    "kubernetes": check_kubernetes,
    "talosUpgrade": check_talos_upgrade,
    "talosVersion": check_talos_version,
    "kubernetesImage": check_kubernetes_image,
    "kubernetesUpgradePath": check_kubernetes_upgrade_path,
}
