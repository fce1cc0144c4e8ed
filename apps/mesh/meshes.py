"""Meshes as they were last read: from rows to `kubespan.mesh`, and the sentences of what is wrong. For pages, REST and
the reconciler alike.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from threading import Lock
from uuid import UUID

from apps.access.actor import Actor
from apps.access.check import hidden_by
from apps.clusters.models import Cluster
from apps.machines import queries as machines
from apps.machines.models import Machine
from apps.mesh.models import MeshNode, MeshStatus
from apps.mesh.states import counted_state, counts_of, mesh_state
from apps.reconcile.conditions import Shown
from kubespan.mesh import Mesh, Node, Pair, Peers, look
from kubespan.reasons import Problem, Reasons, problems

KEPT = 2_000_000
"""Edges of meshes that a process keeps as they were last read, for the next page or request: some 60 bytes each."""

LOST = "could not be read from what is stored; it is read again"


@dataclass(frozen=True)
class View:
    """A mesh as one actor may see it. `rows` are those of `mesh.nodes`, in the same order."""

    mesh: Mesh
    rows: tuple[MeshNode, ...]

    @cached_property
    def problems(self) -> list[Problem]:
        """Each pair that is not up, the gravest first, folded by node and reason."""
        return problems(self.mesh)

    @cached_property
    def reasons(self) -> Reasons:
        return Reasons(self.mesh)

    @cached_property
    def index(self) -> dict[str, int]:
        """Where a node is, by name; of two with one name, which the start of their ids tells apart, the first."""
        found: dict[str, int] = {}
        for i, node in enumerate(self.mesh.nodes):
            found.setdefault(node.id, i)
        for i, node in enumerate(self.mesh.nodes):
            found[node.name] = min(i, found.get(node.name, i))
        return found

    def key(self, problem: Problem) -> str:
        """What a problem is known by from reading to reading."""
        nodes = self.mesh.nodes
        others = nodes[problem.others[0]].id if len(problem.others) == 1 else "*"
        return f"{problem.kind}/{nodes[problem.about].id}/{others}"

    @cached_property
    def alone(self) -> int:
        """How many nodes of several were read and are up with none of the others."""
        mesh = self.mesh
        told = [i for i, node in enumerate(mesh.nodes) if node.peers is not None]
        return sum(mesh.up(i) == 0 for i in told) if mesh.size > 1 else 0

    @property
    def unread(self) -> int:
        """Nodes of which nothing was read."""
        return sum(node.peers is None for node in self.mesh.nodes)

    @property
    def broken(self) -> int:
        """Pairs that should be up and are not."""
        counts = self.mesh.counts
        return counts[Pair.DOWN] + counts[Pair.ONE_SIDED] + counts[Pair.MISSING]


_kept: OrderedDict[tuple[UUID, frozenset[UUID]], tuple[datetime | None, View]] = OrderedDict()
_making = Lock()


def view_of(actor: Actor, status: MeshStatus) -> View:
    """The mesh of a cluster without the nodes that policies hide from this actor. Takes a second for 1,000 nodes once
    for each reading, in each process.
    """
    hidden = frozenset(_hidden(actor, status.cluster_id))
    key = status.cluster_id, hidden
    with _making:  # what two ask for at once is made once
        if key not in _kept or _kept[key][0] != status.read_at:
            rows = MeshNode.objects.filter(cluster=status.cluster_id).order_by("number").select_related("machine")
            made = view([row for row in rows if row.machine_id not in hidden], status.read_at)
            _kept[key] = status.read_at, made
        _kept.move_to_end(key)
        while len(_kept) > 1 and sum(seen.mesh.size**2 for _, seen in _kept.values()) > KEPT:
            _kept.popitem(last=False)
        return _kept[key][1]


@dataclass(frozen=True)
class Summary:
    """A mesh in a line: how it is, how many nodes it has, and how many of its pairs are up."""

    state: Shown
    nodes: int = 0
    up: int = 0
    pairs: int = 0


def summary(actor: Actor, status: MeshStatus, seen: View | None = None) -> Summary:
    """A mesh in a line, for an actor: by its status, or where policies hide nodes by what is left of it."""
    if status.kubespan != MeshStatus.ON:
        return Summary(mesh_state(status))
    if not _hidden(actor, status.cluster_id):
        counts = counts_of(status)
        return Summary(mesh_state(status), status.nodes, counts[Pair.UP], sum(counts.values()))
    seen = seen or view_of(actor, status)
    mesh, worst = seen.mesh, seen.problems[0].sentence if seen.problems else ""
    state = counted_state(mesh.counts, mesh.size, seen.alone, seen.unread, worst)
    return Summary(state, mesh.size, mesh.counts[Pair.UP], mesh.total)


def view(rows: Iterable[MeshNode], at: datetime | None) -> View:
    """The mesh of these nodes, as it was about then."""
    rows = list(rows)
    keys = {row.number: row.key for row in rows if row.key}
    words: dict[str, str] = {}
    nodes = [_node(row, keys, words) for row in rows]
    by_node = {id(node): row for node, row in zip(nodes, rows, strict=True)}
    mesh = look(nodes, at.timestamp() if at else 0.0)
    return View(mesh, tuple(by_node[id(node)] for node in mesh.nodes))


def _node(row: MeshNode, keys: dict[int, str], words: dict[str, str]) -> Node:
    peers, unread = None, row.unread
    if row.peers is not None and not unread:
        try:
            peers = Peers.unpack(bytes(row.peers), keys, words)
        except ValueError:
            unread = LOST
    return Node(
        name=row.name,
        id=row.node_id,
        key=row.key,
        address=row.address,
        role=row.role,
        endpoints=tuple(row.endpoints),
        addresses=tuple(row.addresses),
        networks=tuple(row.networks),
        label=row.place,
        seen_from=row.seen_from,
        clock=row.clock,
        peers=peers,
        unread=unread,
        at=row.read_at.timestamp() if row.read_at else 0.0,
    )


def _hidden(actor: Actor, cluster_id: UUID) -> list[UUID]:
    """Machines of a cluster that policies hide from an actor."""
    if not hidden_by(actor):
        return []
    rows = Machine.objects.filter(mesh_node__cluster=cluster_id)
    return list(rows.exclude(id__in=machines.visible(actor, Machine.objects.all())).values_list("id", flat=True))


def status_of(cluster: Cluster) -> MeshStatus:
    """The status of a cluster's mesh; that of one nobody has looked at yet when there is none."""
    return MeshStatus.objects.filter(cluster=cluster).first() or MeshStatus(cluster=cluster)
