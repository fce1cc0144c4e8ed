"""The reconciler of one machine of a cluster: observe, plan, take at most one step, store what is so."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.access.actor import system
from apps.audit.actions import record
from apps.clusters import kubernetes, node, operations, render
from apps.clusters.credentials import kubernetes_credentials
from apps.clusters.decision import Decision
from apps.clusters.machine_steps import (
    Apply,
    Close,
    Facts,
    ForgetNode,
    FreeSlot,
    Install,
    Live,
    Reboot,
    Release,
    Render,
    Reset,
    Step,
    TakeSlot,
    Upgrade,
)
from apps.clusters.models import Cluster, ClusterMachine, MachineSetNode
from apps.clusters.observe_machine import MachineView, view
from apps.clusters.plan_machine import plan
from apps.reconcile.conditions import Condition, merge
from apps.reconcile.outbox import changed, hint
from apps.reconcile.registry import Outcome
from apps.tenants.scope import tenant_scope
from apps.tenants.sealing import seal, unseal
from nodeagent import errors
from talos.config import redact
from talos.config.document import encode, load

AGAIN = 15.0
"""Seconds until a step that failed is considered again."""

CONCLUSIONS = (
    "conditions",
    "step",
    "stage",
    "ready",
    "schematic_id",
    "install_disk",
    "node_name",
    "observed_generation",
)
"""Columns that say how a machine is, written together."""

RELATED = (
    "cluster__secrets",
    "cluster__status",
    "machine_set",
    "machine__link",
    "machine__observation",
)


def reconcile_cluster_machine(organisation_id: UUID, object_id: UUID) -> Outcome:
    """Look at one machine of a cluster and take its next step."""
    run = _Run(organisation_id, object_id)
    seen = run.observe()
    return Outcome() if seen is None else run.go(seen)


@dataclass(frozen=True)
class _Run:
    """One run; `row_id` is the ClusterMachine."""

    organisation_id: UUID
    row_id: UUID

    def row(self) -> ClusterMachine | None:
        return ClusterMachine.objects.select_related(*RELATED).filter(id=self.row_id).first()

    def observe(self) -> MachineView | None:
        with tenant_scope(self.organisation_id):
            row = self.row()
            return None if row is None else view(row)

    def go(self, seen: MachineView) -> Outcome:
        facts, decision = self._decide(seen)
        failure = ""
        if decision.step is not None:
            self._store(seen, facts, decision)
            try:
                self._take(decision.step, seen, facts)
            except node.FAILURES as error:
                failure = str(error) or type(error).__name__
                with tenant_scope(self.organisation_id):
                    if (row := self.row()) is not None:
                        operations.failed(row, failure)
            except kubernetes.KubernetesError as error:
                failure = str(error)
        if failure:
            last = decision.conditions[-1]
            sentence = f"{last.message} That failed: {failure}. It is tried again."
            decision = replace(decision, conditions=(*decision.conditions[:-1], Condition(last.name, "wait", sentence)))
            self._store(seen, facts, decision)
            return Outcome(again_in=AGAIN)
        if decision.step is None:
            self._store(seen, facts, decision)
            return Outcome(again_in=decision.again_in)
        return Outcome(again_in=0.0)

    def _decide(self, seen: MachineView) -> tuple[Facts, Decision[Step]]:
        """Plan, asking the machine, or the other control planes, when the planner wants to know."""
        facts = seen.facts
        decision = plan(facts, timezone.now())
        while decision.ask:
            if decision.ask == "machine":
                facts = replace(facts, live=node.connect(seen.target).look())
            else:
                facts = replace(facts, unhealthy=tuple(name for name, other in seen.others if not _healthy(other)))
            decision = plan(facts, timezone.now())
        return facts, decision

    # Steps. Each writes what it is about to do, calls the machine outside any transaction, writes what came of it.

    def _take(self, step: Step, seen: MachineView, facts: Facts) -> None:
        machine, live = node.connect(seen.target), facts.live
        match step:
            case Render():
                self._render(seen)
            case TakeSlot():
                self._take_slot(facts)
            case FreeSlot():
                self._change(lambda row: _free_slot(row))
            case Close():
                self._change(lambda row: operations.end(row, step.error))
            case ForgetNode():
                self._forget_node(seen)
            case Release():
                self._release()
            case Install() | Upgrade() | Reboot() | Apply() | Reset() if isinstance(live, Live):
                self._call(step, machine, seen, facts, live)

    def _call(self, step: Step, machine: node.Node, seen: MachineView, facts: Facts, live: Live) -> None:
        match step:
            case Install():
                self._begin("install", seen, live, step.image)
                self._install(lambda: _install(machine, step))
            case Upgrade():
                completing = facts.open is not None and facts.open.kind == "install"
                self._begin("install" if completing else "upgrade", seen, live, step.image)
                if step.by_machine:
                    machine.upgrade(step.image, by_machine=True)
                else:
                    self._install(lambda: machine.upgrade(step.image, by_machine=False))
            case Reboot():
                self._begin("reboot", seen, live)
                machine.reboot(secure=live.mode == "secure")
            case Reset():
                self._begin("reset", seen, live)
                machine.reset(step.graceful, live.version)
            case Apply():
                self._apply(step, machine, seen, live)

    def _change(self, change: Callable[[ClusterMachine], None]) -> None:
        """Change the row in a transaction of its own, if it is still there."""
        with tenant_scope(self.organisation_id):
            row = self.row()
            if row is not None:
                change(row)

    def _begin(self, kind: str, seen: MachineView, live: Live, target: str = "") -> None:
        self._change(lambda row: _begin(row, kind, seen.generation, live.boot_id, target))

    def _install(self, call: Callable[[], None]) -> None:
        try:
            call()
        except errors.InstallFailed as error:
            if not error.permanent:
                raise
            detail = str(error)
            self._change(lambda row: operations.end(row, detail, permanent=True))
        else:
            self._change(lambda row: operations.end(row))

    def _render(self, seen: MachineView) -> None:
        if seen.inputs is None:
            return
        fingerprint, problem, rendered = seen.inputs.fingerprint(), "", None
        try:
            rendered = render.render(seen.inputs)
        except render.RenderError as error:
            problem = str(error)

        def store(row: ClusterMachine) -> None:
            row.config_inputs, row.config_error = fingerprint, problem
            if rendered is not None:
                row.sealed_config = seal(rendered.config, row.organisation_id, row.id)
                row.config_sha = rendered.sha
            row.save(update_fields=["config_inputs", "config_error", "sealed_config", "config_sha"])

        self._change(store)

    def _apply(self, step: Apply, machine: node.Node, seen: MachineView, live: Live) -> None:
        sent: list[tuple[bytes, str]] = []

        def prepare(row: ClusterMachine) -> None:
            if row.sealed_config is None:
                return
            row.applied_at = timezone.now()
            row.save(update_fields=["applied_at"])
            if step.installs:
                operations.begin(row, "install", seen.generation, live.boot_id, seen.facts.image)
            sent.append((unseal(row.sealed_config, row.organisation_id, row.id), row.config_sha))

        self._change(prepare)
        for config, sha in sent:
            try:
                confirmed = machine.apply(config, secure=live.mode == "secure")
            except errors.Invalid as error:
                refusal = error.detail
                self._change(lambda row, sha=sha, refusal=refusal: _refused(row, sha, refusal, step.installs))  # type: ignore[misc]
            else:
                restarts = not confirmed and live.mode == "secure"
                self._change(
                    lambda row, config=config, sha=sha, confirmed=confirmed, restarts=restarts: _applied(  # type: ignore[misc]
                        row, config, sha if confirmed and not step.installs else "", restarts, seen.generation, live
                    )
                )

    def _take_slot(self, facts: Facts) -> None:
        with tenant_scope(self.organisation_id):
            row = self.row()
            if row is None:
                return
            Cluster.objects.select_for_update().get(id=row.cluster_id)  # one at a time counts slots
            holders = ClusterMachine.objects.filter(cluster=row.cluster, role=row.role).exclude(slot_at=None)
            if row.role == "worker":
                holders = holders.filter(machine_set=row.machine_set)
            if holders.exclude(id=row.id).count() >= facts.slots:
                return
            try:
                with transaction.atomic():
                    row.slot_at = timezone.now()
                    row.save(update_fields=["slot_at"])
            except IntegrityError:
                return  # another control plane was faster

    def _forget_node(self, seen: MachineView) -> None:
        with tenant_scope(self.organisation_id):
            secrets = Cluster.objects.select_related("secrets").get(id=seen.cluster_id).secrets
            unique = not ClusterMachine.objects.filter(
                cluster_id=seen.cluster_id, node_name=seen.facts.node_name, leaving_at=None
            ).exists()
        problem = "no control plane is known"
        if unique:
            for _, other in seen.others:
                try:
                    control_plane = kubernetes.ControlPlane(other.address, kubernetes_credentials(secrets))
                    kubernetes.delete_node(control_plane, seen.facts.node_name)
                    break
                except (kubernetes.KubernetesError, OSError, TimeoutError) as error:
                    problem = str(error)
            else:
                raise kubernetes.KubernetesError(problem)
        self._change(lambda row: _forget(row))

    def _release(self) -> None:
        with tenant_scope(self.organisation_id):
            row = self.row()
            if row is None:
                return
            uuid, machine_id, cluster = row.machine.uuid, row.machine_id, row.cluster
            row.delete()
            actor = system(self.organisation_id)
            record(actor, "cluster.machine-left", "cluster", cluster.id, cluster.name, machine=uuid)
            hint("cluster", cluster.id, self.organisation_id)
            hint("machine", machine_id, self.organisation_id)
            for waiting in MachineSetNode.objects.filter(machine_uuid=uuid).select_related("machine_set"):
                hint("cluster", waiting.machine_set.cluster_id, self.organisation_id)
            changed("machine", machine_id, self.organisation_id)
            changed("cluster", cluster.id, self.organisation_id)

    def _store(self, seen: MachineView, facts: Facts, decision: Decision[Step]) -> None:
        """Write the conclusions; who depends on them is told only when they changed."""
        with tenant_scope(self.organisation_id):
            row = self.row()
            if row is None:
                return
            before = _conclusions(row)
            live = facts.live if isinstance(facts.live, Live) else facts.seen
            observed = row.machine.observation
            row.conditions = merge(row.conditions, decision.conditions, timezone.now())
            row.step = decision.step.kind if decision.step else ""
            row.stage = _stage(facts, live)
            row.ready = decision.conditions[-1].name == "ready" and decision.conditions[-1].state == "ok"
            row.schematic_id = facts.schematic
            if seen.inputs is not None and not facts.render_needed:
                row.observed_generation = seen.generation
            if not row.applied_sha:
                row.install_disk = facts.disk
            if observed.node_name and not facts.leaving:
                row.node_name = observed.node_name
            after = _conclusions(row)
            if after == before:
                return
            row.save(update_fields=CONCLUSIONS)
            hint("cluster", row.cluster_id, self.organisation_id)
            changed("machine", row.machine_id, self.organisation_id)
            changed("cluster", row.cluster_id, self.organisation_id)


def _conclusions(row: ClusterMachine) -> list[object]:
    return [getattr(row, name) for name in CONCLUSIONS]


def _stage(facts: Facts, live: Live | None) -> str:
    """The stage as people know it; while leaving it is always `destroying`."""
    if facts.leaving:
        return "destroying"
    if live is None:
        return "unknown"
    if facts.open is not None and facts.open.kind in ("install", "upgrade"):
        return "installing" if facts.open.kind == "install" else "upgrading"
    if live.mode == "maintenance":
        return "configuring"
    return live.stage or "booting"


def _healthy(target: node.Target) -> bool:
    answer = node.connect(target).look()
    return isinstance(answer, Live) and answer.etcd_healthy


def _install(machine: node.Node, step: Install) -> None:
    try:
        machine.install(step.image, step.disk)
    except errors.AlreadyDone:  # an installation of which nobody told us: complete it, which keeps what is there
        machine.upgrade(step.image, by_machine=False)


def _begin(row: ClusterMachine, kind: str, generation: int, boot_id: str, target: str) -> None:
    operations.begin(row, kind, generation, boot_id, target)


def _applied(row: ClusterMachine, config: bytes, sha: str, restarts: bool, generation: int, live: Live) -> None:
    row.redacted_config = encode(redact.redact(load(config)))
    row.refused_sha, row.refusal = "", ""
    if sha:
        row.applied_sha = sha
    row.save(update_fields=["redacted_config", "refused_sha", "refusal", "applied_sha"])
    if restarts and not row.operations.filter(finished_at=None).exists():
        operations.begin(row, "restart", generation, live.boot_id)


def _refused(row: ClusterMachine, sha: str, refusal: str, installs: bool) -> None:
    row.refused_sha, row.refusal = sha, refusal
    row.save(update_fields=["refused_sha", "refusal"])
    if installs:
        operations.end(row, refusal)


def _free_slot(row: ClusterMachine) -> None:
    row.slot_at = None
    row.save(update_fields=["slot_at"])
    for other in ClusterMachine.objects.filter(cluster=row.cluster).exclude(id=row.id).values_list("id", flat=True):
        hint("cluster-machine", other, row.organisation_id)


def _forget(row: ClusterMachine) -> None:
    row.node_name = ""
    row.save(update_fields=["node_name"])
