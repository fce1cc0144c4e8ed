"""Nodes and pairs of a mesh as lists show them: narrowed, a part at a time, as plain values. For pages and REST alike.

A mesh of 1,000 nodes has half a million pairs: they are looked for in its bytes, and only those shown become objects.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from apps.access.actor import Actor
from apps.clusters.models import Cluster
from apps.machines.models import Machine
from apps.mesh.meshes import View, view_of
from apps.mesh.models import MeshNode, MeshStatus
from apps.mesh.states import BY_NAME, PAIRS, REASONS, TROUBLE, count, pair_state, side_state
from apps.reconcile.conditions import Shown
from kubespan.mesh import Pair, Peer
from kubespan.reasons import Kind, Problem

BROKEN = frozenset((Pair.DOWN, Pair.ONE_SIDED, Pair.MISSING))

EVERY = frozenset(PAIRS)


@dataclass(frozen=True)
class Filter:
    """What pairs are wanted: in one of these states, for this reason, with this node, with a node of this site."""

    states: Collection[Pair] = EVERY
    reason: Kind | None = None
    node: int | None = None
    site: str = ""

    @classmethod
    def parse(cls, view: View, state: str = "", reason: str = "", node: str = "", site: str = "") -> "Filter":
        """From words; empty ones leave everything. Raises ValueError that says what would be right."""
        if state and state != TROUBLE and state not in BY_NAME:
            raise ValueError(f"“{state}” is no state of a pair; choose one of {', '.join([*BY_NAME, TROUBLE])}")
        if reason and reason not in REASONS:
            raise ValueError(f"“{reason}” is no reason; choose one of {', '.join(REASONS)}")
        if node and node not in view.index:
            raise ValueError(f"the mesh has no node “{node}”")
        if site and site not in view.mesh.sites:
            names = [group.name for group in view.mesh.groups]
            raise ValueError(f"the mesh has no site “{site}”; choose one of {', '.join(names[:20])}")
        return cls(
            states=BROKEN if state == TROUBLE else (BY_NAME[state],) if state else EVERY,
            reason=reason or None,
            node=view.index[node] if node else None,
            site=site,
        )


def pairs(view: View, wanted: Filter, start: int = 0) -> Iterator[tuple[int, int]]:
    """Pairs `i < j` in order, from number `start` (`i x nodes + j`)."""
    mesh, size = view.mesh, view.mesh.size
    states, one, site = frozenset(map(int, wanted.states)), wanted.node, wanted.site
    states -= {Pair.UP} if wanted.reason else set()
    for i in range(start // size if size else 0, size):
        row = mesh.pairs[i * size : (i + 1) * size]
        if one is None or one == i:
            columns: Any = range(max(i + 1, start - i * size), size)
        else:
            columns = (one,) if one > i and i * size + one >= start else ()
        near = not site or mesh.sites[i] == site
        for j in columns:
            if row[j] not in states or not (near or mesh.sites[j] == site):
                continue
            if wanted.reason and view.reasons.of(i, j).kind != wanted.reason:
                continue
            yield i, j


def nodes(view: View, text: str = "", site: str = "", troubled: bool = False) -> list[int]:
    """Nodes whose name, address or endpoints have this text, of this site, not up with all others."""
    mesh, text = view.mesh, text.lower()
    found = []
    for i, node in enumerate(mesh.nodes):
        if site and mesh.sites[i] != site:
            continue
        if troubled and mesh.up(i) == mesh.size - 1:
            continue
        if text and not any(text in word.lower() for word in (node.name, node.address, *node.endpoints)):
            continue
        found.append(i)
    return found


@dataclass(frozen=True)
class NodeRow:
    """A node as lists and pages show it. Bytes are those that it counted, of all its peers."""

    number: int
    name: str
    id: str
    machine: str  # UUID; empty for one that is no machine of ours
    role: str
    site: str
    address: str
    key: str
    endpoints: tuple[str, ...]
    seen_as: str
    clock: float | None
    state: Shown
    up: int
    others: int
    received: int
    sent: int
    heard: datetime | None
    read_at: datetime | None
    unread: str


def node_row(view: View, i: int) -> NodeRow:
    mesh, row = view.mesh, view.rows[i]
    node = mesh.nodes[i]
    return NodeRow(
        number=i,
        name=node.name,
        id=node.id,
        machine=row.machine.uuid if row.machine else "",
        role=node.role,
        site=mesh.sites[i],
        address=node.address,
        key=node.key,
        endpoints=node.endpoints,
        seen_as=mesh.seen_as(i),
        clock=node.clock,
        state=node_state(view, i),
        up=mesh.up(i),
        others=mesh.size - 1,
        received=sum(node.peers.received) if node.peers is not None else 0,
        sent=sum(node.peers.sent) if node.peers is not None else 0,
        heard=moment(mesh.heard(i)),
        read_at=row.read_at,
        unread=node.unread,
    )


@dataclass(frozen=True)
class Part:
    """A machine as a node of its cluster's mesh."""

    node: NodeRow
    status: MeshStatus

    @property
    def cluster(self) -> Cluster:
        return self.status.cluster


def part_of(actor: Actor, machine: Machine) -> Part | None:
    """A machine's part in a mesh as it was read last, as an actor may see it; None for one that is in none."""
    row = MeshNode.objects.filter(machine=machine).exclude(key="").first()
    status = MeshStatus.objects.filter(cluster=row.cluster_id).select_related("cluster").first() if row else None
    if row is None or status is None:
        return None
    view = view_of(actor, status)
    found = next((i for i, each in enumerate(view.rows) if each.id == row.id), None)
    return Part(node_row(view, found), status) if found is not None else None


def node_state(view: View, i: int) -> Shown:
    """How a node is with the others."""
    mesh = view.mesh
    node, up, others = mesh.nodes[i], mesh.up(i), mesh.size - 1
    if not node.announced:
        return Shown("off", "Not announced", f"{node.name} has not announced itself with KubeSpan.")
    words = f"{up:,} of {others:,}"
    if up == others:
        return Shown("ok", words, f"{node.name} and {count(others, 'other')} hear each other.")
    states = {int(state) for state in Pair if mesh.pairs.find(state, i * mesh.size, (i + 1) * mesh.size) >= 0}
    if node.peers is None and not states & {Pair.DOWN, Pair.ONE_SIDED, Pair.MISSING}:
        return Shown("unknown", words, f"{node.name} {node.unread}.")
    if states & {Pair.DOWN, Pair.ONE_SIDED, Pair.MISSING}:
        return Shown("warn" if up else "bad", words, f"{node.name} is up with {words} others.")
    if Pair.CONNECTING in states:
        return Shown("work", words, f"{node.name} is being connected with some of the others.")
    return Shown("unknown", words, f"Some of the others of {node.name} were not read.")


@dataclass(frozen=True)
class SideRow:
    """What one node says of the other."""

    state: Shown
    endpoint: str
    last_used: str
    received: int
    sent: int
    handshake: datetime | None
    changed: datetime | None


@dataclass(frozen=True)
class PairRow:
    """A pair, or one node with several others that have the same problem (`more` of them)."""

    number: int
    one: int
    other: int
    state: Pair
    shown: Shown
    there: SideRow
    back: SideRow
    kind: Kind | None
    reason: str
    more: int = 0
    since: datetime | None = None

    @property
    def worse(self) -> SideRow:
        """What is said by the one that does not hear the other; of two such, by the first."""
        return self.back if self.there.state.shape == "ok" and self.back.state.shape != "unknown" else self.there


def pair_row(view: View, i: int, j: int) -> PairRow:
    state = view.mesh.pair(i, j)
    reason = None if state is Pair.UP else view.reasons.of(i, j)
    return PairRow(
        number=i * view.mesh.size + j,
        one=i,
        other=j,
        state=state,
        shown=pair_state(state),
        there=_side(view, i, j),
        back=_side(view, j, i),
        kind=reason.kind if reason else None,
        reason=view.reasons.sentence(reason) if reason else "",
    )


def problem_row(view: View, problem: Problem, since: dict[str, str]) -> PairRow:
    """A problem from the side of the node that a person looks at first."""
    i, j = problem.about, problem.others[0]
    stamp = since.get(view.key(problem), "")
    return PairRow(
        number=i * view.mesh.size + j,
        one=i,
        other=j,
        state=problem.state,
        shown=pair_state(problem.state),
        there=_side(view, i, j),
        back=_side(view, j, i),
        kind=problem.kind,
        reason=problem.sentence,
        more=len(problem.others) - 1,
        since=datetime.fromisoformat(stamp) if stamp else None,
    )


def _side(view: View, i: int, j: int) -> SideRow:
    side = view.mesh.side(i, j)
    peer = view.mesh.peer(i, j) or Peer(side)
    return SideRow(
        state=side_state(side),
        endpoint=peer.endpoint,
        last_used=peer.last_used,
        received=peer.received,
        sent=peer.sent,
        handshake=moment(peer.handshake),
        changed=moment(peer.endpoint_changed),
    )


def moment(seconds: int) -> datetime | None:
    """Seconds since 1970 as a time; None for never."""
    return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < 1 << 36 else None
