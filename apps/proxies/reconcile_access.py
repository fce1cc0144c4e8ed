"""The reconciler of what a cluster knows of our people: bindings of groups, and accounts of those who go past us."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from apps.access.actor import system
from apps.audit.actions import record
from apps.clusters import credentials, kubernetes, observe_cluster
from apps.clusters.kubernetes import ControlPlane, KubernetesError
from apps.clusters.models import Cluster, ClusterMachine, ClusterStatus
from apps.proxies import objects
from apps.proxies.models import ClusterAccess, DirectIdentity
from apps.proxies.standing import holders_role
from apps.reconcile.conditions import Condition, State, merge
from apps.reconcile.outbox import changed, hint
from apps.reconcile.registry import Outcome
from apps.tenants.scope import tenant_scope

KIND = "cluster-access"

AT_REST, WATCHFUL, AGAIN = 300.0, 10.0, 15.0
"""Seconds until the next look: at the cluster; at keys and policies, where accounts are in it; after a failure."""


@dataclass(frozen=True)
class Facts:
    """What is known of a cluster before it is asked."""

    cluster: Cluster
    api_ready: bool
    control_planes: tuple[ControlPlane, ...]
    accounts: dict[str, UUID] = field(default_factory=dict)  # account -> identity, of those that may be in the cluster
    wanted: dict[str, str] = field(default_factory=dict)  # account -> role, of those that shall be
    known: dict[str, str] = field(default_factory=dict)  # account -> role, as it was made
    looked_at: datetime | None = None
    answers_since: datetime | None = None  # its API, as far as is known; before that it may have lost what it knew

    def fresh(self, now: datetime) -> bool:
        """It was looked at a moment ago, and its API was there all the time."""
        if self.looked_at is None or now - self.looked_at >= timedelta(seconds=AT_REST):
            return False
        return self.answers_since is None or self.looked_at >= self.answers_since

    @property
    def ended(self) -> list[str]:
        """Accounts that shall be gone."""
        return sorted(set(self.accounts) - set(self.wanted))

    @property
    def settled(self) -> bool:
        """Nothing is known that the cluster should be told."""
        return self.known == self.wanted


def reconcile_access(organisation_id: UUID, object_id: UUID) -> Outcome:
    """Make one cluster know our groups, and forget whose access ended."""
    with tenant_scope(organisation_id):
        facts = _facts(object_id)
    if facts is None:
        return Outcome()
    rest = WATCHFUL if facts.accounts else AT_REST
    now = timezone.now()
    if facts.settled and facts.fresh(now):
        return Outcome(again_in=rest)
    if not facts.api_ready or not facts.control_planes:
        _store(facts, _waiting(facts, "it does not answer now"))
        return Outcome(again_in=WATCHFUL if facts.accounts else None)
    try:
        told = _tell(facts)
    except (KubernetesError, OSError, TimeoutError) as error:
        _store(facts, _waiting(facts, str(error) or type(error).__name__))
        return Outcome(again_in=AGAIN)
    if told is not None:
        _done(told, now)
    return Outcome(again_in=rest)


def _facts(cluster_id: UUID) -> Facts | None:
    cluster = Cluster.objects.select_related("secrets").filter(id=cluster_id, deleting_at=None).first()
    if cluster is None:
        return None
    status = ClusterStatus.objects.filter(cluster=cluster).first()
    access = ClusterAccess.objects.filter(cluster=cluster).first()
    found = DirectIdentity.objects.filter(cluster=cluster, removed_at=None)
    rows = found.select_related("key__user", "key__service_account")
    roles = {objects.account_of(row.key.fingerprint): (row, holders_role(row.key, cluster)) for row in rows}
    return Facts(
        cluster=cluster,
        api_ready=status is not None and status.kubernetes_api_ready,
        control_planes=control_planes_of(cluster),
        accounts={name: row.id for name, (row, _) in roles.items()},
        wanted={name: role for name, (_, role) in roles.items() if role},
        known={name: row.cluster_role for name, (row, _) in roles.items()},
        looked_at=access.looked_at if access else None,
        answers_since=_answers_since(status),
    )


def _answers_since(status: ClusterStatus | None) -> datetime | None:
    stamps = [item["since"] for item in status.conditions if item["name"] == "kubernetes"] if status else []
    return datetime.fromisoformat(stamps[0]) if stamps else None


def control_planes_of(cluster: Cluster) -> tuple[ControlPlane, ...]:
    """Those whose Kubernetes API can be asked now. Call it in the tenant's scope."""
    secrets = getattr(cluster, "secrets", None)
    if secrets is None:
        return ()
    rows = [row for row in observe_cluster.members_of(cluster) if _answers(row)]
    targets = observe_cluster.targets_of(rows)
    held = credentials.kubernetes_credentials(secrets)
    return tuple(ControlPlane(target.address, held) for target in targets.values())


def _answers(row: ClusterMachine) -> bool:
    machine = row.machine
    connected = machine.observation.connected and hasattr(machine, "link")
    return row.role == "controlplane" and connected and bool(row.applied_sha) and row.leaving_at is None


def ask(control_planes: Iterable[ControlPlane], *calls: kubernetes.Call) -> list[Any]:
    """Ask the first control plane that answers. Raises KubernetesError, OSError, TimeoutError of the last one."""
    failure: Exception = KubernetesError("no control plane is connected")
    for control_plane in control_planes:
        try:
            return kubernetes.call(control_plane, *calls)
        except (KubernetesError, OSError, TimeoutError) as error:
            failure = error
    raise failure


def _tell(facts: Facts) -> Facts | None:
    """Look at the cluster and change what is wrong; what was wanted then, None if it is gone meanwhile.

    Who shall be in it is read after the look: an account's row is there before the account, so that none is taken for
    unknown that was just made.
    """
    there = objects.seen(*ask(facts.control_planes, *objects.LOOK))
    with tenant_scope(facts.cluster.organisation_id):
        now = _facts(facts.cluster.id)
    calls = objects.changes(there, now.wanted) if now else []
    if calls:
        ask(facts.control_planes, *calls)
    return now


def _done(facts: Facts, now: datetime) -> None:
    """Note what the cluster was told."""
    organisation_id, cluster = facts.cluster.organisation_id, facts.cluster
    with tenant_scope(organisation_id):
        for name in facts.ended:
            row = DirectIdentity.objects.select_related("key").filter(id=facts.accounts[name], removed_at=None).first()
            if row is not None:
                DirectIdentity.objects.filter(id=row.id).update(removed_at=now)
                record(
                    system(organisation_id), "access-key.removed", "access-key", row.key_id, row.key.name,
                    cluster=cluster.name,
                )  # fmt: skip
                changed("access-key", row.key_id, organisation_id)
        for name, role in facts.wanted.items():
            DirectIdentity.objects.filter(id=facts.accounts[name]).update(cluster_role=role)
    conditions = [Condition("groups", "ok", "The cluster knows our groups: view, edit, admin and cluster-admin.")]
    if facts.wanted:
        number = len(facts.wanted)
        what = "1 account goes" if number == 1 else f"{number} accounts go"
        conditions.append(Condition("direct", "ok", f"{what} past us into the cluster."))
    _store(facts, conditions, now)


def _waiting(facts: Facts, why: str) -> list[Condition]:
    state: State = "wait"
    known = "They are as they were." if facts.looked_at else "Until then people have no rights in it."
    conditions = [Condition("groups", state, f"Waiting to look at the groups in {facts.cluster.name}: {why}. {known}")]
    if facts.ended:
        number = len(facts.ended)
        what = "1 revoked account is" if number == 1 else f"{number} revoked accounts are"
        text = f"{what} still valid in {facts.cluster.name} until it is reached: {why}."
        conditions.append(Condition("direct", "warn", text))
    return conditions


def _store(facts: Facts, conditions: list[Condition], looked_at: datetime | None = None) -> None:
    with tenant_scope(facts.cluster.organisation_id):
        if not Cluster.objects.filter(id=facts.cluster.id).exists():
            return
        row, _ = ClusterAccess.objects.get_or_create(
            cluster=facts.cluster, defaults={"organisation_id": facts.cluster.organisation_id}
        )
        merged = merge(row.conditions, conditions, timezone.now())
        told = merged != row.conditions
        row.conditions, row.looked_at = merged, looked_at or row.looked_at
        row.save(update_fields=["conditions", "looked_at"])
        if told:
            changed("cluster", facts.cluster.id, facts.cluster.organisation_id)


@receiver(post_delete, sender=DirectIdentity, dispatch_uid="account of a key that is gone")
def _gone(sender: Any, instance: DirectIdentity, **_: Any) -> None:
    """A key left with its service account: what tells of its account is gone, so the cluster is looked at now."""
    if instance.removed_at is None:
        before = F("looked_at") - timedelta(seconds=AT_REST)
        ClusterAccess.objects.filter(cluster=instance.cluster_id).update(looked_at=before)
        hint(KIND, instance.cluster_id, instance.organisation_id)
