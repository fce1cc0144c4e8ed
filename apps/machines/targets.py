"""What answers at an address that an agent reaches, and whose it is. `judge` decides, the rest stores.

An address is never believed: a machine is told by its UUID together with its hardware's fingerprint, or by the
certificate of the cluster that configured it together with its UUID. Nothing is done to a machine that is told by less.
"""

from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from django.db import IntegrityError
from django.utils import timezone

from apps.access.actor import Actor
from apps.audit.actions import record as audit
from apps.machines import joining
from apps.machines.models import Agent, AgentTarget, Link, Machine
from apps.reconcile.outbox import changed
from apps.tenants.ids import uuid7
from apps.tenants.scope import tenant_scope
from nodeagent.identity import Hardware
from nodeagent.probe import Found
from nodeagent.siderolink.decide import valid_uuid
from talos import siderolink

NOT_LOOKED = "it has not been looked at yet"


class Act(Enum):
    """What to do with a target."""

    KEEP = "keep"  # its machine, or that it has none, stays
    ATTACH = "attach"  # it leads to the known machine of this UUID
    REGISTER = "register"  # a new machine


@dataclass(frozen=True)
class KnownMachine:
    """What is stored of the machine that has the UUID found."""

    over_agent: bool  # else it has a SideroLink
    fingerprint: str
    cluster: str  # id of the cluster that configured it, empty in none


@dataclass(frozen=True)
class Verdict:
    """What to do, and what to tell people: empty when all is well."""

    act: Act
    problem: str = ""


def judge(found: Found, named: bool, leads_to: str | None, known: KnownMachine | None) -> Verdict:
    """Whose machine was found. `leads_to`: UUID of the machine that the target has; `known`: that of the UUID found."""
    if not found.mode:
        return Verdict(Act.KEEP, f"It does not answer: {found.error}")
    if found.mode == "foreign":
        return Verdict(Act.KEEP, f"It runs a configuration that is not ours: {found.error}")
    uuid, fingerprint = found.hardware.uuid, found.hardware.fingerprint
    if not valid_uuid(uuid):
        return Verdict(Act.KEEP, "Its firmware reports no UUID, so it cannot be told from other machines.")
    if known is not None:
        return _known(found, leads_to, known)
    if found.mode == "secure":
        return Verdict(Act.KEEP, f"It runs the configuration of one of your clusters, but no machine {uuid} is known.")
    if not fingerprint:
        return Verdict(Act.KEEP, "It shows neither a serial number nor a network card to tell it from others by.")
    if leads_to is not None:
        return Verdict(
            Act.KEEP,
            f"Machine {uuid} answers here instead of {leads_to}; nothing was done to it."
            " Accept it here if it is to be another machine.",
        )
    return Verdict(Act.REGISTER if named else Act.KEEP)


def _known(found: Found, leads_to: str | None, known: KnownMachine) -> Verdict:
    uuid = found.hardware.uuid
    if not known.over_agent:
        return Verdict(Act.KEEP, f"Machine {uuid} joined over SideroLink; it is not reached through an agent as well.")
    if found.mode == "secure" and found.authority != known.cluster:
        return Verdict(Act.KEEP, f"It says it is {uuid}, but runs the configuration of another cluster than {uuid}.")
    same_hardware = bool(found.hardware.fingerprint) and found.hardware.fingerprint == known.fingerprint
    # A way that led to the machine before may find its hardware changed. A new one must not: any machine of the cluster
    # has its certificates, and a worker that was taken over would get a control plane's configuration.
    if same_hardware or (found.mode == "secure" and leads_to == uuid):
        return Verdict(Act.ATTACH)
    return Verdict(
        Act.KEEP,
        f"It says it is {uuid}, but its hardware is not that of the known machine; nothing was done to it."
        f" If parts of {uuid} were replaced, forget that machine first.",
    )


# --- storing ----------------------------------------------------------------------------------------------------------


def ensure(agent_id: UUID, address: str, named: bool) -> AgentTarget:
    """The row of an address."""
    row, _ = AgentTarget.objects.get_or_create(agent_id=agent_id, address=address, defaults={"named": named})
    if row.named != named:
        row.named = named
        row.save(update_fields=["named"])
    return row


def of(organisation_id: UUID, agent_id: UUID) -> list[AgentTarget]:
    """All targets of an agent."""
    with tenant_scope(organisation_id):
        return list(AgentTarget.objects.filter(agent_id=agent_id))


def note(organisation_id: UUID, agent_id: UUID, address: str, named: bool, found: Found) -> AgentTarget | None:
    """Store what was found at an address, and do what follows from it; the row, or None when the agent was removed."""
    for attempt in range(3):
        try:
            with tenant_scope(organisation_id):
                if not Agent.objects.filter(id=agent_id, removed_at=None).exists():
                    return None
                return _note(ensure(agent_id, address, named), found)
        except IntegrityError:  # two addresses of one machine are looked at at once: the second look sees the first's
            if attempt == 2:
                raise
    raise AssertionError("unreachable")


def _note(row: AgentTarget, found: Found) -> AgentTarget:
    before = _shown(row)
    leads_to = row.machine.uuid if row.machine else None
    known = Machine.objects.select_related("link", "cluster_machine").filter(uuid=found.hardware.uuid or "-").first()
    verdict = judge(found, row.named, leads_to, _as_known(known))
    row.api_mode, row.problem = found.mode, verdict.problem
    if found.mode:
        row.seen_at = timezone.now()
        row.uuid, row.fingerprint = found.hardware.uuid[:64], found.hardware.fingerprint
        row.talos_version = found.version[:60]
    if verdict.act is Act.ATTACH:
        row.machine = known
    row.save()
    if verdict.act is Act.REGISTER:
        link = register(row)
        assert link.machine is not None
        agent = row.agent
        actor = Actor("agent", str(agent.id), agent.name, agent.organisation_id)
        audit(
            actor, "machine.join", "machine", link.machine.id, link.machine.uuid, agent=agent.name, address=row.address
        )
    if _shown(row) != before:
        changed("agent", row.agent_id, row.organisation_id)
        if row.machine_id:
            changed("machine", row.machine_id, row.organisation_id)
    return row


def _shown(row: AgentTarget) -> tuple[object, ...]:
    return row.machine_id, row.uuid, row.fingerprint, row.talos_version, row.api_mode, row.problem


def _as_known(machine: Machine | None) -> KnownMachine | None:
    if machine is None:
        return None
    link, member = getattr(machine, "link", None), getattr(machine, "cluster_machine", None)
    return KnownMachine(
        over_agent=link is not None and link.transport == Link.AGENT,
        fingerprint=link.fingerprint if link else "",
        cluster=str(member.cluster_id) if member else "",
    )


def note_lost(organisation_id: UUID, agent_id: UUID, address: str, reason: str) -> None:
    """The agent does not reach an address. One that leads to no machine and was found by a scan is forgotten."""
    with tenant_scope(organisation_id):
        row = AgentTarget.objects.filter(agent_id=agent_id, address=address).first()
        if row is None:
            return
        if row.machine_id is None and not row.named:
            row.delete()
        else:
            row.api_mode, row.problem = "", f"It does not answer: {reason}"
            row.save(update_fields=["api_mode", "problem"])
        changed("agent", agent_id, organisation_id)


def obstacle(row: AgentTarget) -> str:
    """Why what was found at an address cannot become a machine; empty when it can."""
    if row.api_mode != "maintenance":
        return row.problem or NOT_LOOKED
    found = Found(True, "maintenance", hardware=Hardware(row.uuid, row.fingerprint), version=row.talos_version)
    known = Machine.objects.select_related("link", "cluster_machine").filter(uuid=row.uuid).first()
    verdict = judge(found, True, None, _as_known(known))
    if verdict.act is Act.ATTACH:
        return f"machine {row.uuid} is accepted already"
    return verdict.problem


def register(row: AgentTarget) -> Link:
    """The machine found at an address becomes one of the organisation's; its link, established. Audited by callers."""
    link = Link(
        id=uuid7(),
        organisation_id=row.organisation_id,
        transport=Link.AGENT,
        address=str(siderolink.random_address(siderolink.prefix())),
        fingerprint=row.fingerprint,
        talos_version=row.talos_version,
        join_token_id=row.agent.join_token_id,
    )
    row.machine = joining.establish(link, row.uuid)
    link.save()
    row.problem = ""
    row.save(update_fields=["machine", "problem"])
    # The same machine may be reached by other ways that waited for a person's decision as well.
    same = AgentTarget.objects.filter(uuid=row.uuid, fingerprint=row.fingerprint, api_mode="maintenance", machine=None)
    for agent_id in set(same.values_list("agent_id", flat=True)):
        changed("agent", agent_id, row.organisation_id)
    same.update(machine=row.machine, problem="")
    return link
