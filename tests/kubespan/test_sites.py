"""Which nodes are near each other."""

import pytest

from kubespan import sites
from kubespan.mesh import Node


def named(*nodes: Node) -> list[str]:
    return sites.of(nodes)


def test_a_label_counts_most() -> None:
    assert named(Node("a", label="osl"), Node("b", endpoints=("10.0.0.1:51820",))) == ["osl", "10.0.0.0/24"]


def test_else_the_network_that_they_share() -> None:
    one, two = Node("a", endpoints=("10.0.0.1:51820",)), Node("b", endpoints=("10.0.0.9:51820", "[fd00::1]:51820"))
    assert named(one, two) == ["10.0.0.0/24"] * 2
    known = Node("c", endpoints=("10.0.3.1:51820",), networks=("fe80::/64", "10.0.0.0/16"))
    assert named(known) == ["10.0.0.0/16"]


def test_the_same_private_network_in_two_places_is_two() -> None:
    home = Node("a", endpoints=("192.168.1.2:51820", "8.8.8.8:51820"))
    other = Node("b", endpoints=("192.168.1.2:51820",), seen_from="9.9.9.9")
    assert named(home, other) == ["192.168.1.0/24 at 8.8.8.0/24", "192.168.1.0/24 at 9.9.9.0/24"]
    assert named(home, home) == ["192.168.1.0/24"] * 2


def test_public_addresses_and_none() -> None:
    assert named(Node("a", endpoints=("8.8.8.8:51820",)), Node("b")) == ["8.8.8.0/24", sites.UNKNOWN]


def test_the_own_address_of_kubespan_is_no_place() -> None:
    node = Node("a", address="fd7f:175a:b97c:5602::1", addresses=("fd7f:175a:b97c:5602::1",))
    assert named(node) == [sites.UNKNOWN]


@pytest.mark.parametrize(
    ("text", "address", "network", "public"),
    [
        ("10.0.0.1:51820", "10.0.0.1", "10.0.0.0/24", False),
        ("8.8.8.8", "8.8.8.8", "8.8.8.0/24", True),
        ("[2600:1::7]:51820", "2600:1::7", "2600:1::/64", True),
        ("fd00::7/64", "fd00::7", "fd00::/64", False),
        ("100.64.0.1:51820", "100.64.0.1", "100.64.0.0/24", False),
    ],
)
def test_addresses(text: str, address: str, network: str, public: bool) -> None:
    assert (str(sites.address(text)), sites.network(text), sites.public(text)) == (address, network, public)


@pytest.mark.parametrize("text", ["", "nonsense", ":51820", "[::1", "1.2.3", "fe80::1%eth0 x"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert sites.network(text) == "" or sites.address(text) is not None
    assert not sites.public(text)
