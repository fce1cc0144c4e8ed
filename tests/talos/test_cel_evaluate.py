"""Values of CEL expressions over a disk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos.config import cel

DISK = {
    "dev_path": "/dev/nvme0n1",
    "size": 1_920_383_410_176,
    "model": "PM9A3 U.2",
    "transport": "nvme",
    "rotational": False,
    "symlinks": ["/dev/disk/by-id/nvme-PM9A3", "/dev/disk/by-path/pci-0"],
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("disk.size > 100u * GB && !disk.rotational", True),
        ("disk.size >= 2u * TB", False),
        ("disk.size > 1u * TiB", True),
        ("disk.size < 0x10u", False),
        ("disk.transport in ['nvme', 'sata']", True),
        ("disk.transport in ['usb']", False),
        ("disk.model.contains('U.2')", True),
        ('disk.model.startsWith("PM") && disk.model.endsWith("2")', True),
        ("disk.dev_path.matches('^/dev/nvme[0-9]+n1$')", True),
        ("glob('/dev/nvme*', disk.dev_path)", True),
        ("glob('/dev/sd*', disk.dev_path)", False),
        ("disk.symlinks.exists(link, link.contains('by-id'))", True),
        ("disk.symlinks.all(link, link.contains('by-id'))", False),
        ("disk.symlinks.filter(link, link.contains('by-id')).size() == 1", True),
        ("disk.symlinks.exists_one(link, link.startsWith('/dev'))", False),
        ("size(disk.symlinks.map(link, link + 'x')) == 2", True),
        ("disk.symlinks[1].endsWith('pci-0')", True),
        ("has(disk.serial)", False),
        ("disk.serial == ''", True),
        ("!system_disk", True),
        ("disk.rotational ? false : true", True),
        ("disk.size / 0u > 1u || disk.transport == 'nvme'", True),
        ("disk.transport == 'sata' && disk.size / 0u > 1u", False),
        ("-7 / 2 == -3 && -7 % 2 == -1 && 7.0 / 2.0 == 3.5", True),
        (r"r'\d' == '\\d' && int('7') == 7 && string(7) == '7'", True),
    ],
)
def test_values(expression: str, value: bool) -> None:
    assert cel.problem(expression, cel.DISK) is None
    assert cel.select_disk(expression, DISK, system_disk=False) is value


@pytest.mark.parametrize("expression", ["disk.size / 0u > 1u", "disk.symlinks[7] == ''", "disk.model.matches('(')"])
def test_no_value(expression: str) -> None:
    with pytest.raises(cel.EvaluationError):
        cel.select_disk(expression, DISK, system_disk=False)


@given(st.integers(-1000, 1000), st.integers(-1000, 1000).filter(bool))
def test_division_and_remainder_belong_together(left: int, right: int) -> None:
    expression = f"({left}) / ({right}) * ({right}) + ({left}) % ({right}) == ({left})"
    assert cel.select_disk(expression, DISK, system_disk=False)
