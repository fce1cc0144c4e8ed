"""The reconciler of a cluster's affiliates: who is a node of it, and who shall be found in discovery services no more.

It follows members, not events: a machine that left, one that was wiped and has another node id, and one whose cluster
was destroyed all look the same here.
"""

from dataclasses import dataclass
from uuid import UUID

from django.utils import timezone

from apps.access.actor import system
from apps.audit.actions import record
from apps.clusters import credentials
from apps.clusters.discovery import overlay_url, there_is_ours
from apps.clusters.models import Cluster, ClusterMachine, ClusterSecrets
from apps.clusters.observe_machine import machine_name
from apps.mesh import services
from apps.mesh.models import Affiliate
from apps.mesh.plan import Known, Member, Plan, plan
from apps.reconcile.outbox import changed
from apps.reconcile.registry import Outcome
from apps.tenants.ids import uuid7
from apps.tenants.scope import tenant_scope
from apps.tenants.sealing import seal, unseal
from talos.config import discovery
from talos.config.document import load

KIND = "discovery"

CONFIGS_A_RUN = 50
"""Configurations that are read in one run: each takes some milliseconds."""

SERVICES = 4
"""Services of a node that are remembered: the newest, and those before a change of its configuration."""

REMOVED_A_RUN = 64
"""Removals that are tried in one run, so that it takes less than a minute where nothing answers."""


def reconcile_discovery(organisation_id: UUID, cluster_id: UUID) -> Outcome:
    """Write who is there and who is gone, and take those who are gone out of the services that know them."""
    run = _Run(organisation_id, cluster_id)
    todo, unread = run.compare()
    if todo.remove:
        run.remove(todo.remove[:REMOVED_A_RUN])
        return Outcome(again_in=0.0)
    if unread:
        return Outcome(again_in=0.0)
    return Outcome(again_in=(todo.next_at - timezone.now()).total_seconds() if todo.next_at else None)


def objects() -> set[UUID]:
    """What is looked at now and then: clusters, and those that are gone while something of them is kept."""
    ids = set(Cluster.objects.values_list("id", flat=True))
    return ids | set(Affiliate.objects.values_list("cluster", flat=True))


@dataclass(frozen=True)
class _Run:
    organisation_id: UUID
    cluster_id: UUID

    def compare(self) -> tuple[Plan, bool]:
        """Write what changed; what is to be removed now, and whether configurations are left to be read."""
        with tenant_scope(self.organisation_id):
            cluster = Cluster.objects.select_related("secrets").filter(id=self.cluster_id).first()
            secrets: ClusterSecrets | None = getattr(cluster, "secrets", None)
            members = {row.machine.uuid: row for row in _members(cluster)} if secrets else {}
            rows = {row.id: row for row in Affiliate.objects.filter(cluster=self.cluster_id)}
            said = [Member(uuid, row.machine.observation.node_id) for uuid, row in members.items()]
            known = [
                Known(row.id, row.machine_uuid, row.node_id, row.gone_at, row.removed_at, row.attempts)
                for row in rows.values()
            ]
            todo = plan(said, known, timezone.now())
            if secrets is not None and cluster is not None:
                _complete(secrets)
                self._add(todo.new, cluster, secrets, members)
            self._mark(todo, rows)
            unread = self._read_services(members)
            if todo.new or todo.back or todo.gone or todo.spared or todo.over:
                changed("affiliate", self.cluster_id, self.organisation_id)
            return todo, unread

    def _add(
        self, new: list[Member], cluster: Cluster, secrets: ClusterSecrets, members: dict[str, ClusterMachine]
    ) -> None:
        bundle = credentials.bundle_of(secrets)
        for member in new:
            row_id = uuid7()
            Affiliate.new(
                id=row_id,
                cluster=cluster.id,
                cluster_name=cluster.name,
                cluster_hash=secrets.discovery_hash,
                sealed_cluster_id=seal(bundle.cluster_id.encode(), self.organisation_id, row_id),
                node_id=member.node_id,
                machine_uuid=member.machine_uuid,
                machine_name=machine_name(members[member.machine_uuid].machine),
            )

    def _mark(self, todo: Plan, rows: dict[UUID, Affiliate]) -> None:
        now = timezone.now()
        mine = Affiliate.objects.filter(cluster=self.cluster_id)
        mine.filter(id__in=todo.old).delete()
        mine.filter(id__in=todo.back).update(gone_at=None, removed_at=None, attempts=0, problem="")
        mine.filter(id__in=todo.gone).update(gone_at=now)
        mine.filter(id__in=todo.spared).update(removed_at=now)
        mine.filter(id__in=todo.over).update(removed_at=now)
        for row in (rows[id] for id in todo.over):
            record(
                system(self.organisation_id), "discovery.removal-given-up", "cluster", self.cluster_id,
                row.cluster_name, outcome="failed", machine=row.machine_uuid, services=row.services,
                problem=row.problem,
            )  # fmt: skip

    def _read_services(self, members: dict[str, ClusterMachine]) -> bool:
        """Keep the services that each member's configuration names; whether some configurations were left."""
        stale = [
            row
            for row in Affiliate.objects.filter(cluster=self.cluster_id, gone_at=None)
            if (member := members.get(row.machine_uuid)) and member.sealed_config
            and member.config_sha != row.config_sha
        ]  # fmt: skip
        for row in stale[:CONFIGS_A_RUN]:
            member = members[row.machine_uuid]
            config = load(unseal(member.sealed_config or b"", member.organisation_id, member.id))
            row.services = list(dict.fromkeys([*discovery.services(config), *row.services]))[:SERVICES]
            row.config_sha = member.config_sha
            row.save(update_fields=["services", "config_sha"])
        return len(stale) > CONFIGS_A_RUN

    def remove(self, ids: list[UUID]) -> None:
        """One try for each: at all services that do not say yet that they have forgotten it."""
        with tenant_scope(self.organisation_id):
            rows = list(Affiliate.objects.filter(id__in=ids))
            wanted = [(row, service) for row in rows for service in _services(row)]
            secret = {row.id: unseal(row.sealed_cluster_id, row.organisation_id, row.id).decode() for row in rows}
        answers = services.forget([(service, secret[row.id], row.node_id) for row, service in wanted])
        failed: dict[UUID, dict[str, str]] = {}
        for (row, service), problem in zip(wanted, answers, strict=True):
            if problem:
                failed.setdefault(row.id, {})[service] = problem
        with tenant_scope(self.organisation_id):
            for row in rows:
                self._conclude(row, failed.get(row.id, {}))
            changed("affiliate", self.cluster_id, self.organisation_id)

    def _conclude(self, row: Affiliate, failed: dict[str, str]) -> None:
        row.attempts += 1
        row.services = list(failed)
        row.problem = "; ".join(f"{service}: {problem}" for service, problem in failed.items())
        if not failed:
            row.removed_at = timezone.now()
            record(
                system(self.organisation_id), "discovery.affiliate-removed", "cluster", self.cluster_id,
                row.cluster_name, machine=row.machine_uuid,
            )  # fmt: skip
        row.save(update_fields=["attempts", "services", "problem", "removed_at"])


def _members(cluster: Cluster | None) -> list[ClusterMachine]:
    rows = ClusterMachine.objects.filter(cluster=cluster)
    return list(rows.select_related("machine__observation").order_by("id"))


def _complete(secrets: ClusterSecrets) -> None:
    """A cluster that is older than this column is found by it from now on."""
    if secrets.discovery_hash is None:
        secrets.discovery_hash = credentials.discovery_hash(credentials.bundle_of(secrets).cluster_id)
        secrets.save(update_fields=["discovery_hash"])


def _services(row: Affiliate) -> list[str]:
    """Where it may be known. Ours at the first try in any case: what its configuration says need not be all."""
    others = [url for url in row.services if url not in services.ours()]
    ask_ours = there_is_ours() and (not row.attempts or len(others) < len(row.services))
    return [overlay_url(), *others] if ask_ours else others
