"""An agent that says a lot costs itself: what it says is noted once, and organisations take turns."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from apps.gateways import agents as module
from apps.gateways.agents import Agents
from apps.gateways.roster import Roster
from apps.machines.agents import Enrolled
from nodeagent.ports import AgentHello
from nodeagent.probe import Found

ADDRESS = "10.0.0.1"


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Whatever is noted of agents is stored once this is set."""
    free = asyncio.Event()

    async def in_thread(work: Callable[[], Any]) -> Any:
        result = work()
        if not isinstance(result, Enrolled):
            await free.wait()
        return result

    monkeypatch.setattr(module, "in_thread", in_thread)
    monkeypatch.setattr(module.agents, "enrol", lambda hello: Enrolled(UUID(hello.version), UUID(hello.name)))
    for name in ("note_connected", "note_disconnected"):
        monkeypatch.setattr(module.agents, name, lambda *said: None)
    monkeypatch.setattr(module.agents, "not_welcome", lambda known: {})
    return free


async def connected(registry: Agents, number: int) -> str:
    """An agent of an organisation, both of this number, whose connection is about to be noted."""
    hello = AgentHello(str(UUID(int=number)), "", None, str(UUID(int=number)), (), ("10.0.0.0/24",), "")
    agent_id = await registry.enrol(hello)
    registry.connected(agent_id, hello)
    return agent_id


def registry() -> Agents:
    async def authorities(_: UUID) -> dict[str, Any]:
        return {}

    return Agents(Roster("gateway-1", ""), authorities, lambda row: None)


async def test_what_is_said_again_and_again_is_noted_once(free: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []
    done = asyncio.Event()

    def note_lost(organisation_id: UUID, agent_id: UUID, address: str, reason: str) -> None:
        noted.append(f"{address} {reason}")
        done.set()

    monkeypatch.setattr(module.targets, "note_lost", note_lost)
    agents = registry()
    agent_id = await connected(agents, 1)
    for number in range(1000):
        agents.lost(agent_id, ADDRESS, f"reason {number}")
    free.set()
    await asyncio.wait_for(done.wait(), 5)
    await agents.close()
    assert noted == [f"{ADDRESS} reason 999"]


async def test_an_agent_that_comes_again_waits_until_all_is_noted(free: asyncio.Event) -> None:
    agents = registry()
    await connected(agents, 1)
    again = asyncio.create_task(connected(agents, 1))
    await asyncio.wait_for(connected(agents, 2), 5)  # which holds up nobody else
    assert not again.done()
    free.set()
    await asyncio.wait_for(again, 5)
    await agents.close()


async def test_organisations_take_turns_at_being_looked_at(
    free: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    done = asyncio.Event()

    async def probe(connect: object, authorities: object, address: str) -> Found:
        looked.append(address)
        await asyncio.sleep(0)
        if len(looked) == 4:
            done.set()
        return Found()

    monkeypatch.setattr(module, "probe", probe)
    monkeypatch.setattr(module, "AT_ONCE", 1)
    monkeypatch.setattr(module.targets, "note", lambda *said: None)
    agents = registry()
    many, one = await connected(agents, 1), await connected(agents, 2)
    for number in range(3):
        agents.found(many, f"10.0.1.{number}")
    agents.found(one, "10.0.2.0")
    free.set()
    await asyncio.wait_for(done.wait(), 5)
    await agents.close()
    assert "10.0.2.0" in looked[:3]


async def test_what_was_lost_meanwhile_is_not_looked_at(free: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    async def probe(connect: object, authorities: object, address: str) -> Found:
        looked.append(address)
        return Found()

    monkeypatch.setattr(module, "probe", probe)
    monkeypatch.setattr(module.targets, "note", lambda *said: None)
    monkeypatch.setattr(module.targets, "note_lost", lambda *said: None)
    agents = registry()
    agent_id = await connected(agents, 1)
    for _ in range(100):
        agents.found(agent_id, ADDRESS)
        agents.lost(agent_id, ADDRESS, "gone")
    agents.found(agent_id, ADDRESS)
    free.set()
    await agents.close()
    assert looked == [ADDRESS]
