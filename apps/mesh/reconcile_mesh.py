"""The reconciler of a cluster's mesh: it reads what nodes say of their peers while somebody looks.

A hint is a look: pages and requests give one (`look`), due when the last reading is old enough. Without any a mesh is
read once an hour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.utils import timezone

from apps.clusters import credentials, discovery
from apps.clusters.models import Cluster, ClusterMachine, ClusterSecrets
from apps.machines import nodes
from apps.mesh import collector, meshes, services
from apps.mesh.collector import Reading, Target
from apps.mesh.models import MeshNode, MeshStatus
from apps.mesh.reading import Announced, opened
from apps.mesh.rows import Book, away
from apps.mesh.states import PAIRS
from apps.reconcile.outbox import changed, hint
from apps.reconcile.registry import Outcome
from apps.tenants.scope import tenant_scope
from talos.secrets import Bundle

KIND = "mesh"

PACE = timedelta(seconds=30)
"""Between readings while somebody looks: a node itself looks at its peers as often."""

BY_ITSELF = timedelta(hours=1)
"""Between readings when nobody looks."""

SINCE_KEPT = 1000
"""Problems of which it is kept since when they are."""

_NEVER = datetime.min.replace(tzinfo=UTC)


def look(status: MeshStatus, organisation_id: UUID) -> None:
    """Somebody looks at a mesh: have it read, `PACE` after the last time at the earliest."""
    hint(KIND, status.cluster_id, organisation_id, status.read_at + PACE if status.read_at else None)


def objects() -> set[UUID]:
    """Clusters whose mesh was not read for long."""
    old = MeshStatus.objects.filter(kubespan=MeshStatus.ON, read_at__lt=timezone.now() - BY_ITSELF)
    return set(old.values_list("cluster_id", flat=True))


def reconcile_mesh(organisation_id: UUID, cluster_id: UUID) -> Outcome:
    """Read the nodes, those first that were not read for longest, and conclude."""
    with tenant_scope(organisation_id):
        facts = _facts(cluster_id)
    if facts is None:
        return Outcome()
    if (rest := facts.rest(timezone.now())) is not None:
        return Outcome(again_in=rest)
    targets = facts.targets()
    told = {
        target.uuid: reading
        for target, reading in zip(targets, collector.read(targets), strict=True)
        if reading is not None
    }
    heard = _discovered(facts.bundle) if _misses_some(facts, told) else {}
    heard |= {item.node_id: item for reading in told.values() for item in reading.others}
    with tenant_scope(organisation_id):
        cluster = Cluster.objects.filter(id=cluster_id, deleting_at=None).first()
        if cluster is not None:
            _store(cluster, told, heard)
            changed(KIND, cluster_id, organisation_id)
    return Outcome()


@dataclass(frozen=True)
class _Facts:
    """What decides about a reading."""

    bundle: Bundle
    secrets: ClusterSecrets
    members: list[ClusterMachine]
    status: MeshStatus
    read_at: dict[UUID, datetime]  # of nodes that could be read

    def rest(self, now: datetime) -> float | None:
        """Seconds until it is worth reading again; None if it is now. A reading of the future says nothing."""
        at = self.status.read_at
        return (at + PACE - now).total_seconds() if at is not None and timedelta() <= now - at < PACE else None

    def targets(self) -> list[Target]:
        """The nodes that can be read, the one first that was not for longest; control planes before others."""
        trust = credentials.talos_credentials(self.secrets)
        rows = [row for row in self.members if not away(row.machine)]
        rows.sort(key=lambda row: (self.read_at.get(row.machine_id, _NEVER), row.role, row.machine.uuid))
        return [
            Target(row.machine.uuid, str(row.machine.link.address), row.machine.observation.node_id, trust)
            for row in rows
        ]


def _facts(cluster_id: UUID) -> _Facts | None:
    cluster = Cluster.objects.select_related("secrets").filter(id=cluster_id, deleting_at=None).first()
    secrets: ClusterSecrets | None = getattr(cluster, "secrets", None)
    if cluster is None or secrets is None:  # gone, or so new that no node has anything to say
        return None
    rows = MeshNode.objects.filter(cluster=cluster, unread="").exclude(read_at=None)
    return _Facts(
        credentials.bundle_of(secrets),
        secrets,
        _members(cluster),
        meshes.status_of(cluster),
        dict(rows.values_list("machine_id", "read_at")),
    )


def _members(cluster: Cluster) -> list[ClusterMachine]:
    rows = ClusterMachine.objects.filter(cluster=cluster, leaving_at=None)
    return list(rows.select_related("machine__observation", "machine__link").order_by("id"))


def _misses_some(facts: _Facts, told: Mapping[str, Reading]) -> bool:
    """Whether a node did not tell of itself, or none told of the others."""
    answered = [reading for reading in told.values() if not reading.problem]
    return len(answered) < len(facts.members) or not any(reading.others for reading in answered)


def _discovered(bundle: Bundle) -> dict[str, Announced]:
    """What our discovery service knows of the cluster's nodes, by node id; nothing if it does not say."""
    if not discovery.there_is_ours():
        return {}
    try:
        found = nodes.run(services.affiliates(bundle.cluster_id), services.CALL * 2)
    except (services.ServiceError, OSError, TimeoutError):
        return {}
    return {item.node_id: item for item in opened(bundle.cluster_secret, found)}


def _store(cluster: Cluster, told: Mapping[str, Reading], heard: Mapping[str, Announced]) -> None:
    """Write what was read, and what follows from it."""
    members = _members(cluster)
    book = Book(cluster, MeshNode.objects.filter(cluster=cluster))
    for member in members:
        book.member(member, told.get(member.machine.uuid), heard)
    book.others(heard)
    book.write()
    status, now = meshes.status_of(cluster), timezone.now()
    view = meshes.view(book.rows, now)
    mesh = view.mesh
    answered = sum(not reading.problem for reading in told.values())
    status.read_at = now
    status.complete = answered >= len(members)
    status.nodes, status.alone = mesh.size, view.alone
    status.unread = view.unread
    if any(node.announced for node in mesh.nodes):
        status.kubespan = MeshStatus.ON
    elif answered:
        status.kubespan = MeshStatus.OFF
    elif status.kubespan != MeshStatus.OFF:
        status.kubespan = MeshStatus.UNKNOWN
    status.pairs = {PAIRS[pair]: number for pair, number in mesh.counts.items() if number}
    status.broken_since = (status.broken_since or now) if view.broken else None
    status.worst = view.problems[0].sentence if view.problems else ""
    keys = [view.key(problem) for problem in view.problems[:SINCE_KEPT]]
    status.since = {key: status.since.get(key, now.isoformat()) for key in keys}
    status.save()
