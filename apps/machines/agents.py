"""Agents: who may connect, what they reach, and what is noted of both.

The gateway calls this from threads, one short transaction a call; actions of people are at the end.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import check
from apps.audit.actions import record
from apps.machines import holders, joining, targets
from apps.machines.models import Agent, AgentObservation, AgentTarget, JoinToken, Link, Machine
from apps.reconcile.outbox import changed
from apps.tenants import lookups
from apps.tenants.scope import tenant_scope
from nodeagent.ports import AgentHello, AgentRefused

AGENT_REMOVED = "agent-removed"
"""Kind of the change that tells the gateway to turn an agent away."""

NO_TOKEN = "the join token is unknown, revoked or expired; give the agent a valid one with --token"  # noqa: S105
TOKEN_REVOKED = "the join token of this agent was revoked; give it a valid one with --token"  # noqa: S105
REMOVED = "this agent was removed; to enrol it as a new one delete its state folder first"


@dataclass(frozen=True)
class Enrolled:
    """An agent that is let in."""

    id: UUID
    organisation_id: UUID


# --- letting agents in ------------------------------------------------------------------------------------------------


def enrol(hello: AgentHello) -> Enrolled:
    """The agent of this credential, or a new one if its join token is good. Raises `AgentRefused`.

    An enrolled agent needs no token again, but the one that it came with must not be revoked; another good token of the
    same organisation replaces that one. Expiry ends enrolling only: who is in stays in.
    """
    digest = joining.token_hash(hello.credential)
    token = _good_token(hello.token) if hello.token else None
    held = lookups.agent(digest)
    if held is not None:
        with tenant_scope(held[0]):
            return _known(held[1], hello, token[1] if token and token[0] == held[0] else None)
    if token is None:
        raise AgentRefused("PERMISSION_DENIED", NO_TOKEN)
    try:
        with tenant_scope(token[0]):
            return _new(hello, digest, token[1])
    except IntegrityError:  # the same agent, or another of its name, at the same moment
        raise AgentRefused("ABORTED", f"another agent named {hello.name} enrolled at the same moment") from None


def _good_token(text: str) -> tuple[UUID, UUID] | None:
    try:
        return joining.active_join_token(text)
    except ValueError:
        return None


def _known(agent_id: UUID, hello: AgentHello, token_id: UUID | None) -> Enrolled:
    agent = Agent.objects.select_for_update(of=("self",)).select_related("join_token").get(id=agent_id)
    if agent.removed_at is not None:
        raise AgentRefused("PERMISSION_DENIED", REMOVED)
    if token_id is not None:
        agent.join_token_id = token_id
    elif agent.join_token is None or agent.join_token.revoked_at is not None:
        raise AgentRefused("PERMISSION_DENIED", TOKEN_REVOKED)
    if agent.name != hello.name:
        _require_free(hello.name)
        agent.name = hello.name
    agent.save()
    return Enrolled(agent.id, agent.organisation_id)


def _new(hello: AgentHello, digest: bytes, token_id: UUID) -> Enrolled:
    _require_free(hello.name)
    agent = Agent.new(name=hello.name, credential_hash=digest, join_token_id=token_id)
    AgentObservation.new(agent=agent)
    token = JoinToken.objects.get(id=token_id)
    token.last_used_at = timezone.now()
    token.save(update_fields=["last_used_at"])
    actor = Actor("agent", str(agent.id), agent.name, agent.organisation_id, source=hello.source)
    record(actor, "agent.enrol", "agent", agent.id, agent.name, join_token=token.name)
    changed("agent", agent.id, agent.organisation_id)
    changed("join-token", token_id, agent.organisation_id)
    return Enrolled(agent.id, agent.organisation_id)


def _require_free(name: str) -> None:
    if Agent.objects.filter(name=name, removed_at=None).exists():
        raise AgentRefused(
            "ALREADY_EXISTS",
            f"another agent is named {name}; choose another name with --name, or remove that agent first",
        )


def not_welcome(agents: Iterable[tuple[UUID, UUID]]) -> dict[UUID, str]:
    """Those of (organisation, agent) that may not be connected any more, each with the reason; a query for each
    organisation."""
    asked: defaultdict[UUID, list[UUID]] = defaultdict(list)
    for organisation_id, agent_id in agents:
        asked[organisation_id].append(agent_id)
    reasons: dict[UUID, str] = {}
    for organisation_id, ids in asked.items():
        with tenant_scope(organisation_id):
            known = Agent.objects.select_related("join_token").in_bulk(ids)
        for agent_id in ids:
            agent = known.get(agent_id)
            if agent is None or agent.removed_at is not None:
                reasons[agent_id] = REMOVED
            elif agent.join_token is None or agent.join_token.revoked_at is not None:
                reasons[agent_id] = TOKEN_REVOKED
    return reasons


# --- what is seen of them ---------------------------------------------------------------------------------------------


def note_connected(agent: Enrolled, hello: AgentHello, gateway: str) -> None:
    """The agent's stream is open at a gateway. Hosts that its operator does not name any more are forgotten."""
    with tenant_scope(agent.organisation_id):
        AgentObservation.objects.filter(agent_id=agent.id).update(
            connected=True, connected_changed_at=timezone.now(), gateway=gateway, source=hello.source[:64],
            version=hello.version, nodes=list(hello.nodes), networks=list(hello.networks), problem="",
        )  # fmt: skip
        AgentTarget.objects.filter(agent_id=agent.id, named=True).exclude(address__in=hello.nodes).delete()
        for address in hello.nodes:
            targets.ensure(agent.id, address, named=True)
        changed("agent", agent.id, agent.organisation_id)


def note_disconnected(agent: Enrolled, gateway: str, reason: str) -> None:
    """The agent's stream on this gateway ended."""
    with tenant_scope(agent.organisation_id):
        updated = AgentObservation.objects.filter(agent_id=agent.id, gateway=gateway, connected=True).update(
            connected=False, connected_changed_at=timezone.now(), problem=reason
        )
        if updated:
            changed("agent", agent.id, agent.organisation_id)


def start(gateway: str) -> list[Link]:
    """A gateway starts: no agent is connected to it yet, whatever was noted before. The agent links it held last."""
    links: list[Link] = []
    for organisation_id in lookups.organisations():
        with tenant_scope(organisation_id):
            rows = AgentObservation.objects.filter(gateway=gateway, connected=True)
            stale = list(rows.values_list("agent_id", flat=True))
            rows.update(connected=False, connected_changed_at=timezone.now(), problem="the server was restarted")
            for agent_id in stale:
                changed("agent", agent_id, organisation_id)
            held = Link.objects.filter(transport=Link.AGENT, gateway=gateway)
            held.update(alive=False)
            links += held.all()
    return links


def inherit(gateway: str, gone: Callable[[str], bool], heir: Callable[[str], str]) -> list[Link]:
    """Take over what was at gateways that are gone for certain: their agents are away, and this gateway's share of
    their agent links is held here until somebody reaches the machines. The links."""
    links: list[Link] = []
    for organisation_id in lookups.organisations():
        with tenant_scope(organisation_id):
            for observed in AgentObservation.objects.filter(connected=True):
                if gone(observed.gateway):
                    observed.connected, observed.connected_changed_at = False, timezone.now()
                    observed.problem = f"gateway {observed.gateway} stopped"
                    observed.save(update_fields=["connected", "connected_changed_at", "problem"])
                    changed("agent", observed.agent_id, organisation_id)
            for link in Link.objects.select_for_update().filter(transport=Link.AGENT).exclude(gateway=gateway):
                if gone(link.gateway) and heir(str(link.id)) == gateway:
                    link.gateway, link.alive = gateway, False
                    link.save(update_fields=["gateway", "alive"])
                    holders.tell(link.id, organisation_id, gateway)
                    links.append(link)
    return links


def hold(organisation_id: UUID, machine_id: UUID, gateway: str, gone: Callable[[str], bool]) -> Link | None:
    """Hold the agent link of a machine at a gateway that reaches it; None while another one holds it that is not gone
    for certain."""
    with tenant_scope(organisation_id):
        link = Link.objects.select_for_update().filter(machine_id=machine_id, transport=Link.AGENT).first()
        if link is None or (link.gateway != gateway and link.alive and not gone(link.gateway)):
            return None
        if (link.gateway, link.alive) != (gateway, True):
            link.gateway, link.alive = gateway, True
            link.save(update_fields=["gateway", "alive"])
            holders.tell(link.id, organisation_id, gateway)
        return link


def release(organisation_id: UUID, machine_id: UUID, gateway: str) -> None:
    """No agent at this gateway reaches the machine any more: one that does may hold its link."""
    with tenant_scope(organisation_id):
        link = Link.objects.select_for_update().filter(machine_id=machine_id, transport=Link.AGENT).first()
        if link is not None and link.gateway == gateway and link.alive:
            link.alive = False
            link.save(update_fields=["alive"])
            holders.tell(link.id, organisation_id, gateway)


# --- what people do ---------------------------------------------------------------------------------------------------


def accept(actor: Actor, target: AgentTarget) -> Machine:
    """Make what was found at an address a machine of the organisation. Raises ValidationError."""
    check(actor, "agent.accept", target.address)
    obstacle = targets.obstacle(target)
    if obstacle:
        raise ValidationError(f"{target.address} cannot be accepted: {obstacle}")
    link = targets.register(target)
    assert link.machine is not None
    record(
        actor, "machine.join", "machine", link.machine.id, link.machine.uuid,
        agent=target.agent.name, address=target.address,
    )  # fmt: skip
    changed("agent", target.agent_id, actor.organisation_id)
    changed("machine", link.machine.id, actor.organisation_id)
    return link.machine


def remove(actor: Actor, agent: Agent) -> None:
    """Turn an agent away for good. Machines that it reached stay, without a link unless another agent reaches them."""
    check(actor, "agent.remove", agent.name)
    agent.removed_at = timezone.now()
    agent.save(update_fields=["removed_at"])
    AgentTarget.objects.filter(agent=agent).delete()
    record(actor, "agent.remove", "agent", agent.id, agent.name)
    changed(AGENT_REMOVED, agent.id, actor.organisation_id)
    changed("agent", agent.id, actor.organisation_id)
