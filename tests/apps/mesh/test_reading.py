"""From what nodes and services say to the facts of a mesh."""

import base64
import os
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.mesh.reading import MOST_ENDPOINTS, Announced, announced, clock_of, opened, peers_of, seconds
from kubespan.affiliates import Affiliate, Endpoint, KubeSpanPart
from kubespan.crypto import ClusterKey
from kubespan.mesh import Peer, Side
from talos.gen.sidero import discovery_pb2
from talos.resources import Metadata, Resource, types

KEY = "mB6WlFOR66Jx5rtPMIpxJ3s4XHyer9NCzqWPP7idGRo="
ADDRESS = "fd7f:175a:b97c:5602:2c1a:b6ff:fe53:8169"

SPEC: dict[str, Any] = {
    "nodeId": "7x1SuC8Ege5BGXdAfTEff5iQnlWZLfv9h1LGMxA2pYkC",
    "addresses": ["172.20.0.2"],
    "hostname": "osl-cp-1",
    "nodename": "osl-cp-1.example.com",
    "operatingSystem": "Talos (v1.13.8)",
    "machineType": "controlplane",
    "kubespan": {
        "publicKey": KEY,
        "address": ADDRESS,
        "additionalAddresses": ["10.244.3.1/24"],
        "endpoints": ["172.20.0.2:51820", "192.0.2.9:51820"],
    },
    "controlPlane": {"port": 6443},
}


def status(id: str = KEY, updated: int = 0, **spec: Any) -> Resource:
    return Resource(Metadata("kubespan", types.KUBESPAN_PEER_STATUS.name, id, "1", updated=updated), spec)


def test_an_affiliate() -> None:
    assert announced(SPEC) == Announced(
        SPEC["nodeId"], "osl-cp-1.example.com", KEY, ADDRESS, "controlplane",
        ("172.20.0.2:51820", "192.0.2.9:51820"), ("172.20.0.2",),
    )  # fmt: skip


def test_an_affiliate_without_kubespan_has_no_key() -> None:
    me = announced({"nodeId": "x", "hostname": "osl-w-1"})
    assert (me.name, me.key, me.endpoints) == ("osl-w-1", "", ())


def test_a_node_that_announces_too_much_is_cut() -> None:
    many = [f"192.0.2.1:{port}" for port in range(1, 500)]
    me = announced({"nodeId": "x", "nodename": "n" * 5000, "kubespan": {"publicKey": KEY, "endpoints": many}})
    assert len(me.endpoints) == MOST_ENDPOINTS
    assert len(me.name) == 253


def test_peer_statuses() -> None:
    table = peers_of(
        [
            status(
                endpoint="192.0.2.9:51820", label="osl-w-1", state="up", receiveBytes=5, transmitBytes=7,
                lastHandshakeTime="2026-11-26T09:00:00.5Z", lastUsedEndpoint="172.20.0.2:51820",
                lastEndpointChange="2026-11-26T08:00:00Z",
            ),
            status("other", label="osl-w-2", state="unknown", lastHandshakeTime="0001-01-01T00:00:00Z"),
            status("new", state="sideways"),
        ],
        {},
    )  # fmt: skip
    assert table.keys == [KEY, "other", "new"]
    assert table.at(0) == Peer(Side.UP, "192.0.2.9:51820", "172.20.0.2:51820", 5, 7, 1795683600, 1795680000)
    assert table.at(1) == Peer(Side.IDLE)
    assert table.at(2) == Peer(Side.IDLE)


def test_the_clock_shows_in_when_statuses_change() -> None:
    now = 1_800_000_000.0
    behind = [status(updated=int((now - 420) * 1e9), endpoint="192.0.2.9:51820")]
    assert clock_of(behind, now) == pytest.approx(-405)
    right = [status(updated=int((now - 15) * 1e9), endpoint="192.0.2.9:51820"), *behind]
    assert clock_of(right, now) == pytest.approx(0)
    assert clock_of([status(updated=int((now - 420) * 1e9))], now) is None  # nothing is sent, so nothing changes
    assert clock_of([], now) is None


@pytest.mark.parametrize("text", [None, "", "yesterday", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "1"])
def test_times_that_are_none(text: str | None) -> None:
    assert seconds(text) in (0, 253402351199)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    assert seconds(text) >= 0


def test_discovery_data_is_opened_with_the_clusters_secret() -> None:
    secret = os.urandom(32)
    key = ClusterKey(secret)
    node = Affiliate(
        node_id="n1", addresses=(ip_address("172.20.0.2"),), hostname="osl-w-1", nodename="osl-w-1",
        machine_type="worker", kubespan=KubeSpanPart(KEY, ip_address(ADDRESS)),
    )  # fmt: skip
    endpoint = Endpoint(ip_address("192.0.2.9"), 51820)
    messages = [
        discovery_pb2.Affiliate(id="n1", data=key.seal(node), endpoints=[key.seal_endpoint(endpoint)]),
        discovery_pb2.Affiliate(id="n2", data=ClusterKey(os.urandom(32)).seal(node)),
        discovery_pb2.Affiliate(id="n3", data=b"short"),
        discovery_pb2.Affiliate(id="n4", data=key.seal(Affiliate("n4", hostname="plain"))),
    ]
    told = opened(base64.b64encode(secret).decode(), messages)
    assert told == [
        Announced("n1", "osl-w-1", KEY, ADDRESS, "worker", ("192.0.2.9:51820",), ("172.20.0.2",)),
        Announced("n4", "plain"),
    ]
    assert opened("no secret", messages) == []
    assert opened("", messages) == []
