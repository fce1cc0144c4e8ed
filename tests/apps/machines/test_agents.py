"""Agents and what they reach, on the real database: who gets in, whose machine was found, what people may do."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import Denied
from apps.audit.models import AuditRecord
from apps.machines import actions, agents, targets
from apps.machines.agents import Enrolled
from apps.machines.models import Agent, AgentTarget, JoinToken, Link, Machine, MachineObservation, MachineStatus
from apps.machines.targets import Act, KnownMachine, Verdict, judge
from nodeagent.identity import Hardware
from nodeagent.ports import AgentHello, AgentRefused
from nodeagent.probe import Found
from tests.apps.machines.desk import OTHER_UUID, SOURCE, UUID, Desk

CREDENTIAL, OTHER = "c" * 43, "d" * 43
PRINT, OTHER_PRINT = "f" * 64, "e" * 64
NOBODY = Found(error="Connection refused")
FOUND = Found(True, "maintenance", hardware=Hardware(UUID, PRINT), version="v1.13.8")
TWIN = replace(FOUND, hardware=Hardware(UUID, OTHER_PRINT))


def hello(token: str | None, credential: str = CREDENTIAL, name: str = "rack-7", **what: Any) -> AgentHello:
    said = {"version": "1.0.0", "nodes": ("10.5.0.2",), "networks": ("10.6.0.0/24",), "source": SOURCE, **what}
    return AgentHello(name=name, credential=credential, token=token, **said)


def refused(said: AgentHello) -> str:
    with pytest.raises(AgentRefused) as refusal:
        agents.enrol(said)
    return f"{refusal.value.code} {refusal.value.text}"


# --- who gets in ----------------------------------------------------------------------------------------------------


def test_a_good_token_lets_an_agent_in_once_and_for_all(desk: Desk) -> None:
    first = agents.enrol(hello(desk.token))
    assert first.organisation_id == desk.organisation.id
    assert agents.enrol(hello(desk.token)) == agents.enrol(hello(None)) == first
    record = desk.ask(lambda: AuditRecord.objects.get(verb="agent.enrol"))
    assert (record.actor_kind, record.object_name, record.source) == ("agent", "rack-7", SOURCE)
    assert record.details == {"join_token": "default"}
    assert desk.token_row().last_used_at is not None
    assert desk.ask(Agent.objects.count) == 1


@pytest.mark.parametrize("token", [None, "", "unknown", "v2:nonsense"])
def test_without_a_good_token_nobody_enrols(desk: Desk, token: str | None) -> None:
    assert "PERMISSION_DENIED the join token is unknown" in refused(hello(token))
    assert desk.ask(Agent.objects.count) == 0


def test_expired_and_revoked_tokens_enrol_nobody(desk: Desk) -> None:
    past = timezone.now() - timedelta(seconds=1)
    for columns in ({"expires_at": past}, {"expires_at": None, "revoked_at": past}):
        desk.change_token("default", **columns)
        assert "PERMISSION_DENIED" in refused(hello(desk.token))


def test_expiry_lets_those_stay_who_are_in_and_revocation_does_not(desk: Desk) -> None:
    first = agents.enrol(hello(desk.token))
    known = [(first.organisation_id, first.id)]
    desk.change_token("default", expires_at=timezone.now() - timedelta(seconds=1))
    assert agents.enrol(hello(desk.token)) == first
    assert agents.not_welcome(known) == {}
    desk.change_token("default", revoked_at=timezone.now())
    assert "was revoked" in refused(hello(desk.token))
    assert "was revoked" in refused(hello(None))
    assert agents.not_welcome(known) == {first.id: agents.TOKEN_REVOKED}
    assert agents.enrol(hello(desk.new_token("fresh"))) == first
    assert agents.not_welcome(known) == {}


def test_a_name_belongs_to_one_agent(desk: Desk, other_desk: Desk) -> None:
    agents.enrol(hello(desk.token))
    text = refused(hello(desk.token, OTHER))
    assert "ALREADY_EXISTS" in text
    assert "--name" in text
    agents.enrol(hello(other_desk.token, "o" * 43))  # of another organisation
    second = agents.enrol(hello(desk.token, OTHER, "rack-8"))
    assert "ALREADY_EXISTS" in refused(hello(None, OTHER, "rack-7"))
    assert agents.enrol(hello(None, OTHER, "rack-9")) == second  # it was renamed
    assert desk.ask(lambda: sorted(Agent.objects.values_list("name", flat=True))) == ["rack-7", "rack-9"]


def test_a_token_of_another_organisation_moves_no_agent(desk: Desk, other_desk: Desk) -> None:
    first = agents.enrol(hello(desk.token))
    assert agents.enrol(hello(other_desk.token)) == first
    assert other_desk.ask(Agent.objects.count) == 0
    desk.change_token("default", revoked_at=timezone.now())
    assert "was revoked" in refused(hello(other_desk.token))


def test_a_removed_agent_is_told_so_and_frees_its_name(desk: Desk) -> None:
    first = agents.enrol(hello(desk.token))
    desk.ask(lambda: agents.remove(desk.owner, Agent.objects.get()))
    assert "this agent was removed" in refused(hello(desk.token))
    assert agents.not_welcome([(first.organisation_id, first.id)]) == {first.id: agents.REMOVED}
    assert agents.enrol(hello(desk.token, OTHER)) != first
    assert desk.ask(lambda: AuditRecord.objects.filter(verb="agent.remove").count()) == 1


# --- whose machine was found ----------------------------------------------------------------------------------------

BEHIND = KnownMachine(over_agent=True, fingerprint=PRINT, cluster="")
CONFIGURED = replace(BEHIND, cluster="c-1")
SECURE = replace(FOUND, mode="secure", authority="c-1")


@pytest.mark.parametrize(
    ("found", "known", "leads_to", "act", "words"),
    [
        (NOBODY, None, None, Act.KEEP, "It does not answer: Connection refused"),
        (NOBODY, BEHIND, UUID, Act.KEEP, "It does not answer"),
        (replace(FOUND, mode="foreign", error="x"), None, None, Act.KEEP, "a configuration that is not ours: x"),
        (replace(FOUND, hardware=Hardware("", PRINT)), None, None, Act.KEEP, "reports no UUID"),
        (replace(FOUND, hardware=Hardware("Not Specified", PRINT)), None, None, Act.KEEP, "reports no UUID"),
        (replace(FOUND, hardware=Hardware(UUID, "")), None, None, Act.KEEP, "neither a serial number"),
        (FOUND, None, None, Act.REGISTER, ""),
        (FOUND, None, OTHER_UUID, Act.KEEP, f"{UUID} answers here instead of {OTHER_UUID}"),
        (FOUND, BEHIND, None, Act.ATTACH, ""),
        (FOUND, BEHIND, OTHER_UUID, Act.ATTACH, ""),  # a known machine that moved
        (FOUND, CONFIGURED, UUID, Act.ATTACH, ""),  # it was reset
        (TWIN, BEHIND, None, Act.KEEP, "its hardware is not that of the known machine"),
        (TWIN, BEHIND, UUID, Act.KEEP, "its hardware is not that of the known machine"),
        (FOUND, replace(BEHIND, fingerprint=""), None, Act.KEEP, "its hardware is not"),
        (replace(FOUND, hardware=Hardware(UUID, "")), replace(BEHIND, fingerprint=""), None, Act.KEEP, "hardware"),
        (FOUND, replace(BEHIND, over_agent=False), None, Act.KEEP, "joined over SideroLink"),
        (SECURE, CONFIGURED, None, Act.ATTACH, ""),
        (replace(SECURE, hardware=TWIN.hardware), CONFIGURED, UUID, Act.ATTACH, ""),  # new parts
        (replace(SECURE, hardware=TWIN.hardware), CONFIGURED, None, Act.KEEP, "hardware is not that"),  # a liar
        (replace(SECURE, authority="c-2"), CONFIGURED, UUID, Act.KEEP, "the configuration of another cluster"),
        (SECURE, BEHIND, None, Act.KEEP, "the configuration of another cluster"),
        (SECURE, None, None, Act.KEEP, "no machine"),
    ],
)  # fmt: skip
def test_verdicts(found: Found, known: KnownMachine | None, leads_to: str | None, act: Act, words: str) -> None:
    verdict = judge(found, True, leads_to, known)
    assert verdict.act is act
    assert words in verdict.problem
    assert bool(words) == bool(verdict.problem)


def test_what_nobody_named_waits_for_a_person() -> None:
    assert judge(FOUND, False, None, None) == Verdict(Act.KEEP)


# --- storing --------------------------------------------------------------------------------------------------------


def enrolled(desk: Desk, name: str = "rack-7", credential: str = CREDENTIAL) -> Enrolled:
    return agents.enrol(hello(desk.token, credential, name))


def note(agent: Enrolled, found: Found = FOUND, address: str = "10.5.0.2", named: bool = True) -> AgentTarget:
    row = targets.note(agent.organisation_id, agent.id, address, named, found)
    assert row is not None
    return row


def test_a_named_machine_is_registered_with_all_its_rows(desk: Desk) -> None:
    row = note(enrolled(desk))
    link = desk.ask(lambda: Link.objects.get(machine_id=row.machine_id))
    assert (link.state, link.transport, link.public_key, link.fingerprint) == ("established", "agent", None, PRINT)
    assert desk.ask(MachineObservation.objects.count) == desk.ask(MachineStatus.objects.count) == 1
    again = note(enrolled(desk))
    assert (again.id, again.machine_id) == (row.id, row.machine_id)
    assert desk.machines() == [UUID]


def test_two_agents_reach_one_machine(desk: Desk) -> None:
    one, two = note(enrolled(desk)), note(enrolled(desk, "rack-8", OTHER), address="192.0.2.9", named=False)
    assert one.machine_id == two.machine_id
    assert desk.ask(Link.objects.count) == 1


def test_accepting_takes_the_machine_at_all_its_addresses(desk: Desk) -> None:
    one = note(enrolled(desk), named=False)
    two = note(enrolled(desk, "rack-8", OTHER), named=False)
    liar = note(enrolled(desk, "rack-9", "e" * 43), TWIN, "10.5.0.66", named=False)
    assert (one.machine_id, two.machine_id, liar.machine_id) == (None, None, None)
    desk.ask(lambda: agents.accept(desk.owner, AgentTarget.objects.get(id=one.id)))
    rows = desk.ask(lambda: {row.id: row.machine_id for row in AgentTarget.objects.all()})
    assert rows[one.id] == rows[two.id] is not None
    assert rows[liar.id] is None
    with pytest.raises(ValidationError, match="its hardware is not"):
        desk.ask(lambda: agents.accept(desk.owner, AgentTarget.objects.get(id=liar.id)))


def test_readers_accept_and_remove_nothing(desk: Desk) -> None:
    row = note(enrolled(desk), named=False)
    reader = Actor("user", "2", "reader@example.com", desk.organisation.id, "reader")
    with pytest.raises(Denied):
        desk.ask(lambda: agents.accept(reader, AgentTarget.objects.get(id=row.id)))
    with pytest.raises(Denied):
        desk.ask(lambda: agents.remove(reader, Agent.objects.get()))


def test_what_is_lost_stays_when_it_leads_somewhere(desk: Desk) -> None:
    agent = enrolled(desk)
    named = note(agent)
    note(agent, replace(FOUND, hardware=Hardware(OTHER_UUID, OTHER_PRINT)), "10.6.0.3", named=False)
    for address in ("10.5.0.2", "10.6.0.3", "10.6.0.4"):
        targets.note_lost(agent.organisation_id, agent.id, address, "no route to host")
    [left] = desk.ask(lambda: list(AgentTarget.objects.all()))
    assert (left.id, left.machine_id, left.api_mode) == (named.id, named.machine_id, "")
    assert left.problem == "It does not answer: no route to host"


def test_nothing_is_noted_of_a_removed_agent(desk: Desk) -> None:
    agent = enrolled(desk)
    desk.ask(lambda: agents.remove(desk.owner, Agent.objects.get()))
    assert targets.note(agent.organisation_id, agent.id, "10.5.0.2", True, FOUND) is None
    assert desk.machines() == []


def test_hosts_that_are_not_named_any_more_are_forgotten(desk: Desk) -> None:
    agent = enrolled(desk)
    note(agent)
    agents.note_connected(agent, hello(None, nodes=("10.5.0.3",)), "g1")
    assert desk.ask(lambda: list(AgentTarget.objects.values_list("address", flat=True))) == ["10.5.0.3"]
    assert desk.machines() == [UUID]


def test_a_machine_that_is_forgotten_leaves_its_targets(desk: Desk) -> None:
    agent = enrolled(desk)
    note(agent, named=False)
    desk.ask(lambda: agents.accept(desk.owner, AgentTarget.objects.get()))
    desk.ask(lambda: actions.remove_machine(desk.owner, Machine.objects.get()))
    row = note(agent, named=False)
    assert row.machine_id is None


# --- which gateway holds the link -----------------------------------------------------------------------------------


def test_one_gateway_holds_the_link(desk: Desk) -> None:
    machine_id = note(enrolled(desk)).machine_id
    organisation_id = desk.organisation.id
    assert machine_id is not None

    def hold(gateway: str, *running: str) -> bool:
        return agents.hold(organisation_id, machine_id, gateway, lambda name: name not in running) is not None

    assert hold("g1", "g2")
    assert not hold("g2", "g1")
    assert hold("g1", "g2")
    agents.release(organisation_id, machine_id, "g2")  # not its holder
    assert not hold("g2", "g1")
    agents.release(organisation_id, machine_id, "g1")
    assert hold("g2", "g1")
    assert hold("g1")  # g2 does not run any more
    [link] = agents.start("g1")
    assert not link.alive
    assert agents.start("g2") == []


def test_what_was_at_a_gateway_that_is_gone_is_shared(desk: Desk) -> None:
    agent = enrolled(desk)
    agents.note_connected(agent, hello(None), "g1")
    machine_id = note(agent).machine_id
    assert machine_id is not None
    assert agents.hold(desk.organisation.id, machine_id, "g1", lambda name: True)
    assert agents.inherit("g2", lambda name: False, lambda link_id: "g2") == []
    assert agents.inherit("g3", lambda name: True, lambda link_id: "g2") == []
    [link] = agents.inherit("g2", lambda name: name != "g2", lambda link_id: "g2")
    assert (link.gateway, link.alive) == ("g2", False)
    observed = desk.ask(lambda: Agent.objects.get().observation)
    assert (observed.connected, observed.problem) == (False, "gateway g1 stopped")


# --- a machine that calls by SideroLink -----------------------------------------------------------------------------


def call(desk: Desk, fingerprint: str) -> Link:
    """A machine of the known UUID calls with a join token and goes all the way."""
    pending = desk.provision()
    desk.ask(lambda: Link.objects.filter(id=pending.id).update(fingerprint=fingerprint))
    return desk.provision(unique=desk.adopt(pending))


def test_a_free_machine_moves_to_siderolink(desk: Desk) -> None:
    row = note(enrolled(desk))
    link = call(desk, PRINT)
    assert (link.machine_id, link.transport, link.state) == (row.machine_id, "udp", "established")
    assert desk.ask(Link.objects.count) == 1
    after = note(enrolled(desk))
    assert after.machine_id is None
    assert "joined over SideroLink" in after.problem


def test_other_hardware_takes_no_place_by_siderolink(desk: Desk) -> None:
    row = note(enrolled(desk))
    link = call(desk, OTHER_PRINT)
    assert (link.machine_id, link.conflict) == (None, True)  # it is being given another UUID
    assert desk.ask(lambda: Link.objects.get(machine_id=row.machine_id)).transport == "agent"


def test_an_installed_machine_stays_with_its_agent(desk: Desk) -> None:
    row = note(enrolled(desk))
    desk.ask(lambda: MachineObservation.objects.update(installed=True))
    pending = desk.provision()
    desk.ask(lambda: Link.objects.filter(id=pending.id).update(fingerprint=PRINT))
    code, text = desk.refused(unique=desk.adopt(pending))
    assert (code, "reset it" in text) == ("FAILED_PRECONDITION", True)
    assert desk.ask(lambda: Link.objects.get(machine_id=row.machine_id)).transport == "agent"


def test_tokens_that_brought_agents_are_not_counted_as_machines(desk: Desk) -> None:
    enrolled(desk)
    assert desk.ask(JoinToken.objects.get).use_count == 0
