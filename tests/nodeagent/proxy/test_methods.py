"""Which calls are for machines."""

import pytest

from nodeagent.proxy import methods


@pytest.mark.parametrize(
    "method", ["//cosi.resource.State/Get", "/cosi.resource.State//Get", "///machine.MachineService/Reset"]
)
def test_a_method_has_one_spelling(method: str) -> None:
    """One spelled otherwise would be judged as one thing here and could be another there."""
    assert not methods.for_machines(method, ())
    assert not methods.fans_out(method)
