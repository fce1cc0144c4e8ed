"""Which addresses of its host a node takes for its own, and who it is."""

import asyncio
import json
import stat
from ipaddress import ip_address

import pytest

from kubespan import nodeid
from kubespan.node import host
from kubespan.node.identity import Identity
from kubespan.node.specs import is_key


def link(name: str, *addresses: dict, flags: tuple[str, ...] = ("UP",), kind: str = "ether") -> dict:
    return {"ifname": name, "flags": flags, "link_type": kind, "addr_info": addresses}


def address(text: str, scope: str = "global", **more: bool) -> dict:
    return {"local": text, "scope": scope, **more}


def test_addresses_that_others_may_use():
    links = [
        link("lo", address("127.0.0.1", "host"), address("192.0.2.77"), kind="loopback"),
        link("eth0", address("192.0.2.1"), address("2001:db8::1"), address("fe80::1", "link")),
        link("eth1", address("2001:db8::2", deprecated=True), address("2001:db8::3", temporary=True)),
        link("eth2", address("192.0.2.2"), flags=("NO-CARRIER",)),
        link("kubespan", address("fd7f:175a:b97c:5602::1"), kind="none"),
        {},  # as older programs write about links that they leave out
        link("wg0", address("10.9.0.1"), kind="none"),
    ]
    found = host.parse_addresses(json.dumps(links), without="kubespan")
    assert found == [ip_address(text) for text in ("192.0.2.1", "2001:db8::1", "10.9.0.1")]


async def test_nothing_happens_while_nothing_changes():
    changed = asyncio.Event()
    with host.watched(changed.set):
        await asyncio.sleep(0)
    assert not changed.is_set()


def test_an_identity_is_kept(tmp_path):
    path = tmp_path / "identity"
    identity = Identity.load(path)
    assert Identity.load(path) == identity
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["identity"]
    assert len(nodeid.decode(identity.node_id)) == nodeid.SIZE
    assert is_key(identity.public_key)
    assert identity.private_key not in repr(identity)


def test_identities_differ_and_have_addresses_that_nobody_sold():
    identities = [Identity.generate() for _ in range(50)]
    for values in zip(*((it.node_id, it.private_key, it.mac) for it in identities), strict=True):
        assert len(set(values)) == len(identities)
    assert all(it.mac[0] & 3 == 2 for it in identities)


def test_an_address_is_of_cluster_and_card():
    identity = Identity("", "", bytes.fromhex("ea711bb2ccee"))
    cluster = "8XuV9TZHW08DOk3bVxQjH9ih_TBKjnh-j44tsCLSBzo="
    assert str(identity.address(cluster)) == "fd7f:175a:b97c:5602:e871:1bff:feb2:ccee"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"nodeId": "abc", "privateKey": "AAAA", "mac": "02:00:00:00:00:01"}', '"identity"']
)
def test_a_file_that_is_no_identity_is_left_alone(tmp_path, text):
    path = tmp_path / "identity"
    path.write_text(text)
    with pytest.raises(ValueError, match="is no identity of a node; delete it"):
        Identity.load(path)
    assert path.read_text() == text
