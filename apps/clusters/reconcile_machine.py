"""The reconciler of one machine of a cluster: observe, plan, take at most one step, store what is so."""

from dataclasses import dataclass, replace
from uuid import UUID

from django.utils import timezone

from apps.clusters import kubernetes, node, operations
from apps.clusters.decision import Decision
from apps.clusters.machine_acts import MachineActs
from apps.clusters.machine_steps import Facts, Live, Step
from apps.clusters.models import ClusterMachine
from apps.clusters.observe_machine import MachineView, view
from apps.clusters.plan_machine import plan
from apps.reconcile.conditions import Condition, merge
from apps.reconcile.outbox import changed, hint
from apps.reconcile.registry import Outcome
from apps.tenants.scope import tenant_scope

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


def reconcile_cluster_machine(organisation_id: UUID, object_id: UUID) -> Outcome:
    """Look at one machine of a cluster and take its next step."""
    run = _Run(organisation_id, object_id, MachineActs(organisation_id, object_id))
    seen = run.observe()
    return Outcome() if seen is None else run.go(seen)


@dataclass(frozen=True)
class _Run:
    """One run; `row_id` is the ClusterMachine."""

    organisation_id: UUID
    row_id: UUID
    acts: MachineActs

    def observe(self) -> MachineView | None:
        with tenant_scope(self.organisation_id):
            row = self.acts.row()
            if row is None:
                return None
            operations.forgive_clock(row)
            return view(row)

    def go(self, seen: MachineView) -> Outcome:
        facts, decision = self._decide(seen)
        self._store(seen, facts, decision)
        if decision.step is None:
            return Outcome(again_in=decision.again_in)
        try:
            self.acts.take(decision.step, seen, facts)
        except (*node.FAILURES, kubernetes.KubernetesError) as error:
            self._failed(seen, facts, decision, str(error) or type(error).__name__)
            return Outcome(again_in=AGAIN)
        return Outcome(again_in=0.0)

    def _failed(self, seen: MachineView, facts: Facts, decision: Decision[Step], failure: str) -> None:
        self.acts.failed(failure)
        *others, last = decision.conditions
        sentence = f"{last.message} That failed: {failure}. It is tried again."
        self._store(seen, facts, replace(decision, conditions=(*others, Condition(last.name, "wait", sentence))))

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

    def _store(self, seen: MachineView, facts: Facts, decision: Decision[Step]) -> None:
        """Write the conclusions; who depends on them is told only when they changed."""
        with tenant_scope(self.organisation_id):
            row = self.acts.row()
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
