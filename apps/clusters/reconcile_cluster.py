"""The reconciler of a cluster: secrets, membership, bootstrap, etcd, Kubernetes, and its end."""

import contextlib
from dataclasses import dataclass, replace
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from apps.access.actor import system
from apps.audit.actions import record
from apps.clusters import credentials, kubernetes, node, observe_cluster, operations, store
from apps.clusters.cluster_steps import (
    AddMembers,
    Bootstrap,
    ClusterFacts,
    ClusterStep,
    EtcdMember,
    EtcdStarted,
    FixBootstrap,
    Kubernetes,
    MakeSecrets,
    MapEtcd,
    PickMachines,
    RemoveCluster,
    SendAway,
    StartEtcd,
    UnpickMachine,
)
from apps.clusters.machine_steps import Silent
from apps.clusters.models import (
    Cluster,
    ClusterMachine,
    ClusterSecrets,
    ClusterStatus,
    MachineSet,
    MachineSetNode,
    Operation,
)
from apps.clusters.observe_cluster import ClusterView
from apps.clusters.plan_cluster import ClusterDecision, plan
from apps.machines.models import Machine
from apps.reconcile.conditions import Condition, merge
from apps.reconcile.outbox import changed, hint
from apps.reconcile.registry import Outcome
from apps.tenants.scope import tenant_scope
from nodeagent import errors

AGAIN = 15.0
"""Seconds until a step that failed is considered again."""

CONCLUSIONS = ("conditions", "observed_generation", "phase", "ready", "kubernetes_api_ready", "step", "ready_at")
"""Columns that say how a cluster is, written together."""


def reconcile_cluster(organisation_id: UUID, object_id: UUID) -> Outcome:
    """Look at one cluster and take its next step."""
    run = _Run(organisation_id, object_id)
    seen = run.observe()
    return Outcome() if seen is None else run.go(seen)


@dataclass(frozen=True)
class _Run:
    organisation_id: UUID
    cluster_id: UUID

    def observe(self) -> ClusterView | None:
        with tenant_scope(self.organisation_id):
            cluster = Cluster.objects.select_related("secrets").filter(id=self.cluster_id).first()
            if cluster is None:
                return None
            status, _ = ClusterStatus.objects.get_or_create(
                cluster=cluster, defaults={"organisation_id": self.organisation_id}
            )
            rows = observe_cluster.members_of(cluster)
            secrets: ClusterSecrets | None = getattr(cluster, "secrets", None)
            return ClusterView(
                facts=observe_cluster.facts_of(cluster, status),
                targets=observe_cluster.targets_of(rows),
                row_ids={row.machine.uuid: row.id for row in rows},
                kubernetes=credentials.kubernetes_credentials(secrets) if secrets else None,
                generation=cluster.generation,
            )

    def go(self, seen: ClusterView) -> Outcome:
        decision = self._decide(seen)
        self._store(seen, decision)
        if decision.step is None:
            return Outcome(again_in=decision.again_in)
        try:
            self._take(decision.step, seen)
        except node.FAILURES as error:
            name = next(item.name for item in decision.conditions if item.message == decision.step.sentence)
            sentence = f"{decision.step.sentence} That failed: {error}. It is tried again."
            kept = tuple(item for item in decision.conditions if item.message != decision.step.sentence)
            self._store(seen, replace(decision, conditions=(*kept, Condition(name, "wait", sentence))))
            return Outcome(again_in=AGAIN)
        return Outcome(again_in=decision.again_in if isinstance(decision.step, StartEtcd) else 0.0)

    # Questions: read only, on fresh connections

    def _decide(self, seen: ClusterView) -> ClusterDecision:
        facts = seen.facts
        decision = plan(facts, timezone.now())
        while decision.ask:
            facts = self._answer(decision.ask, facts, seen)
            decision = plan(facts, timezone.now())
        return decision

    def _answer(self, question: str, facts: ClusterFacts, seen: ClusterView) -> ClusterFacts:
        if question == "bootstrap":
            return replace(facts, bootstrap=self._bootstrap(facts.bootstrap_uuid, seen))
        if question == "etcd":
            return replace(facts, etcd=_etcd(seen))
        return replace(facts, kubernetes=_kubernetes(seen))

    def _bootstrap(self, uuid: str, seen: ClusterView) -> Bootstrap:
        machine = node.connect(seen.targets[uuid])
        answer = machine.look()
        if isinstance(answer, Silent):
            return Bootstrap(answer)
        members: tuple[EtcdMember, ...] = ()
        if answer.mode == "secure":
            try:
                members = machine.etcd_members()
            except node.FAILURES as error:
                return Bootstrap(Silent(str(error) or type(error).__name__))
        with tenant_scope(self.organisation_id):
            call = Operation.objects.filter(
                cluster_machine_id=seen.row_ids[uuid], kind="bootstrap", finished_at=None
            ).first()
        return Bootstrap(
            answer=answer.mode,
            stage=answer.stage,
            members=members,
            tried_at=call.tried_at if call else None,
            refusal=call.error if call else "",
            accepted=call is not None and call.target == operations.ACCEPTED and call.boot_id == answer.boot_id,
        )

    # Steps

    def _take(self, step: ClusterStep, seen: ClusterView) -> None:
        match step:
            case MakeSecrets():
                self._make_secrets()
            case StartEtcd():
                self._start_etcd(seen)
            case _:
                with tenant_scope(self.organisation_id):
                    if isinstance(step, PickMachines):
                        store.one_at_a_time()
                    cluster = Cluster.objects.select_for_update().filter(id=self.cluster_id).first()
                    if cluster is not None:
                        self._write(step, cluster, seen)

    def _make_secrets(self) -> None:
        with tenant_scope(self.organisation_id):
            cluster = Cluster.objects.filter(id=self.cluster_id, deleting_at=None).first()
        if cluster is None:
            return
        bundle = credentials.new_secrets(cluster.initial_talos_version)  # takes a second: outside transactions
        with tenant_scope(self.organisation_id):
            credentials.store_secrets(cluster, bundle)
            self._hint_members()

    def _start_etcd(self, seen: ClusterView) -> None:
        uuid = seen.facts.bootstrap_uuid
        with tenant_scope(self.organisation_id):
            row = ClusterMachine.objects.get(id=seen.row_ids[uuid])
            other = Operation.objects.filter(cluster_machine=row, finished_at=None).exclude(kind="bootstrap")
            if other.exists():
                return  # the machine is busy with something else
        machine = node.connect(seen.targets[uuid])
        shown = machine.look()
        if isinstance(shown, Silent):
            return  # the next run says so
        with tenant_scope(self.organisation_id):
            operations.begin(row, "bootstrap", seen.generation, shown.boot_id)
        try:
            with contextlib.suppress(errors.AlreadyDone):  # an answer of ours was lost; its member list will show
                machine.bootstrap()
            with tenant_scope(self.organisation_id):
                operations.accepted(row)
        except (errors.NotReady, errors.Unsupported, errors.Invalid) as error:
            with tenant_scope(self.organisation_id):
                operations.failed(row, error.detail or str(error))

    def _write(self, step: ClusterStep, cluster: Cluster, seen: ClusterView) -> None:
        """Steps that are rows and nothing else: one transaction."""
        match step:
            case PickMachines():
                self._pick(step, cluster)
            case UnpickMachine():
                MachineSetNode.objects.filter(machine_uuid=step.uuid, by_class=True).delete()
                self._desired_changed(cluster, "cluster.machine-given-back", step.uuid)
            case AddMembers():
                self._add(step, cluster)
            case SendAway():
                rows = ClusterMachine.objects.filter(cluster=cluster, machine__uuid__in=step.uuids, leaving_at=None)
                rows.update(leaving_at=timezone.now(), slot_at=None)
                changed("cluster", cluster.id, self.organisation_id)
                hint("discovery", cluster.id, self.organisation_id)
                self._hint_members()
            case FixBootstrap():
                ClusterStatus.objects.filter(cluster=cluster, bootstrap_machine_uuid="").update(
                    bootstrap_machine_uuid=step.uuid
                )
            case EtcdStarted():
                ClusterStatus.objects.filter(cluster=cluster).update(bootstrapped_at=timezone.now())
                operations.end(ClusterMachine.objects.get(id=seen.row_ids[seen.facts.bootstrap_uuid]))
                record(system(self.organisation_id), "cluster.bootstrapped", "cluster", cluster.id, cluster.name)
                self._hint_members()
            case MapEtcd():
                for uuid, member_id in step.pairs:
                    ClusterMachine.objects.filter(cluster=cluster, machine__uuid=uuid).update(etcd_member_id=member_id)
            case RemoveCluster():
                if not ClusterMachine.objects.filter(cluster=cluster).exists():
                    record(system(self.organisation_id), "cluster.removed", "cluster", cluster.id, cluster.name)
                    changed("cluster", cluster.id, self.organisation_id)
                    cluster.delete()

    def _pick(self, step: PickMachines, cluster: Cluster) -> None:
        machine_set = MachineSet.objects.get(cluster=cluster, name=step.set_name)
        for uuid in step.uuids:
            try:
                with transaction.atomic():
                    MachineSetNode.new(machine_set=machine_set, machine_uuid=uuid, by_class=True)
            except IntegrityError:
                continue  # another set was faster
            self._desired_changed(cluster, "cluster.machine-picked", uuid)

    def _desired_changed(self, cluster: Cluster, verb: str, uuid: str) -> None:
        Cluster.objects.filter(id=cluster.id).update(generation=F("generation") + 1)
        record(system(self.organisation_id), verb, "cluster", cluster.id, cluster.name, machine=uuid)
        self._hint_members()

    def _add(self, step: AddMembers, cluster: Cluster) -> None:
        runs = ClusterMachine.objects.filter(cluster=cluster, leaving_at=None).order_by("id").first()
        nodes = MachineSetNode.objects.filter(machine_set__cluster=cluster, machine_uuid__in=step.uuids)
        for picked in nodes.select_related("machine_set").order_by("id"):
            machine = Machine.objects.filter(uuid=picked.machine_uuid).first()
            if machine is None:
                continue
            try:
                with transaction.atomic():
                    row = ClusterMachine.new(
                        cluster=cluster,
                        machine_set=picked.machine_set,
                        role=picked.machine_set.role,
                        machine=machine,
                        # What the cluster runs; upgrades raise it for all machines together.
                        kubernetes_version=runs.kubernetes_version if runs else cluster.kubernetes_version,
                    )
            except IntegrityError:
                continue  # another cluster was faster
            record(
                system(self.organisation_id), "cluster.machine-taken", "cluster", cluster.id, cluster.name,
                machine=machine.uuid,
            )  # fmt: skip
            hint("cluster-machine", row.id, self.organisation_id)
            changed("machine", machine.id, self.organisation_id)
            changed("cluster", cluster.id, self.organisation_id)

    def _hint_members(self) -> None:
        for row_id in ClusterMachine.objects.filter(cluster_id=self.cluster_id).values_list("id", flat=True):
            hint("cluster-machine", row_id, self.organisation_id)

    def _store(self, seen: ClusterView, decision: ClusterDecision) -> None:
        with tenant_scope(self.organisation_id):
            status = ClusterStatus.objects.filter(cluster_id=self.cluster_id).first()
            if status is None:
                return
            before = _conclusions(status)
            status.conditions = merge(status.conditions, decision.conditions, timezone.now())
            status.observed_generation = seen.generation
            status.phase, status.ready = decision.phase, decision.ready
            status.kubernetes_api_ready = decision.api_ready
            status.step = decision.step.kind if decision.step else ""
            if decision.api_ready and not before[CONCLUSIONS.index("kubernetes_api_ready")]:
                hint("cluster-access", self.cluster_id, self.organisation_id)
            if decision.ready and status.ready_at is None:
                status.ready_at = timezone.now()
            if _conclusions(status) == before:
                return
            status.save(update_fields=CONCLUSIONS)
            changed("cluster", self.cluster_id, self.organisation_id)


def _conclusions(status: ClusterStatus) -> list[object]:
    return [getattr(status, name) for name in CONCLUSIONS]


def _etcd(seen: ClusterView) -> tuple[EtcdMember, ...] | Silent:
    """The member list of the first control plane that has one."""
    reason = "no control plane can be asked"
    for member in seen.control_planes():
        try:
            members = node.connect(seen.targets[member.uuid]).etcd_members()
        except node.FAILURES as error:
            reason = f"{member.name}: {error or type(error).__name__}"
            continue
        if members:
            return members
        reason = f"etcd does not run on {member.name}"
    return Silent(reason)


def _kubernetes(seen: ClusterView) -> Kubernetes:
    """The API's answer, from the first control plane on which it is ready."""
    answer = Kubernetes(False, "no control plane can be asked")
    for member in seen.control_planes():
        if seen.kubernetes is None:
            break
        answer = kubernetes.status(kubernetes.ControlPlane(seen.targets[member.uuid].address, seen.kubernetes))
        if answer.ready:
            return answer
        answer = replace(answer, reason=f"{member.name}: {answer.reason}")
    return answer
