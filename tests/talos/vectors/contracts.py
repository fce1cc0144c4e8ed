"""Version contracts: their text, numbers and every feature."""

import re

from talos.contract import VersionContract
from tests.talos.vectors import unequal


def cases(data, folder):
    for case in data:
        yield case["input"] or "current", case


def check(case):
    try:
        contract = VersionContract.parse(case["input"])
    except ValueError as error:
        return unequal("error", str(error), case.get("error"))
    return (
        unequal("error", None, case.get("error"))
        or unequal("string", str(contract), case["string"])
        or unequal("version", (contract.major, contract.minor), (case.get("major"), case.get("minor")))
        or unequal(
            "features", {name: getattr(contract, attribute(name)) for name in case["features"]}, case["features"]
        )
    )


def attribute(name):
    """`GrubUseUKICmdlineDefault` to `grub_use_uki_cmdline_default`."""
    name = name.replace("SANs", "Sans").replace("CAs", "Cas")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
