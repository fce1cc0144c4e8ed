"""Taking one step with a machine of a cluster.

Each act writes what it is about to do, calls the machine outside any transaction, and writes what came of it. An act
whose ground is gone by the time it is written (the machine is to leave, or has left) is not taken.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.access.actor import system
from apps.audit.actions import record
from apps.clusters import kubernetes, node, operations, render
from apps.clusters.credentials import kubernetes_credentials
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
from apps.clusters.observe_machine import MachineView
from apps.reconcile.outbox import changed, hint
from apps.tenants.scope import tenant_scope
from apps.tenants.sealing import seal, unseal
from nodeagent import errors
from talos.config import redact
from talos.config.document import encode, load

RELATED = ("cluster__secrets", "cluster__status", "machine_set", "machine__link", "machine__observation")


class Overtaken(Exception):
    """What the step was decided on is not so any more; the next look decides anew."""


@dataclass(frozen=True)
class MachineActs:
    """The acts with one machine; `row_id` is its ClusterMachine."""

    organisation_id: UUID
    row_id: UUID

    def row(self) -> ClusterMachine | None:
        """Call it in the tenant's scope."""
        return ClusterMachine.objects.select_related(*RELATED).filter(id=self.row_id).first()

    def take(self, step: Step, seen: MachineView, facts: Facts) -> None:
        """Take a step. Raises what a call to a machine can end with, and KubernetesError."""
        try:
            self._take(step, seen, facts)
        except Overtaken:
            return

    def failed(self, error: str) -> None:
        """Note that the last call did not work."""
        with tenant_scope(self.organisation_id):
            if (row := self.row()) is not None:
                operations.failed(row, error)

    def _take(self, step: Step, seen: MachineView, facts: Facts) -> None:
        machine, live = node.connect(seen.target), facts.live
        match step:
            case Render():
                self._render(seen)
            case TakeSlot():
                self._take_slot(seen)
            case FreeSlot():
                self._free_slot(seen)
            case Close():
                with self._changing(seen) as row:
                    operations.end(row, step.error, permanent=step.permanent)
            case ForgetNode():
                self._forget_node(seen)
            case Release():
                self._release(seen)
            case Install() if isinstance(live, Live):
                self._begin("install", seen, live, step.image)
                self._install(lambda: _install(machine, step))
            case Upgrade() if isinstance(live, Live):
                self._upgrade(step, machine, seen, facts, live)
            case Reboot() if isinstance(live, Live):
                self._begin("reboot", seen, live)
                machine.reboot(secure=live.mode == "secure")
            case Reset() if isinstance(live, Live):
                self._begin("reset", seen, live)
                machine.reset(step.graceful, live.version)
            case Apply() if isinstance(live, Live):
                self._apply(step, machine, seen, live)

    @contextmanager
    def _changing(self, seen: MachineView) -> Iterator[ClusterMachine]:
        """The row before an act, in a transaction of its own. Raises Overtaken when the machine was sent away."""
        with self._recording() as row:
            if (row.leaving_at is not None) != seen.facts.leaving:
                raise Overtaken
            yield row

    @contextmanager
    def _recording(self) -> Iterator[ClusterMachine]:
        """The row after an act: what happened is written in any case. Raises Overtaken when the row is gone."""
        with tenant_scope(self.organisation_id):
            row = self.row()
            if row is None:
                raise Overtaken
            yield row

    def _begin(self, kind: str, seen: MachineView, live: Live, target: str = "") -> None:
        with self._changing(seen) as row:
            operations.begin(row, kind, seen.generation, live.boot_id, target)

    def _install(self, call: Callable[[], None]) -> None:
        """Run an installation that ends with the call."""
        try:
            call()
        except errors.InstallFailed as error:
            if not error.permanent:
                raise
            with self._recording() as row:
                operations.end(row, str(error), permanent=True)
        else:
            with self._recording() as row:
                operations.end(row)

    def _upgrade(self, step: Upgrade, machine: node.Node, seen: MachineView, facts: Facts, live: Live) -> None:
        completing = facts.open is not None and facts.open.kind == "install"
        self._begin("install" if completing else "upgrade", seen, live, step.image)
        if step.by_machine:
            machine.upgrade(step.image, by_machine=True)  # the machine's next boot shows whether it worked
        else:
            self._install(lambda: machine.upgrade(step.image, by_machine=False))

    def _render(self, seen: MachineView) -> None:
        if seen.inputs is None:
            return
        problem, rendered = "", None
        try:
            rendered = render.render(seen.inputs)
        except render.RenderError as error:
            problem = str(error)
        with self._changing(seen) as row:
            row.config_inputs, row.config_error = seen.inputs.fingerprint(), problem
            if rendered is not None:
                row.sealed_config = seal(rendered.config, row.organisation_id, row.id)
                row.config_sha = rendered.sha
                hint("discovery", row.cluster_id, self.organisation_id)  # it may name other services
            row.save(update_fields=["config_inputs", "config_error", "sealed_config", "config_sha"])

    def _apply(self, step: Apply, machine: node.Node, seen: MachineView, live: Live) -> None:
        with self._changing(seen) as row:
            if row.sealed_config is None:
                raise Overtaken
            config, sha = unseal(row.sealed_config, row.organisation_id, row.id), row.config_sha
            row.applied_at = timezone.now()
            row.save(update_fields=["applied_at"])
            if step.installs:
                operations.begin(row, "install", seen.generation, live.boot_id, seen.facts.image)
        try:
            confirmed = machine.apply(config, secure=live.mode == "secure")
        except errors.Invalid as error:
            with self._recording() as row:
                row.refused_sha, row.refusal = sha, error.detail
                row.save(update_fields=["refused_sha", "refusal"])
                if step.installs:
                    operations.end(row, error.detail)
            return
        with self._recording() as row:
            row.redacted_config = encode(redact.redact(load(config)))
            row.refused_sha, row.refusal = "", ""
            if confirmed and not step.installs:
                row.applied_sha = sha
            row.save(update_fields=["redacted_config", "refused_sha", "refusal", "applied_sha"])
            busy = row.operations.filter(finished_at=None).exists()
            if not confirmed and live.mode == "secure" and not busy:
                operations.begin(row, "restart", seen.generation, live.boot_id)

    def _take_slot(self, seen: MachineView) -> None:
        with self._changing(seen) as row:
            Cluster.objects.select_for_update().get(id=row.cluster_id)  # one at a time counts slots
            holders = ClusterMachine.objects.filter(cluster=row.cluster, role=row.role).exclude(slot_at=None)
            if row.role == "worker":
                holders = holders.filter(machine_set=row.machine_set)
            if holders.exclude(id=row.id).count() >= seen.facts.slots:
                raise Overtaken
            try:
                with transaction.atomic():
                    row.slot_at = timezone.now()
                    row.save(update_fields=["slot_at"])
            except IntegrityError:
                raise Overtaken from None

    def _free_slot(self, seen: MachineView) -> None:
        with self._changing(seen) as row:
            row.slot_at = None
            row.save(update_fields=["slot_at"])
            others = ClusterMachine.objects.filter(cluster=row.cluster).exclude(id=row.id)
            for other in others.values_list("id", flat=True):
                hint("cluster-machine", other, self.organisation_id)

    def _forget_node(self, seen: MachineView) -> None:
        """Delete the Kubernetes node, unless another machine of the cluster has its name by now."""
        with tenant_scope(self.organisation_id):
            secrets = Cluster.objects.select_related("secrets").get(id=seen.cluster_id).secrets
            rows = ClusterMachine.objects.filter(cluster_id=seen.cluster_id, node_name=seen.facts.node_name)
            taken = rows.filter(leaving_at=None).exists()
        if not taken:
            problem = "no control plane is known"
            for _, other in seen.others:
                try:
                    control_plane = kubernetes.ControlPlane(other.address, kubernetes_credentials(secrets))
                    kubernetes.delete_node(control_plane, seen.facts.node_name)
                    break
                except (kubernetes.KubernetesError, OSError, TimeoutError) as error:
                    problem = str(error)
            else:
                raise kubernetes.KubernetesError(problem)
        with self._recording() as row:
            row.node_name = ""
            row.save(update_fields=["node_name"])

    def _release(self, seen: MachineView) -> None:
        with self._changing(seen) as row:
            uuid, machine_id, cluster = row.machine.uuid, row.machine_id, row.cluster
            row.delete()
            actor = system(self.organisation_id)
            record(actor, "cluster.machine-left", "cluster", cluster.id, cluster.name, machine=uuid)
            hint("cluster", cluster.id, self.organisation_id)
            hint("discovery", cluster.id, self.organisation_id)
            hint("machine", machine_id, self.organisation_id)
            for waiting in MachineSetNode.objects.filter(machine_uuid=uuid).select_related("machine_set"):
                hint("cluster", waiting.machine_set.cluster_id, self.organisation_id)
            changed("machine", machine_id, self.organisation_id)
            changed("cluster", cluster.id, self.organisation_id)


def _install(machine: node.Node, step: Install) -> None:
    try:
        machine.install(step.image, step.disk)
    except errors.AlreadyDone:  # an installation of which nobody told us: complete it, which keeps what is there
        machine.upgrade(step.image, by_machine=False)
