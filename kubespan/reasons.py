"""Why two nodes of a mesh do not hear each other, with the evidence in a sentence. Pure.

Each pair that is not up has exactly one reason. Most are conclusions, not observations: what is tried first is what
leaves least room for doubt.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

from kubespan import sites
from kubespan.mesh import NOWHERE, Mesh, Pair, Peer, Side

Kind = Literal[
    "not-read", "not-discovered", "connecting", "clock", "overlap", "nat", "not-offered", "no-common", "blocked", "old",
    "silent",
]  # fmt: skip

CLOCK = 60.0
"""Seconds by which a clock is behind before it counts: it is known to half a minute."""

FOLD = 4
"""Pairs with one node and one reason; more of them are one problem."""

NAMED = 3
"""Endpoints that a sentence names."""

_UP, _MISSING, _UNREAD, _CONNECTING = map(int, (Side.UP, Side.MISSING, Side.UNREAD, Pair.CONNECTING))
"""As the bytes of a mesh have them: there may be half a million pairs to ask about."""

GRAVITY: dict[Pair, int] = {Pair.DOWN: 0, Pair.MISSING: 1, Pair.ONE_SIDED: 2, Pair.UNREAD: 3, Pair.CONNECTING: 4}


class Reason(NamedTuple):
    """Why a pair is not up. `about` is the node (its index) that a person looks at first, `other` its peer."""

    kind: Kind
    about: int
    other: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Pairs that are not up for one reason: `about` with each of `others`. Sides and peers are those of the first."""

    kind: Kind
    state: Pair
    about: int
    others: Sequence[int]
    sentence: str
    there: Side
    back: Side
    endpoint: str
    handshake: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node can be reached and what it reaches."""

    private: tuple[frozenset[str], ...]
    """Networks of each endpoint that is not public."""
    outside: frozenset[int]
    """IP versions of its public endpoints."""
    home: frozenset[str]
    versions: frozenset[int]
    """IP versions that it speaks."""


class Reasons:
    """Reasons of one mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh, self._size = mesh, mesh.size
        self._trouble = [mesh.size - 1 - mesh.up(i) for i in range(mesh.size)]
        self._behind = {i for i, node in enumerate(mesh.nodes) if (node.clock or 0.0) < -CLOCK}
        self._place = lru_cache(maxsize=None)(self._find_place)
        self._reached = lru_cache(maxsize=None)(self._find_reached)

    @cached_property
    def claimed(self) -> dict[str, list[int]]:
        """Endpoints that more than one node offers, with these nodes."""
        found: dict[str, list[int]] = defaultdict(list)
        for i, node in enumerate(self.mesh.nodes):
            for endpoint in dict.fromkeys(node.endpoints):
                found[endpoint].append(i)
        return {endpoint: nodes for endpoint, nodes in found.items() if len(nodes) > 1}

    def of(self, i: int, j: int) -> Reason:
        """Why the pair of `i` and `j` is not up."""
        sides, size = self.mesh.sides, self._size
        there, back = sides[i * size + j], sides[j * size + i]
        if there == _MISSING or back == _MISSING:
            return self._undiscovered(i, j, there, back)
        if there == _UNREAD or back == _UNREAD:
            about = self._worse(i, j) if there == back else (i if there == _UNREAD else j)
            return Reason("not-read", about, i + j - about)
        if self.mesh.pairs[i * size + j] == _CONNECTING:
            return Reason("connecting", i, j)
        return self._down(i, j, there, back)

    def _worse(self, i: int, j: int) -> int:
        """Of two nodes the one that is in more trouble."""
        return i if self._trouble[i] >= self._trouble[j] else j

    def _undiscovered(self, i: int, j: int, there: int, back: int) -> Reason:
        silent = [node for node in (i, j) if not self.mesh.nodes[node].announced]
        if len(silent) == 1:
            about = silent[0]
        elif there == back or silent:
            about = self._worse(i, j)
        else:
            about = i if there == _MISSING else j
        return Reason("not-discovered", about, i + j - about)

    def _down(self, i: int, j: int, there: int, back: int) -> Reason:
        nodes = self.mesh.nodes
        used, shaken, sent, received = self._brief(i, j)
        used_back, shaken_back, sent_back, received_back = self._brief(j, i)
        heard = bool(shaken or shaken_back)
        if heard and self._behind and (i in self._behind or j in self._behind):
            about = i if (nodes[i].clock or 0.0) <= (nodes[j].clock or 0.0) else j
            return Reason("clock", about, i + j - about)
        calls, called_back = there != _UP and used, back != _UP and used_back
        if self.claimed:
            if calls and self._claimed_with(j, used):
                return Reason("overlap", j, i)
            if called_back and self._claimed_with(i, used_back):
                return Reason("overlap", i, j)
        seen = self.mesh.seen  # where a node is heard from, does not offer, and the caller does not know
        if called_back and seen[i] and used_back not in seen[i]:
            return Reason("nat", i, j)
        if calls and seen[j] and used not in seen[j]:
            return Reason("nat", j, i)
        if not heard:
            if not nodes[i].endpoints and not nodes[j].endpoints:
                about = self._worse(i, j)
                return Reason("not-offered", about, i + j - about)
            if not self._usable(i, j) and not self._usable(j, i):
                bare = i if not nodes[i].endpoints else j if not nodes[j].endpoints else None
                about = self._hidden(i, j) if bare is None else bare
                return Reason("no-common" if bare is None else "not-offered", about, i + j - about)
        if (sent or sent_back) and not (received and received_back):
            about = self._worse(i, j) if received == received_back else i if received else j
            return Reason("blocked", about, i + j - about)
        if calls and used not in nodes[j].endpoints:
            return Reason("old", j, i)
        if called_back and used_back not in nodes[i].endpoints:
            return Reason("old", i, j)
        about = self._worse(i, j)
        return Reason("silent", about, i + j - about)

    def _brief(self, i: int, j: int) -> tuple[str, int, int, int]:
        """What `i` says of `j`: endpoint, last handshake, bytes sent and received. Made for each pair in trouble."""
        peers, position = self.mesh.nodes[i].peers, self.mesh.positions[i * self._size + j]
        if peers is None or position == NOWHERE:
            return "", 0, 0, 0
        return peers.endpoints[position], peers.handshakes[position], peers.sent[position], peers.received[position]

    def _claimed_with(self, called: int, endpoint: str) -> list[int]:
        """Other nodes that offer the endpoint by which a node is called."""
        claimed = self.claimed.get(endpoint, ())
        return [node for node in claimed if node != called] if called in claimed else []

    def _hidden(self, i: int, j: int) -> int:
        """Of two nodes that offer nothing to each other the one that is harder to reach for all."""
        one, other = self._place(i), self._place(j)
        if bool(one.outside) != bool(other.outside):
            return j if one.outside else i
        return self._worse(i, j)

    def _find_place(self, i: int) -> _Place:
        node = self.mesh.nodes[i]
        private, outside, home, versions = [], set(), set(node.networks), set()
        for endpoint in node.endpoints:
            found = sites.address(endpoint)
            if found is None:
                continue
            if sites.public(endpoint):
                outside.add(found.version)
            else:
                private.append(frozenset([sites.network(endpoint), *sites.containing(endpoint, node.networks)]))
        for text in (*node.endpoints, *node.addresses):
            found = sites.address(text)
            if found is not None and text != node.address:
                home.add(sites.network(text))
                versions.add(found.version)
        return _Place(tuple(private), frozenset(outside), frozenset(home), frozenset(versions))

    def _find_reached(self, i: int) -> frozenset[str]:
        """Networks in which a node hears others: there is a way to them."""
        peers = self.mesh.nodes[i].peers
        if peers is None:
            return frozenset()
        states = zip(peers.states, peers.endpoints, strict=True)
        return frozenset(sites.network(endpoint) for state, endpoint in states if state == Side.UP and endpoint)

    def _usable(self, caller: int, called: int) -> bool:
        """Whether one node can reach any endpoint that the other offers, as far as addresses tell."""
        mine, theirs = self._place(caller), self._place(called)
        if theirs.outside & mine.versions or (theirs.outside and not mine.versions):
            return True
        known = mine.home | self._reached(caller)
        return any(networks & known for networks in theirs.private)

    # --- sentences ----------------------------------------------------------------------------------------------

    def sentence(self, reason: Reason) -> str:
        """What is known of a reason, in a sentence."""
        nodes, (x, y) = self.mesh.nodes, (reason.about, reason.other)
        one, other = nodes[x].name, nodes[y].name
        calls, called = self.mesh.peer(x, y) or Peer(Side.UNREAD), self.mesh.peer(y, x) or Peer(Side.UNREAD)
        match reason.kind:
            case "not-read":
                return f"Not read: {one} {nodes[x].unread or 'did not answer'}."
            case "not-discovered":
                return self._not_discovered(reason)
            case "connecting":
                where = f" at {calls.endpoint}" if calls.endpoint else ""
                return f"Connecting: {one} calls {other}{where} since a moment ago."
            case "clock":
                behind = minutes(-(nodes[x].clock or 0.0))
                return f"Clock: {one} is {behind} behind; {other} refuses its handshakes until it catches up."
            case "overlap":
                others = [nodes[node].name for node in self._claimed_with(x, called.endpoint)]
                who = f"{len(others)} others" if len(others) > 2 else " and ".join(others)
                return f"Same address claimed: {one} and {who} offer {called.endpoint}; only one of them can have it."
            case "nat":
                return self._nat(x, y, called)
            case "not-offered":
                also = f", and {other} neither" if not nodes[y].endpoints else f", and cannot reach {other} itself"
                return f"Not offered: {one} offers no endpoint{also}."
            case "no-common":
                return f"No endpoint in common: {one} offers only {_listed(nodes[x].endpoints)}."
            case "blocked":
                return self._blocked(one, other, calls, called)
            case "old":
                offers = _listed(nodes[x].endpoints) or "nothing"
                return f"Old endpoint: {other} still calls {called.endpoint}, {one} offers {offers}."
            case _:
                where = f" at {called.endpoint}" if called.endpoint else ""
                since = "any more" if called.handshake or calls.handshake else "at all"
                return f"No answer: {other} calls {one}{where} and hears nothing {since}."

    def _not_discovered(self, reason: Reason) -> str:
        node, other = self.mesh.nodes[reason.about], self.mesh.nodes[reason.other]
        if not node.announced:
            return f"Not discovered: {node.name} has not announced itself to the others."
        both = self.mesh.side(reason.other, reason.about) is Side.MISSING
        return f"Not discovered: {node.name} does not know {other.name}{', nor the other way round' if both else ''}."

    def _nat(self, x: int, y: int, called: Peer) -> str:
        name, seen = self.mesh.nodes[x].name, self.mesh.seen_as(x)
        if sites.address(seen) == sites.address(called.endpoint):
            ports = seen.rpartition(":")[2], called.endpoint.rpartition(":")[2]
            return f"NAT: {name} is seen from :{ports[0]}, {self.mesh.nodes[y].name} was told :{ports[1]}."
        return f"NAT: {name} is seen from {seen}, {self.mesh.nodes[y].name} was told {called.endpoint}."

    @staticmethod
    def _blocked(one: str, other: str, calls: Peer, called: Peer) -> str:
        if calls.received:
            return f"Blocked return path: {other} has sent {size(called.sent)} to {called.endpoint} and heard nothing."
        sent, where = max((calls.sent, calls.endpoint), (called.sent, called.endpoint))
        return f"Blocked: {size(sent)} sent to {where or 'it'} between {one} and {other}, nothing heard on either side."


def minutes(seconds: float) -> str:
    """A span in the largest unit that fits."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(number: float) -> str:
    """Bytes in a unit that leaves at most three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _listed(endpoints: Sequence[str]) -> str:
    """The addresses of endpoints; with their ports where these are not the usual one."""
    plain = [text.removesuffix(":51820").strip("[]") for text in endpoints]
    more = len(plain) - NAMED
    return ", ".join(plain[:NAMED]) + (f" and {more} more" if more > 0 else "")


def problems(mesh: Mesh) -> list[Problem]:
    """Every pair that is not up, the gravest first; more than `FOLD` of one node with one reason are one problem."""
    reasons = Reasons(mesh)
    groups: dict[tuple[Kind, int, int], array[int]] = defaultdict(lambda: array("H"))
    for i, j in mesh.trouble():
        kind, about, other = reasons.of(i, j)
        groups[kind, about, mesh.pairs[i * mesh.size + j]].append(other)
    found = []
    for (kind, about, state), others in groups.items():
        parts = [others] if len(others) > FOLD else [array("H", [other]) for other in others]
        found += [_problem(reasons, kind, Pair(state), about, part) for part in parts]
    return sorted(found, key=lambda item: (GRAVITY[item.state], -len(item.others), item.about, item.others[0]))


def _problem(reasons: Reasons, kind: Kind, state: Pair, about: int, others: Sequence[int]) -> Problem:
    mesh, other = reasons.mesh, others[0]
    peer = mesh.peer(about, other)
    back = mesh.peer(other, about)
    used = peer.endpoint if peer is not None and peer.endpoint else back.endpoint if back is not None else ""
    last = max(peer.handshake if peer is not None else 0, back.handshake if back is not None else 0)
    return Problem(
        kind=kind,
        state=state,
        about=about,
        others=others,
        sentence=reasons.sentence(Reason(kind, about, other)),
        there=mesh.side(about, other),
        back=mesh.side(other, about),
        endpoint=used,
        handshake=last,
    )


def kinds(found: Sequence[Problem]) -> Counter[Kind]:
    """How many pairs have which reason."""
    counts: Counter[Kind] = Counter()
    for problem in found:
        counts[problem.kind] += len(problem.others)
    return counts
