"""The machine reconciler: keeps the join documents on machines that are in no cluster."""

import hashlib
from dataclasses import dataclass
from uuid import UUID

from django.utils import timezone

from apps.machines import nodes, plan
from apps.machines.joinpage import join_documents
from apps.machines.models import Machine, MachineStatus
from apps.reconcile.conditions import Condition, merge
from apps.reconcile.outbox import changed
from apps.reconcile.registry import Outcome
from apps.tenants.scope import tenant_scope
from nodeagent import errors
from nodeagent.client import NodeClient
from nodeagent.identity import WrongMachine
from talos.config.document import ConfigError
from talos.resources import types

RETRY = 30.0


@dataclass(frozen=True)
class _Look:
    facts: plan.Facts
    address: str
    uuid: str


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def reconcile_machine(organisation_id: UUID, machine_id: UUID) -> Outcome:
    """Look at one machine; apply the join documents when it lacks them."""
    documents = join_documents()
    look = _observe(organisation_id, machine_id, _sha(documents))
    if look is None:
        return Outcome()
    decision = plan.decide(look.facts)
    conditions, applied = list(decision.conditions), False
    if decision.apply:
        try:
            nodes.call(look.address, None, lambda client: _apply(client, documents), uuid=look.uuid)
            applied = True
        except errors.Unsupported:
            applied = True  # Talos too old for partial configurations: its kernel arguments say the same
        except (errors.NodeError, ConfigError, OSError, TimeoutError, WrongMachine) as error:
            conditions[-1] = Condition("Join documents", "wait", f"Waiting to apply the join documents: {error}")
    with tenant_scope(organisation_id):
        status = MachineStatus.objects.select_for_update().filter(machine_id=machine_id).first()
        if status is None:
            return Outcome()
        before = status.conditions
        status.conditions = merge(before, conditions, timezone.now())
        if applied:
            status.maintenance_config_sha, status.maintenance_config_key = look.facts.wanted_sha, look.facts.link_key
        status.save()
        if status.conditions != before:
            changed("machine", machine_id, organisation_id)
    if applied:
        return Outcome(again_in=0.5)
    return Outcome(again_in=RETRY if decision.apply else None)


def _observe(organisation_id: UUID, machine_id: UUID, wanted: str) -> _Look | None:
    with tenant_scope(organisation_id):
        machine = Machine.objects.select_related("link", "observation", "status").filter(id=machine_id).first()
        if machine is None or not hasattr(machine, "link"):
            return None
        observed, link, status = machine.observation, machine.link, machine.status
        facts = plan.Facts(
            connected=observed.connected,
            reachable=observed.reachable,
            stage=observed.stage,
            api_mode=observed.api_mode,
            in_cluster=hasattr(machine, "cluster_machine"),
            over_agent=not link.reaches_us,
            link_key=link.public_key or "",
            wanted_sha=wanted,
            applied_sha=status.maintenance_config_sha,
            applied_key=status.maintenance_config_key,
            error=observed.error,
        )
        return _Look(facts, str(link.address), machine.uuid)


async def _apply(client: NodeClient, documents: str) -> None:
    try:
        existing = str((await client.get(types.MACHINE_CONFIG, "v1alpha1")).spec or "")
    except errors.NotFound:
        existing = ""
    await client.apply_configuration(plan.maintenance_config(existing or None, documents).encode())
