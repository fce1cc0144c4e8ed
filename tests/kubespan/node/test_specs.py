"""Which addresses each peer may use in the tunnel."""

import base64
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubespan.affiliates import Affiliate, KubeSpanPart
from kubespan.known import Discovered
from kubespan.node.specs import AddressSet, peer_specs

ULA = "fd50:8d60:4238:6302:f857:23ff:fe21:d1e0"


def key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


def node(
    name: str, *addresses: str, additional=(), exclude=(), ula: str | None = ULA, public_key: str = ""
) -> Discovered:
    part = KubeSpanPart(
        public_key or key(ord(name[0])),
        ip_address(ula) if ula else None,
        tuple(map(ip_interface, additional)),
        tuple(map(ip_interface, exclude)),
    )
    return Discovered(Affiliate(name, tuple(map(ip_address, addresses)), nodename=f"node-{name}", kubespan=part), ())


def allowed(*nodes: Discovered) -> dict[str, list[str]]:
    return {spec.node_id: [str(it) for it in spec.allowed_ips] for spec in peer_specs(nodes, "me")}


def test_networks_of_a_peer():
    """Host bits do not count, excluded networks are cut out, the KubeSpan address is always in."""
    assert allowed(
        node(
            "a", "192.168.3.4", additional=("10.244.3.1/24", "10.244.3.0/32"), exclude=("10.244.3.128/25", f"{ULA}/64")
        )
    ) == {"a": ["10.244.3.0/25", "192.168.3.4/32", f"{ULA}/128"]}


def test_the_first_by_node_id_keeps_what_two_claim():
    one, other = f"{ULA[:-1]}1", f"{ULA[:-1]}2"
    second = node("b", additional=("10.244.2.0/23", "192.168.3.0/24"), ula=other)
    first = node("a", additional=("10.244.3.1/24",), ula=one)
    specs = peer_specs([second, first], "me")
    assert [[str(it) for it in spec.allowed_ips] for spec in specs] == [
        ["10.244.3.0/24", f"{one}/128"],
        ["10.244.2.0/24", "192.168.3.0/24", f"{other}/128"],
    ]
    assert [spec.shadowed for spec in specs] == [(), (ip_network("10.244.3.0/24"),)]


def test_everything_may_be_taken_by_others():
    assert allowed(node("a", "10.0.0.1"), node("b", "10.0.0.1")) == {"a": ["10.0.0.1/32", f"{ULA}/128"], "b": []}


def test_who_is_no_peer():
    without = Discovered(Affiliate("plain", nodename="plain"), ())
    broken = node("broken", public_key="not a key")
    short = node("short", public_key=base64.b64encode(bytes(31)).decode())
    odd = node("odd", public_key=f"{'A' * 42}B=")  # bits that belong to no byte
    twice = node("z", public_key=key(ord("a")))
    assert allowed(without, broken, short, odd, node("me"), twice, node("a", ula=None)) == {"a": []}


def test_of_two_records_with_one_node_id_the_last_counts():
    assert allowed(node("a", "10.0.0.1", ula=None), node("a", "10.0.0.2", ula=None)) == {"a": ["10.0.0.2/32"]}


small = st.integers(0, 63)
networks = st.builds(
    lambda base, bits: ip_network((f"10.0.0.{base}", 32 - bits), strict=False), small, st.integers(0, 6)
) | st.builds(lambda base, bits: ip_network((f"fd00::{base:x}", 128 - bits), strict=False), small, st.integers(0, 6))
network_lists = st.lists(networks, max_size=6)


def members(of) -> set:
    return {address for network in of for address in network}


@given(network_lists, network_lists)
def test_address_sets_are_sets(left, right):
    one, other = AddressSet.of(*left), AddressSet.of(*right)
    assert members((one | other).networks()) == members(left) | members(right)
    assert members((one & other).networks()) == members(left) & members(right)
    assert members((one - other).networks()) == members(left) - members(right)
    assert one | other == AddressSet.of(*left, *right)


@given(network_lists)
def test_the_fewest_networks_in_order(given_networks):
    found = AddressSet.of(*given_networks).networks()
    assert list(found) == sorted(found, key=lambda it: (it.version, it))
    supernets = [network.supernet() for network in found if network.prefixlen]
    assert len(supernets) == len(set(supernets))


@pytest.mark.parametrize("everything", ["0.0.0.0/0", "::/0"])
def test_families_do_not_touch(everything):
    assert AddressSet.of(ip_network(everything)).networks() == (ip_network(everything),)
    both = AddressSet.of(ip_network("::/0")) | AddressSet.of(ip_network("0.0.0.0/0"))
    assert both.networks() == (ip_network("0.0.0.0/0"), ip_network("::/0"))
