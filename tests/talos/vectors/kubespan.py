"""KubeSpan addresses and node ids."""

from collections.abc import Iterator
from pathlib import Path

from kubespan import address, nodeid
from talos import siderolink
from talos.siderolink import Purpose
from tests.talos.vectors import unequal

# The fourth purpose, "bootstrap", is of no use to us.
PURPOSES = {
    "kubespan": Purpose.KUBESPAN,
    "siderolink": Purpose.SIDEROLINK,
    "virtualSiderolink": Purpose.VIRTUAL,
}


def cases(data: dict, folder: Path) -> Iterator[tuple[str, dict]]:
    for part, records in data.items():
        for index, record in enumerate(records):
            yield f"{part}/{index}", {"part": part, **record}


def check(case: dict) -> str | None:
    return {"addresses": check_address, "nodeIds": check_node_id}[case["part"]](case)


def check_address(case: dict) -> str | None:
    cluster, mac = case["clusterId"], bytes.fromhex(case["mac"].replace(":", ""))
    prefixes = {name: str(siderolink.prefix(cluster, purpose)) for name, purpose in PURPOSES.items()}
    return (
        unequal("prefixes", prefixes, {name: case["prefixes"][name] for name in PURPOSES})
        or unequal("subnet", str(address.subnet(cluster)), case["prefixes"]["kubespan"])
        or unequal("address", str(address.address(cluster, mac)), case["kubespanAddress"])
    )


def check_node_id(case: dict) -> str | None:
    text, data = case["base62"], bytes.fromhex(case["hex"])
    if "error" in case:
        try:
            return f"no error but {nodeid.decode(text)!r}, want {case['error']!r}"
        except ValueError:
            return None
    found = unequal("decoded", nodeid.decode(text).hex(), data.hex())
    if "machineId" in case:  # an id; the others are texts that nobody encoded
        found = (
            found
            or unequal("encoded", nodeid.encode(data), text)
            or unequal("machine id", nodeid.machine_id(text), case["machineId"])
        )
    return found
