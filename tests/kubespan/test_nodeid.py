"""Node ids and addresses; the vectors hold examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubespan import address, nodeid


@given(st.binary(min_size=32, max_size=32))
def test_an_id_comes_back(data):
    text = nodeid.encode(data)
    assert text.isascii()
    assert text.isalnum()
    assert nodeid.decode(text) == data


def test_every_node_has_an_id_of_its_own():
    first, second = nodeid.generate(), nodeid.generate()
    assert first != second
    assert len(nodeid.decode(first)) <= nodeid.SIZE
    assert len(nodeid.machine_id(first)) == 32


def test_what_is_no_id_is_refused():
    with pytest.raises(ValueError, match="'-' is not a letter"):
        nodeid.decode("ab-c")
    with pytest.raises(ValueError, match="too short"):
        nodeid.machine_id("abc")


def test_a_mac_has_six_bytes():
    with pytest.raises(ValueError, match="has 5"):
        address.address("cluster", bytes(5))
