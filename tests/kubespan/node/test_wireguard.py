"""What the interface is told, and what it says."""

import base64
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubespan.affiliates import Endpoint
from kubespan.node import programs
from kubespan.node.specs import PeerSpec
from kubespan.node.status import Observed, PeerStatus
from kubespan.node.wireguard import Peer, Present, changes, configuration, parse_dump, wanted

A, B = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
HERE, THERE = Endpoint(ip_address("192.0.2.1"), 51820), Endpoint(ip_address("2001:db8::1"), 4711)
NETWORK, OTHER = ip_network("10.244.1.0/24"), ip_network("fd7f:175a:b97c:5602::9")
DUMP = (
    f"private\tpublic\t51820\t0x20\n"
    f"{A}\tpsk\t[2001:db8::1]:4711\t10.244.1.0/24,fd7f:175a:b97c:5602::9/128\t1700000000\t10\t20\t25\n"
    f"{B}\tpsk\t(none)\t(none)\t0\t0\t0\t25\n"
)


def test_a_dump_is_read():
    assert parse_dump(DUMP) == {
        A: Present(frozenset({NETWORK, OTHER}), Observed(THERE, 1_700_000_001.0, 10, 20)),
        B: Present(frozenset(), Observed()),
    }


def test_another_form_of_dump_is_refused():
    with pytest.raises(ValueError, match="3 fields"):
        parse_dump("interface\na\tb\tc\n")


def test_the_endpoint_to_set_is_the_one_of_the_status():
    spec = PeerSpec(A, "node", "worker-1", ip_address(OTHER[0]), (NETWORK,), (HERE, THERE))
    chosen = PeerStatus("", observed=Observed(HERE), last_used_endpoint=HERE)
    roamed = PeerStatus("", observed=Observed(THERE), last_used_endpoint=HERE)
    assert wanted([spec], {A: chosen}) == {A: Peer(frozenset({NETWORK}), HERE)}
    assert wanted([spec], {A: roamed}) == {A: Peer(frozenset({NETWORK}))}


def test_configuration():
    peers = {A: Peer(frozenset({OTHER, NETWORK}), THERE), B: Peer(frozenset())}
    assert configuration(peers, "secret") == (
        f"[Peer]\nPublicKey = {A}\nPresharedKey = secret\nPersistentKeepalive = 25\n"
        f"AllowedIPs = 10.244.1.0/24, fd7f:175a:b97c:5602::9/128\nEndpoint = [2001:db8::1]:4711\n"
        f"[Peer]\nPublicKey = {B}\nPresharedKey = secret\nPersistentKeepalive = 25\n"
    )


allowed = st.frozensets(st.sampled_from([NETWORK, OTHER]))
endpoints = st.none() | st.sampled_from([HERE, THERE])
keys = st.sampled_from([A, B])


@given(
    st.dictionaries(keys, st.builds(Peer, allowed, endpoints)),
    st.dictionaries(keys, st.builds(Present, allowed, st.builds(Observed, endpoints))),
)
def test_changes_lead_to_what_is_wanted_and_are_the_fewest(wanted, present):
    told, removed = changes(wanted, present)
    for key in removed:
        del present[key]
    for key, peer in told.items():
        before = present.get(key, Present(frozenset(), Observed()))
        present[key] = Present(peer.allowed_ips, Observed(peer.endpoint or before.observed.endpoint))
    assert {key: peer.allowed_ips for key, peer in present.items()} == {
        key: peer.allowed_ips for key, peer in wanted.items()
    }
    assert all(present[key].observed.endpoint == peer.endpoint for key, peer in wanted.items() if peer.endpoint)
    assert changes(wanted, present) == ({}, [])


async def test_a_program_that_is_missing_is_named():
    with pytest.raises(OSError, match="no-such-program is not installed"):
        await programs.run("no-such-program")


async def test_a_failure_is_told_in_the_programs_words():
    with pytest.raises(OSError, match=r"ip link show: Device .* does not exist"):
        await programs.run("ip", "link", "show", "nothing0")


async def test_programs_may_open_what_they_are_given():
    assert await programs.run("cat", "/dev/stdin", stdin="secret") == "secret"
    assert await programs.run("cat", stdin="secret") == "secret"
