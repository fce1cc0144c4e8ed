"""Who sees whom in a mesh, and who does not: from what each node says of its peers. Pure.

    mesh = look(nodes, at)                   # nodes with what was read of them
    mesh.counts[Pair.UP], mesh.total         # pairs
    mesh.nodes, mesh.up(i)                   # in order of sites; i is an index in it
    mesh.pair(i, j), mesh.side(i, j)         # of both, of what i says of j
    problems(mesh)                           # kubespan.reasons: each pair that is not up, with the reason

A mesh of n nodes has n x (n - 1) directed edges, so nothing here is an object per edge: what a node says of its peers
is a handful of arrays (about 60 bytes a peer), states are one byte an edge.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from kubespan import sites

CONNECTING = 45.0
"""Seconds that a new peer may be silent: 15 of the first attempt, and 30 between two looks of the node at its peers."""

FRESH = 1000
"""Bytes sent to a peer that is new. One that was called in vain for longer has cost more: 148 bytes each 5 s."""

NOWHERE = 0xFFFF
"""Position of a peer that a node does not know; the most nodes a mesh may have."""


class Side(IntEnum):
    """What one node says of another."""

    UP = 0
    DOWN = 1
    IDLE = 2
    """It has no endpoint to call."""
    CONNECTING = 3
    """It began to call a moment ago."""
    MISSING = 4
    """It does not know the other."""
    UNREAD = 5
    """What it says is not known."""
    SELF = 6


class Pair(IntEnum):
    """What two nodes say of each other, together."""

    UP = 0
    """Both hear each other; of two of which one was not read, the other hears it, which takes both."""
    ONE_SIDED = 1
    CONNECTING = 2
    DOWN = 3
    MISSING = 4
    """One does not know the other."""
    UNREAD = 5
    """Neither was read."""
    SELF = 6


_SIDE, _PAIR = tuple(Side), tuple(Pair)


def _together(one: Side, other: Side) -> Pair:
    sides = {one, other}
    if sides == {Side.UNREAD}:
        return Pair.UNREAD
    if Side.MISSING in sides:
        return Pair.MISSING
    if sides <= {Side.UP, Side.UNREAD}:
        return Pair.UP
    if Side.UP in sides:
        return Pair.ONE_SIDED
    return Pair.CONNECTING if sides <= {Side.CONNECTING, Side.UNREAD} else Pair.DOWN


_SIDES = len(Side)
_PAIRS = bytes(
    Pair.SELF
    if Side.SELF in (code // _SIDES, code % _SIDES)
    else _together(Side(code // _SIDES), Side(code % _SIDES))
    if code < _SIDES * _SIDES
    else Pair.SELF
    for code in range(256)
)
"""State of a pair by `one side x _SIDES + other side`."""

STATES = {"unknown": Side.IDLE, "up": Side.UP, "down": Side.DOWN}
"""Words of `KubeSpanPeerStatuses`."""


class Peer(NamedTuple):
    """What a node says of one peer. Times are seconds since 1970 by the node's clock, 0 for never; endpoints
    `ip:port`, empty for none."""

    state: Side
    endpoint: str = ""
    last_used: str = ""
    received: int = 0
    sent: int = 0
    handshake: int = 0
    endpoint_changed: int = 0


class Peers:
    """What a node says of all its peers, by public key.

    `words` is shared by the tables of one mesh: most of them hold the same texts, which are then kept once.
    """

    __slots__ = ("_words", "changed", "endpoints", "handshakes", "keys", "last_used", "received", "sent", "states")

    def __init__(self, words: dict[str, str] | None = None) -> None:
        self._words = {} if words is None else words
        self.keys: list[str] = []
        self.states = bytearray()
        self.endpoints: list[str] = []
        self.last_used: list[str] = []
        self.received, self.sent = array("Q"), array("Q")
        self.handshakes, self.changed = array("Q"), array("Q")

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, key: str, peer: Peer) -> None:
        """One more peer. The state is one of `STATES`; whether it is connecting is seen later."""
        word = self._words.setdefault
        self.keys.append(word(key, key))
        self.states.append(peer.state)
        self.endpoints.append(word(peer.endpoint, peer.endpoint))
        self.last_used.append(word(peer.last_used, peer.last_used))
        self.received.append(peer.received)
        self.sent.append(peer.sent)
        self.handshakes.append(peer.handshake)
        self.changed.append(peer.endpoint_changed)

    def at(self, position: int) -> Peer:
        """The peer at a position."""
        return Peer(
            _SIDE[self.states[position]],
            self.endpoints[position],
            self.last_used[position],
            self.received[position],
            self.sent[position],
            self.handshakes[position],
            self.changed[position],
        )

    def pack(self, numbers: Mapping[str, int]) -> bytes:
        """The table compressed, with a number in place of each key; peers without a number are left out."""
        rows = sorted((numbers[key], position) for position, key in enumerate(self.keys) if key in numbers)
        order = [position for _, position in rows]
        columns = (self.received, self.sent, self.handshakes, self.changed)
        parts = [struct.pack(f"<I{len(rows)}I", len(rows), *(number for number, _ in rows))]
        parts.append(bytes(self.states[position] for position in order))
        parts += [struct.pack(f"<{len(rows)}Q", *(column[position] for position in order)) for column in columns]
        texts = [self.endpoints[position] for position in order]
        texts += [
            "=" if self.last_used[position] == self.endpoints[position] else self.last_used[position]
            for position in order
        ]
        return zlib.compress(b"".join(parts) + "\n".join(texts).encode(), 1)

    @classmethod
    def unpack(cls, packed: bytes, keys: Mapping[int, str], words: dict[str, str] | None = None) -> Peers:
        """The table that `pack` made. Peers whose number has no key any more are left out. Raises ValueError."""
        try:
            return cls._read(zlib.decompress(packed), keys, {} if words is None else words)
        except (struct.error, zlib.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError(f"a reading of a mesh cannot be read: {error}") from error

    @classmethod
    def _read(cls, data: bytes, keys: Mapping[int, str], words: dict[str, str]) -> Peers:
        (number,) = struct.unpack_from("<I", data)
        numbers = struct.unpack_from(f"<{number}I", data, 4)
        start = 4 + 4 * number
        table = cls(words)
        states = data[start : start + number]
        start += number
        columns = [struct.unpack_from(f"<{number}Q", data, start + 8 * number * place) for place in range(4)]
        texts = data[start + 32 * number :].decode().split("\n") if number else []
        if len(texts) != 2 * number:
            raise IndexError("its texts do not fit its rows")
        word = words.setdefault
        endpoints = [word(text, text) for text in texts[:number]]
        used = [
            endpoint if text == "=" else word(text, text)
            for text, endpoint in zip(texts[number:], endpoints, strict=True)
        ]
        known = [position for position, one in enumerate(numbers) if one in keys]
        table.keys = [keys[numbers[position]] for position in known]
        table.states = bytearray(states[position] for position in known)
        table.endpoints = [endpoints[position] for position in known]
        table.last_used = [used[position] for position in known]
        table.received, table.sent, table.handshakes, table.changed = (
            array("Q", [column[position] for position in known]) for column in columns
        )
        return table


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the mesh, as it announced itself and as the control plane knows it.

    `key` is empty for one that has not announced itself. `endpoints` are those it offers. `networks` are networks it is
    part of, where known. `seen_from` is the address from which the control plane hears it. `clock` is how many seconds
    its clock is ahead, None if unknown. `peers` None: not read, and `unread` says why. `at` is when it was read.
    """

    name: str
    id: str = ""
    key: str = ""
    address: str = ""
    role: str = "worker"
    endpoints: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    label: str = ""
    seen_from: str = ""
    clock: float | None = None
    peers: Peers | None = None
    unread: str = ""
    at: float = 0.0

    @property
    def announced(self) -> bool:
        return bool(self.key)


@dataclass(frozen=True, slots=True)
class Site:
    """Nodes that are near each other: `nodes[first:last]` of the mesh. `up` of `total` pairs inside."""

    name: str
    first: int
    last: int
    up: int
    total: int

    @property
    def size(self) -> int:
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Between:
    """Pairs between two sites, by their index."""

    one: int
    other: int
    up: int
    total: int


@dataclass(frozen=True)
class Mesh:
    """The mesh as it was read. Its nodes are in order of site, role and name."""

    nodes: Sequence[Node]
    sites: Sequence[str]
    """The site of each node."""
    sides: bytes = field(repr=False)
    """n x n: what row says of column."""
    pairs: bytes = field(repr=False)
    """n x n, symmetric."""
    positions: array[int] = field(repr=False)
    """n x n: where in the table of row the column stands."""
    seen: Sequence[Counter[str]] = field(repr=False)
    """For each node the endpoints that it does not offer and is heard from, and by how many."""

    @cached_property
    def size(self) -> int:
        return len(self.nodes)

    @property
    def total(self) -> int:
        """How many pairs there are."""
        return self.size * (self.size - 1) // 2

    @cached_property
    def counts(self) -> dict[Pair, int]:
        """How many pairs are in which state."""
        return {state: self.pairs.count(state) // 2 for state in Pair if state is not Pair.SELF}

    @cached_property
    def _up(self) -> list[int]:
        size = self.size
        return [self.pairs.count(Pair.UP, i * size, (i + 1) * size) for i in range(size)]

    def up(self, i: int) -> int:
        """With how many of the others a node is up."""
        return self._up[i]

    def pair(self, i: int, j: int) -> Pair:
        return _PAIR[self.pairs[i * self.size + j]]

    def side(self, i: int, j: int) -> Side:
        """What `i` says of `j`."""
        return _SIDE[self.sides[i * self.size + j]]

    def peer(self, i: int, j: int) -> Peer | None:
        """All that `i` says of `j`; None if that is nothing."""
        position, peers = self.positions[i * self.size + j], self.nodes[i].peers
        return None if peers is None or position == NOWHERE else peers.at(position)

    def seen_as(self, i: int) -> str:
        """Where most of the others that hear a node hear it from, if it does not offer that; else empty."""
        return self.seen[i].most_common(1)[0][0] if self.seen[i] else ""

    def heard(self, i: int) -> int:
        """The last handshake of any other with a node, seconds since 1970; 0 for never."""
        size = self.size
        found = 0
        for j, node in enumerate(self.nodes):
            position = self.positions[j * size + i]
            if node.peers is not None and position != NOWHERE:
                found = max(found, node.peers.handshakes[position])
        return found

    def trouble(self) -> Iterator[tuple[int, int]]:
        """All pairs that are not up, `i < j`, in order."""
        size = self.size
        for i in range(size):
            row = self.pairs[i * size + i + 1 : (i + 1) * size]
            if row.count(Pair.UP) < len(row):
                yield from ((i, i + 1 + step) for step, state in enumerate(row) if state)

    @cached_property
    def groups(self) -> list[Site]:
        """The sites, in order of their nodes."""
        found, first = [], 0
        for last in range(1, self.size + 1):
            if last == self.size or self.sites[last] != self.sites[first]:
                number = last - first
                up = sum(self._up_within(i, first, last) for i in range(first, last)) // 2
                found.append(Site(self.sites[first], first, last, up, number * (number - 1) // 2))
                first = last
        return found

    @cached_property
    def between(self) -> list[Between]:
        """Pairs between any two sites."""
        found = []
        for one, site in enumerate(self.groups):
            for other in range(one + 1, len(self.groups)):
                far = self.groups[other]
                up = sum(self._up_within(i, far.first, far.last) for i in range(site.first, site.last))
                found.append(Between(one, other, up, site.size * far.size))
        return found

    def _up_within(self, i: int, first: int, last: int) -> int:
        return self.pairs.count(Pair.UP, i * self.size + first, i * self.size + last)


def look(nodes: Sequence[Node], at: float) -> Mesh:
    """The mesh of nodes as they were read about `at` (seconds since 1970). Raises ValueError above 65,534 nodes.

    Of two nodes with the same key the first has it, and the other counts as not announced.
    """
    if len(nodes) >= NOWHERE:
        raise ValueError(f"a mesh of {len(nodes)} nodes is too large to look at")
    names = sites.of(nodes)
    order = sorted(range(len(nodes)), key=lambda i: (names[i], nodes[i].role != "controlplane", nodes[i].name))
    nodes, names = [nodes[i] for i in order], [names[i] for i in order]
    size = len(nodes)
    index: dict[str, int] = {}
    for i, node in enumerate(nodes):
        if node.key:
            index.setdefault(node.key, i)
    offered = [frozenset(node.endpoints) for node in nodes]
    seen: list[Counter[str]] = [Counter() for _ in nodes]
    sides, positions = bytearray(), array("H", [NOWHERE]) * (size * size)
    for i, node in enumerate(nodes):
        row = bytearray([Side.UNREAD if node.peers is None else Side.MISSING]) * size
        if node.peers is not None:
            now = (node.at or at) + (node.clock or 0.0)
            states, endpoints = node.peers.states, node.peers.endpoints
            for position, key in enumerate(node.peers.keys):
                j = index.get(key)
                if j is None:
                    continue
                state = states[position]
                if state == Side.IDLE and _begins(node.peers, position, now):
                    state = Side.CONNECTING
                row[j] = state
                positions[i * size + j] = position
                if state == Side.UP and endpoints[position] and endpoints[position] not in offered[j]:
                    seen[j][endpoints[position]] += 1
        row[i] = Side.SELF
        sides += row
    return Mesh(nodes, names, bytes(sides), _pairs(bytes(sides), size), positions, seen)


def _begins(peers: Peers, position: int, now: float) -> bool:
    """Whether a silent peer is called for the first time just now."""
    called = bool(peers.last_used[position] or peers.endpoints[position])
    recent = now - peers.changed[position] < CONNECTING
    return called and recent and not peers.handshakes[position] and peers.sent[position] <= FRESH


def _pairs(sides: bytes, size: int) -> bytes:
    """The state of each pair. Rows are added as long numbers: one byte an edge, and none overflows."""
    pairs = bytearray()
    for i in range(size):
        there = int.from_bytes(sides[i * size : (i + 1) * size], "little")
        back = int.from_bytes(sides[i::size], "little")
        pairs += (there * _SIDES + back).to_bytes(size, "little").translate(_PAIRS)
    return bytes(pairs)
