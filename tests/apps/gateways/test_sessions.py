"""One machine's session: when it tries, what it says of failures, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from apps.gateways import sessions as module
from apps.gateways.directory import Directory, Known
from apps.gateways.sessions import Sessions
from nodeagent import errors
from nodeagent.ports import Link
from nodeagent.tls import Credentials

UUID_TEXT = "8a4f3e34-58a6-4a1a-9bb0-44b2b3a3b8a1"
PENDING = Known(Link(str(UUID(int=1)), "key", "fdae::1", None, None, True), UUID(int=2), None, UUID_TEXT)
REGISTERED = Known(Link(str(UUID(int=1)), "key", "fdae::1", None, None, False), UUID(int=2), UUID(int=3), UUID_TEXT)


def gone(kind: type[errors.NodeError] = errors.Unreachable, detail: str = "gone") -> errors.NodeError:
    return kind("m1", "watching", grpc.StatusCode.UNAVAILABLE, detail)


@dataclass
class Machine:
    """What answers, and what the gateway notes of it."""

    says: str = UUID_TEXT
    follows: Callable[[Callable[[dict[str, Any]], None]], Any] | None = None
    trusts: Callable[[Credentials | None], bool] = lambda credentials: credentials is None
    credentials: Any = None
    attempts: "asyncio.Queue[Credentials | None]" = field(default_factory=asyncio.Queue)
    observed: dict[str, Any] = field(default_factory=dict)
    answered: list[Known] = field(default_factory=list)
    adopted: list[Any] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def observe(self, known: Known, fields: dict[str, Any]) -> None:
        self.observed |= fields

    async def credentials_of(self, organisation_id: UUID, machine_id: UUID) -> Any:
        if isinstance(self.credentials, Exception):
            raise self.credentials
        return self.credentials

    async def follow(self, client: "FakeClient", told: Callable[[dict[str, Any]], None]) -> None:
        told({"stage": "running"})
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


@dataclass
class FakeClient:
    machine: Machine
    credentials: Credentials | None

    async def __aenter__(self) -> "FakeClient":
        self.machine.attempts.put_nowait(self.credentials)
        if not self.machine.trusts(self.credentials):
            raise gone(errors.WrongTrust)
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def connect(self) -> None:
        pass

    async def identity(self) -> str:
        return self.machine.says

    async def version(self) -> Any:
        return type("Version", (), {"tag": "v1.13.8", "arch": "amd64"})

    async def boot_id(self) -> str:
        raise gone(errors.Unsupported)


@dataclass
class Bench:
    machine: Machine
    directory: Directory
    sessions: Sessions

    def start(self, known: Known = REGISTERED) -> None:
        self.directory.put(known)
        self.sessions.start(known.link.id)

    async def attempt(self) -> Any:
        return await asyncio.wait_for(self.machine.attempts.get(), 5)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(module, "FIRST_RETRY", 0.01)
    machine, directory = Machine(), Directory()
    monkeypatch.setattr(module, "NodeClient", lambda dial, credentials, name: FakeClient(machine, credentials))
    monkeypatch.setattr(module, "follow", lambda client, told: machine.follow(client, told))

    async def adopt(client: FakeClient, choose: Any) -> None:
        machine.adopted.append(client)

    monkeypatch.setattr(module, "adopt", adopt)
    made = Sessions(
        None,  # type: ignore[arg-type]
        directory,
        machine,  # type: ignore[arg-type]
        machine.credentials_of,
        machine.answered.append,
        lambda known: None,
    )
    yield Bench(machine, directory, made)
    await made.close()


async def settle() -> None:
    """Let the session come to rest."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_machine_in_maintenance_mode_is_followed(bench: Bench) -> None:
    bench.start()
    assert await bench.attempt() is None
    await settle()
    told = bench.machine.observed
    assert (told["reachable"], told["error"], told["api_mode"]) == (True, "", "maintenance")
    assert (told["talos_version"], told["arch"], told["boot_id"], told["stage"]) == ("v1.13.8", "amd64", "", "running")
    assert bench.machine.answered == [REGISTERED]


async def test_machines_are_read_by_turns(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sessions.turns = asyncio.Semaphore(1)
    may_tell = asyncio.Event()

    async def follow(client: FakeClient, told: Callable[[dict[str, Any]], None]) -> None:
        await may_tell.wait()
        told({"stage": "running"})
        told({"stage": "running"})  # a turn ends once
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "follow", follow)
    link = replace(REGISTERED.link, id=str(uuid4()), public_key="other", address="fdae::2")
    other = replace(REGISTERED, link=link, machine_id=uuid4())
    bench.start()
    bench.start(other)
    await bench.attempt()
    await bench.attempt()
    await settle()
    assert bench.machine.answered == [REGISTERED]
    may_tell.set()
    await settle()
    assert bench.machine.answered == [REGISTERED, other]
    await settle()
    assert not bench.sessions.turns.locked()


async def test_one_that_does_not_answer_has_no_turn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sessions.turns = asyncio.Semaphore(1)
    connecting = asyncio.Event()

    async def never(client: FakeClient) -> None:
        connecting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(FakeClient, "connect", never)
    bench.start()
    await connecting.wait()
    assert not bench.sessions.turns.locked()


async def test_the_clusters_credentials_come_first(bench: Bench) -> None:
    bench.machine.credentials = "ours"
    bench.start()
    assert [await bench.attempt(), await bench.attempt()] == ["ours", None]  # not configured yet
    await settle()
    assert bench.machine.observed["api_mode"] == "maintenance"
    bench.machine.trusts = lambda credentials: credentials is not None
    bench.sessions.silent(REGISTERED.link.id)
    assert await bench.attempt() == "ours"
    await settle()
    assert bench.machine.observed["api_mode"] == "secure"


async def test_a_machine_configured_elsewhere_is_said_to_be(bench: Bench) -> None:
    bench.machine.trusts = lambda credentials: False
    bench.start()
    await bench.attempt()
    await bench.attempt()
    assert bench.machine.observed["reachable"] is False
    assert "refused by TLS" in bench.machine.observed["error"]


async def test_a_pending_machine_is_adopted_and_followed_once_registered(bench: Bench) -> None:
    bench.start(PENDING)
    await bench.attempt()
    await settle()
    assert len(bench.machine.adopted) == 1
    assert bench.machine.observed == {}
    bench.start(REGISTERED)  # it called with its token
    await bench.attempt()
    await settle()
    assert bench.machine.observed["stage"] == "running"


async def test_another_machine_at_its_address_is_not_followed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.machine.says = "11111111-2222-4333-8444-555555555555"
    bench.start()
    await bench.attempt()
    await bench.attempt()
    assert bench.machine.observed == {
        "reachable": False,
        "error": f"the machine that answers says it is {bench.machine.says}, not {UUID_TEXT}",
    }
    assert bench.machine.answered == []


async def test_pauses_grow_until_the_machine_speaks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    timeout = asyncio.timeout

    def recording(seconds: float | None) -> Any:
        if seconds is not None:
            pauses.append(seconds)
        return timeout(0 if seconds else None)

    monkeypatch.setattr(module.asyncio, "timeout", recording)
    bench.machine.trusts = lambda credentials: False
    bench.start()
    while len(pauses) < 14:
        await asyncio.sleep(0)
    assert pauses[:4] == [0.01, 0.02, 0.04, 0.08]
    assert pauses[12:14] == [module.LONGEST_RETRY] * 2
    bench.sessions.poke(REGISTERED.link.id)
    bench.machine.trusts = lambda credentials: True
    await bench.machine.attempts.get()
    monkeypatch.undo()


async def test_when_the_link_falls_silent_the_connection_is_given_up(bench: Bench) -> None:
    """Otherwise a machine that comes back would be connected, and never reachable again."""
    bench.start()
    await bench.attempt()
    await settle()
    bench.sessions.silent(REGISTERED.link.id)
    await asyncio.wait_for(bench.machine.ended.wait(), 5)
    await settle()
    assert bench.machine.observed["error"] == "the link is silent"
    assert await bench.attempt() is None
    await settle()
    assert (bench.machine.observed["reachable"], bench.machine.observed["error"]) == (True, "")


async def test_an_error_that_nobody_foresaw_does_not_end_a_session(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench.machine.credentials = RuntimeError("the database is away")
    bench.start()
    await settle()
    assert "failed" in caplog.text
    bench.machine.credentials = None
    bench.sessions.poke(REGISTERED.link.id)
    assert await bench.attempt() is None


async def test_a_link_that_is_gone_ends_its_session(bench: Bench) -> None:
    bench.start()
    await bench.attempt()
    await settle()
    bench.directory.drop(REGISTERED.link.id)
    bench.sessions.stop(REGISTERED.link.id)
    await asyncio.wait_for(bench.machine.ended.wait(), 5)
    for call in (bench.sessions.poke, bench.sessions.silent, bench.sessions.stop):
        call(REGISTERED.link.id)  # of a link without a session: nothing


async def test_closing_ends_all_and_waits_for_it(bench: Bench) -> None:
    bench.start()
    await bench.attempt()
    await settle()
    await bench.sessions.close()
    assert bench.machine.ended.is_set()
