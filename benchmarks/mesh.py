"""A mesh of 1,000 nodes, a million directed pairs: what it takes to read it, to conclude, and to show it.

Everything is seconds of processor in this process, without database and network. The floor of a reading is parsing the
same answers; that of a conclusion is to unpack what is stored and to count its bytes; that of a page is the same once
more. `all apart` is the worst there is: no node hears any other, so that each pair has a reason to be found.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

from apps.mesh import picture
from apps.mesh.reading import peers_of
from benchmarks.bench import Bench
from benchmarks.floors import cpu_of
from benchmarks.rows import Row
from kubespan.mesh import Mesh, Node, Pair, Peer, Peers, Side, look
from kubespan.reasons import Reasons, problems
from talos.gen.cosi import resource_pb2
from talos.resources import Metadata, Resource, decode, encode, types

NODES, SITES = 1000, 6
GOAL = 2.0
AT = 1_800_000_000
TIMES = 3
SHOWN = 50
"""Pairs of one page."""


def measure(bench: Bench) -> list[Row]:
    """A reading, conclusions of a good and of a bad mesh, what a page shows."""
    well, apart = _mesh(up=True), _mesh(up=False)
    answers = _answers(well[0])
    parsed = cpu_of(lambda: [resource_pb2.Resource.FromString(data) for data in answers], TIMES) * NODES
    read = cpu_of(lambda: peers_of([decode(resource_pb2.Resource.FromString(data)) for data in answers], {}), TIMES)
    rows = [
        Row(f"mesh of {NODES:,} nodes: what all of them say, read", read * NODES, "s", parsed, "parsing protobuf alone")
    ]
    for name, nodes in (("all up", well), ("all apart", apart)):
        packed = _packed(nodes)
        keys = {number: node.key for number, node in enumerate(nodes)}
        floor = cpu_of(lambda packed=packed: [zlib.decompress(data).count(0) for data in packed], TIMES)  # type: ignore[misc]
        concluded = cpu_of(lambda n=nodes, p=packed, k=keys: _concluded(n, p, k), TIMES)  # type: ignore[misc]
        what = f"mesh of {NODES:,} nodes, {name}: unpacked, with all reasons"
        rows.append(Row(what, concluded, "s", floor, "decompressing it", GOAL))
    mesh = look(well, AT)
    shown = cpu_of(lambda: _shown(mesh), TIMES)
    floor = cpu_of(lambda: [mesh.pairs.count(state) for state in Pair], TIMES)
    rows.append(Row(f"mesh of {NODES:,} nodes: picture and {SHOWN} pairs", shown, "s", floor, "counting pairs", GOAL))
    size = sum(map(len, _packed(well))) / NODES / (NODES - 1)
    rows.append(Row(f"mesh of {NODES:,} nodes: stored", size, "bytes/peer", 32, "four numbers"))
    return rows


def _concluded(nodes: Sequence[Node], packed: Sequence[bytes], keys: dict[int, str]) -> Mesh:
    words: dict[str, str] = {}
    read = [replace(node, peers=Peers.unpack(data, keys, words)) for node, data in zip(nodes, packed, strict=True)]
    mesh = look(read, AT)
    problems(mesh)
    return mesh


def _shown(mesh: Mesh) -> None:
    picture.draw(mesh, problems(mesh), 0)
    reasons = Reasons(mesh)
    for j in range(1, SHOWN + 1):
        mesh.peer(0, j)
        if mesh.pair(0, j) is not Pair.UP:
            reasons.of(0, j)


def _packed(nodes: Sequence[Node]) -> list[bytes]:
    numbers = {node.key: number for number, node in enumerate(nodes)}
    return [node.peers.pack(numbers) for node in nodes if node.peers is not None]


def _mesh(*, up: bool) -> list[Node]:
    """Nodes in some sites, of which each says of all others the same."""
    nodes = [_node(number) for number in range(NODES)]
    words: dict[str, str] = {}
    return [replace(node, peers=_peers(nodes, number, words, up)) for number, node in enumerate(nodes)]


def _node(number: int) -> Node:
    site = number % SITES
    host = f"{number // 250}.{number % 250 + 1}"
    return Node(
        name=f"node-{number:04d}",
        id=f"id-{number:04d}",
        key=f"{number:043d}=",
        address=f"fd7c:91b2:44a0:e02::{number + 1:x}",
        endpoints=(f"10.{site}.{host}:51820", f"185.{site}.{host}:51820"),
        addresses=(f"10.{site}.{host}",),
        label=f"site-{site}",
    )


def _peers(nodes: Sequence[Node], own: int, words: dict[str, str], up: bool) -> Peers:
    table = Peers(words)
    for number, node in enumerate(nodes):
        if number != own:
            where = node.endpoints[0]
            state, received = (Side.UP, 4_100_000 + own * number) if up else (Side.DOWN, 0)
            handshake = AT - number % 120 if up else 0
            table.add(node.key, Peer(state, where, where, received, 148 * (number + own), handshake, AT - 86_400))
    return table


def _answers(node: Node) -> list[bytes]:
    """The KubeSpanPeerStatuses of one node as they come over the wire."""
    assert node.peers is not None
    found = []
    for position, key in enumerate(node.peers.keys):
        peer = node.peers.at(position)
        spec = {
            "endpoint": peer.endpoint, "label": f"node-{position:04d}", "state": "up",
            "receiveBytes": peer.received, "transmitBytes": peer.sent,
            "lastHandshakeTime": "2027-01-15T08:00:00.123456789Z", "lastUsedEndpoint": peer.endpoint,
            "lastEndpointChange": "2027-01-14T08:00:00Z",
        }  # fmt: skip
        metadata = Metadata("kubespan", types.KUBESPAN_PEER_STATUS.name, key, "3", updated=AT * 10**9)
        found.append(encode(Resource(metadata, spec)).SerializeToString())
    return found
