import pytest

from apps.tenants.ids import uuid7
from apps.tenants.sealing import SealBroken, seal, unseal


def test_a_sealed_value_opens_only_for_its_row() -> None:
    organisation, row, other = uuid7(), uuid7(), uuid7()
    sealed = seal(b"secret", organisation, row)
    assert b"secret" not in sealed
    assert sealed != seal(b"secret", organisation, row)
    assert unseal(memoryview(sealed), organisation, row) == b"secret"
    for wrong in ((organisation, other), (other, row)):
        with pytest.raises(SealBroken):
            unseal(sealed, *wrong)


@pytest.mark.parametrize("damage", [b"", b"\x01", b"\x02" + b"x" * 40, b"\x01" + b"x" * 40])
def test_damaged_bytes_are_refused(damage: bytes) -> None:
    with pytest.raises(SealBroken):
        unseal(damage, uuid7(), uuid7())
