"""The agent as a program: comes again, keeps its identity, waits when it is refused, stops when it is told."""

import asyncio
import json
import logging
from pathlib import Path

import pytest

from nodeagent import agent
from nodeagent.ports import AgentRefused
from nodeagent.tunnel import session
from nodeagent.tunnel.lookout import Lookout
from nodeagent.tunnel.protocol import API_PORT, Scope
from nodeagent.tunnel.reach import Address, Trust, Way
from talos.gen.omni.agent_pb2 import Hello, Open, ToAgent
from tests.nodeagent.tunnel.lab import PATIENCE, TOKEN, echo, lab, machine, new_host


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(agent, "LONGEST_PAUSE", 0.1)


async def test_what_it_says_of_itself_and_offers() -> None:
    dead = new_host()
    async with lab() as one, machine(echo) as host, one.serving():
        async with one.agent(one.options(host, dead, scan=("127.80.0.0/30",))):
            await one.registry.hears("found", "a-1", host)
            assert (await one.registry.hears("lost", "a-1", dead))[3] == "port 50000: connection refused"
        said = one.registry.hellos[0]
        assert (said.name, said.token, said.version, said.source) == ("rack-7", TOKEN, "0.0.0-test", "127.0.0.1")
        assert said.nodes == (host, dead)
        assert said.networks == ("127.80.0.0/30",)
        assert said.credential not in repr(said)
        assert TOKEN not in repr(said)


async def test_it_comes_back_to_a_server_that_was_started_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with lab() as one, machine(echo) as host, one.agent(one.options(host)):
        for times in (1, 2, 3):
            async with one.serving():
                await one.registry.hears("found", "a-1", host, times=times)
                reader, writer = await one.agents.dial("a-1", host, API_PORT)
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
            await one.registry.hears("disconnected", "a-1", "the server is stopping", times=times)
    assert len({hello.credential for hello in one.registry.hellos}) == 1
    assert "was lost: the server is stopping; trying again in" in caplog.text
    assert "cannot be reached: Connection refused; trying again in" in caplog.text


async def test_it_needs_its_token_once() -> None:
    async with lab() as one, one.serving():
        async with one.agent(one.options("10.0.0.1")):
            await one.registry.hears("connected", "a-1")
        async with one.agent(one.options("10.0.0.1", token="")):
            await one.registry.hears("connected", "a-1", times=2)
        assert [hello.token for hello in one.registry.hellos] == [TOKEN, None]


async def test_stopping_is_told_to_the_server() -> None:
    async with lab() as one, machine(echo) as host, one.serving():
        async with one.agent(one.options(host)):
            await one.registry.hears("connected")
            reader, _writer = await one.agents.dial("a-1", host, API_PORT)
        assert await one.registry.hears("disconnected") == ("disconnected", "a-1", "it was stopped")
        with pytest.raises(ConnectionAbortedError, match="agent 'rack-7': it was stopped"):
            await reader.read()


async def test_stopping_while_nothing_answers() -> None:
    async with lab() as one, one.agent(one.options("10.0.0.1")) as stop:
        await asyncio.sleep(0.1)
        stop.set()


async def test_a_refusal_is_shown_and_not_repeated_soon(caplog: pytest.LogCaptureFixture) -> None:
    text = "the join token was revoked; make another with omni jointokens create"
    async with lab() as one, one.serving():
        one.registry.refusal = AgentRefused("UNAUTHENTICATED", text)
        async with one.agent(one.options("10.0.0.1")):
            await one.registry.until(lambda: bool(one.registry.hellos))
            await asyncio.sleep(0.3)  # many of the pauses that it makes when a server is merely away
        assert len(one.registry.hellos) == 1
    assert f"refuses this agent: {text}; trying again in 60 s" in caplog.text
    assert TOKEN not in caplog.text


async def test_let_in_once_the_refusal_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "REFUSED_PAUSE", 0.05)
    async with lab() as one, one.serving():
        one.registry.refusal = AgentRefused("ALREADY_EXISTS", "the name is taken")
        async with one.agent(one.options("10.0.0.1")):
            await one.registry.until(lambda: len(one.registry.hellos) >= 3)
            one.registry.refusal = None
            await one.registry.hears("connected", "a-1")


async def test_an_agent_turned_away_shows_why(caplog: pytest.LogCaptureFixture) -> None:
    async with lab() as one, one.serving(), one.agent(one.options("10.0.0.1")):
        await one.registry.hears("connected")
        one.agents.drop("a-1", "an owner removed this agent")
        async with asyncio.timeout(PATIENCE):
            while "refuses this agent: an owner removed this agent; trying again in 60 s" not in caplog.text:
                await asyncio.sleep(0.01)
        assert len(one.registry.hellos) == 1


async def test_a_server_that_fell_silent_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with lab(heartbeat=0.1) as one, one.serving():
        await_orders = asyncio.Event()

        async def no_orders(session: object) -> ToAgent:
            await await_orders.wait()
            raise AssertionError

        async with one.agent(one.options(new_host())):
            await one.registry.hears("lost")  # it was welcomed
            monkeypatch.setattr("nodeagent.tunnel.server._Session.orders", no_orders)
            await one.registry.hears("disconnected")
            monkeypatch.undo()
            await one.registry.hears("connected", times=2)
    assert "was lost: nothing was heard of it for 0.3 s" in caplog.text


async def test_agents_are_heard_while_they_have_nothing_to_say() -> None:
    async with lab(heartbeat=0.25) as one, one.serving(), one.agent(one.options("10.0.0.1")):
        await one.registry.hears("connected")
        await asyncio.sleep(1)  # more than three heartbeats
        assert one.agents.is_connected("a-1")
        assert len(one.registry.hellos) == 1


async def test_over_plain_http_on_loopback() -> None:
    async with lab() as one, one.serving(), one.agent(one.options("10.0.0.1", url=f"http://127.0.0.1:{one.port}")):
        await one.registry.hears("connected")


async def test_many_machines_behind_one_agent() -> None:
    async with (
        lab() as one,
        machine(echo, "127.81.0.5") as first,
        machine(echo, "127.81.0.9") as second,
        one.serving(),
        one.agent(one.options(scan=("127.81.0.0/28",))),
    ):
        for host in (first, second):
            await one.registry.hears("found", "a-1", host)
            reader, writer = await one.agents.dial("a-1", host, API_PORT)
            writer.write(host.encode())
            assert (await reader.read(100)).decode() == host
            writer.close()


async def test_machines_of_a_dead_agent_keep_nothing_open() -> None:
    """The machine's side of a connection ends when the server is gone."""
    ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(100):
                writer.write(b"x")
        finally:
            ended.set()

    async with lab() as one, machine(listen) as host, one.agent(one.options(host)):
        async with one.serving():
            await one.registry.hears("connected")
            reader, writer = await one.agents.dial("a-1", host, API_PORT)
            writer.write(b"x")
            await reader.readexactly(1)
        await asyncio.wait_for(ended.wait(), PATIENCE)


SERVER = Address("omni.example.com", 443, True)


def test_the_credential_is_private_and_stays(tmp_path: Path) -> None:
    with agent.credential(tmp_path / "state", SERVER) as first:
        pass
    file = tmp_path / "state" / "credentials.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    with agent.credential(tmp_path / "state", SERVER) as again:
        assert again == first
    assert json.loads(file.read_text()) == {"https://omni.example.com:443": first}


def test_each_server_has_a_credential_of_its_own(tmp_path: Path) -> None:
    with agent.credential(tmp_path, SERVER) as one:
        pass
    with agent.credential(tmp_path, Address("other.example.com", 443, True)) as other:
        assert one != other


def test_two_agents_do_not_share_a_state(tmp_path: Path) -> None:
    with agent.credential(tmp_path, SERVER):  # noqa: SIM117
        with pytest.raises(agent.StateError, match="another agent runs"), agent.credential(tmp_path, SERVER):
            pass


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_state_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials.json").write_text(text)
    with pytest.raises(agent.StateError, match=r"credentials.json cannot be read"), agent.credential(tmp_path, SERVER):
        pass


def test_a_state_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(agent.StateError, match="cannot keep the agent's state"),
        agent.credential(tmp_path / "file" / "state", SERVER),
    ):
        pass


def test_a_kill_while_it_is_written_leaves_no_half_credential(tmp_path: Path) -> None:
    (tmp_path / ".credentials.json.new").write_text('{"https')
    with agent.credential(tmp_path, SERVER) as first:
        pass
    with agent.credential(tmp_path, SERVER) as again:
        assert again == first


@pytest.mark.parametrize("failures", [1, 2, 5, 1000])
def test_pauses_grow_and_end(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(agent, "LONGEST_PAUSE", 30.0)
    longest = min(2.0 ** (failures - 1), 30.0)
    assert all(longest / 2 <= agent._backoff(failures) <= longest for _ in range(50))


async def test_a_connection_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever repeats an id gets no connections past the limit, and none that outlives the session."""
    made: list[str] = []

    async def connect(host: str, port: int, limit: int) -> None:
        made.append(host)
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", connect)
    scope = Scope(["10.0.0.1"], [])
    one = session.Session(Way(Address.parse("grpc://127.0.0.1:1"), Trust()), Hello(), scope, Lookout(scope))
    order = Open(connection=b"c" * 16, address="10.0.0.1", port=API_PORT)
    one._open(order)
    one._open(order)
    await asyncio.sleep(0)
    (refusal,) = one._messages
    assert refusal.refused.reason == "it was asked for this connection before"
    assert made == ["10.0.0.1"]
    for task in one._carrying.values():
        task.cancel()
