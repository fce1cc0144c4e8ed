"""Which links count as alive, what a restart needs, and what is dropped."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError

from apps.gateways import monitor as module
from apps.gateways.directory import Directory, Known
from apps.gateways.monitor import GRACE, HANDSHAKE_AGE, SILENCE, Monitor
from apps.machines import joining
from nodeagent.ports import Link
from nodeagent.wireguard.engine import Endpoint, PeerState

KEY = b"k" * 32
ENDPOINT = ("192.0.2.7", 50180)


@dataclass
class Bench:
    """A monitor on an engine, agents, a batcher, a clock and a database that are none."""

    name = "made up"
    monkeypatch: pytest.MonkeyPatch
    now: float = 1_000_000.0
    step: float = 0.0  # by which the wall clock was set
    received: int = 0
    handshake: float | None = None
    endpoint: Endpoint | None = ENDPOINT
    linked: bool = True
    observed: dict[str, Any] = field(default_factory=dict)
    heard: list[tuple[str, str]] = field(default_factory=list)
    stored: list[Any] = field(default_factory=list)
    stale: list[Any] = field(default_factory=list)
    claimed: list[float] = field(default_factory=list)
    broken: bool = False

    def __post_init__(self) -> None:
        self.monkeypatch.setattr(time, "time", lambda: self.now + self.step)
        self.monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.monkeypatch.setattr(module, "in_thread", self.thread)
        self.monkeypatch.setattr(joining, "remember_endpoints", self.stored.extend)
        self.monkeypatch.setattr(joining, "drop_stale_pending", self.drop)
        self.directory = Directory()
        self.link = Link(str(UUID(int=1)), base64.b64encode(KEY).decode(), "fdae::1", None, None, False)
        self.known = Known(self.link, UUID(int=2), UUID(int=3), "uuid", gateway="one", alive=True)
        self.directory.put(self.known)
        tell = lambda word: lambda link_id: self.heard.append((word, link_id))  # noqa: E731
        self.monitor = Monitor(
            "one",
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self.directory,
            self,  # type: ignore[arg-type]
            woke=tell("woke"),
            silent=tell("silent"),
            gone=tell("gone"),
            claim=self.claim,
            fell_silent=self.fell_silent,
        )

    async def thread(self, work: Callable[[], Any]) -> Any:
        if self.broken:
            raise OperationalError("the database is away")
        return work()

    def drop(self, silent: list[tuple[UUID, UUID]], life: Any, gateway: str) -> set[UUID]:
        self.stale = silent
        return {link_id for _, link_id in silent}

    async def claim(self, shaken: list[tuple[Known, float]]) -> None:
        self.claimed += [at for _, at in shaken]
        for known, _ in shaken:
            self.directory.put(replace(known, gateway="one", alive=True))

    async def fell_silent(self, silent: list[Known]) -> None:
        self.heard += [("fell silent", known.link.id) for known in silent]
        for known in silent:
            self.directory.put(replace(known, alive=False))

    async def peers(self) -> list[PeerState]:
        peer = PeerState(KEY, "fdae::1", self.endpoint, self.handshake, self.received, 0)
        return [peer] if self.linked else []

    def observe(self, known: Known, fields: dict[str, Any]) -> None:
        self.observed |= fields

    async def look(self, seconds: float = 2.0) -> Any:
        """What is known of the connection after some seconds."""
        self.now += seconds
        await self.monitor.look()
        return self.observed.get("connected")

    async def hear(self) -> Any:
        self.received += 32
        self.handshake = self.handshake or self.now
        return await self.look()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


async def test_after_the_start_machines_get_time_to_come_back(bench: Bench) -> None:
    assert await bench.look() is None
    assert await bench.look(GRACE - 4) is None
    assert await bench.look(4) is False
    assert bench.heard == [("silent", bench.link.id), ("fell silent", bench.link.id)]


async def test_a_machine_that_is_heard_is_up_at_once(bench: Bench) -> None:
    assert await bench.hear() is True
    assert bench.heard == [("woke", bench.link.id)]
    assert bench.monitor.connected == 1
    assert (bench.observed["transport"], bench.observed["endpoint"]) == ("udp", "192.0.2.7:50180")
    assert bench.observed["rx_bytes"] == 32


async def test_a_machine_that_answered_is_up_before_the_next_look(bench: Bench) -> None:
    bench.monitor.up(bench.known)
    assert bench.observed["connected"] is True
    bench.observed.clear()
    bench.monitor.up(bench.known)
    assert bench.observed == {}


async def test_keepalives_keep_it_up_and_silence_takes_it_down(bench: Bench) -> None:
    await bench.hear()
    for _ in range(4):
        bench.received += 32
        assert await bench.look(25) is True
    assert await bench.look(SILENCE - 1) is True
    assert await bench.look(2) is False
    assert bench.heard[-2:] == [("silent", bench.link.id), ("fell silent", bench.link.id)]
    assert bench.monitor.connected == 0
    assert await bench.hear() is True
    assert bench.claimed == [bench.handshake]


async def test_an_old_handshake_proves_nothing(bench: Bench) -> None:
    await bench.hear()
    bench.now += HANDSHAKE_AGE
    bench.received += 32
    assert await bench.look() is False


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_a_clock_that_is_set_takes_nobody_down_and_keeps_nobody_up(bench: Bench, step: float) -> None:
    await bench.hear()
    bench.step = step
    bench.received += 32
    assert await bench.look() is True
    bench.received += 32
    assert await bench.look(HANDSHAKE_AGE) is False


async def test_a_handshake_from_before_we_came_is_as_old_as_it_is(bench: Bench) -> None:
    bench.handshake = bench.now - HANDSHAKE_AGE - 1
    assert await bench.look() is None
    assert await bench.look(GRACE + 4) is False


async def test_a_peer_that_left_is_down(bench: Bench) -> None:
    await bench.hear()
    bench.linked = False
    assert await bench.look() is False


async def test_endpoints_are_kept_as_soon_as_they_are_seen_and_only_when_they_change(bench: Bench) -> None:
    row = (bench.known.organisation_id, bench.known.link_id, "192.0.2.7:50180")
    await bench.hear()
    await bench.hear()
    assert bench.stored == [row]
    bench.endpoint = ("2001:db8::1", 7)
    await bench.hear()
    assert bench.stored[1:] == [(*row[:2], "[2001:db8::1]:7")]


async def test_an_endpoint_that_could_not_be_stored_is_stored_later(bench: Bench) -> None:
    bench.broken = True
    with pytest.raises(OperationalError):
        await bench.hear()
    assert bench.observed["connected"] is True
    bench.broken = False
    await bench.hear()
    assert len(bench.stored) == 1


async def test_a_tunnel_has_no_endpoint_to_keep(bench: Bench) -> None:
    tag = "[fdae:41e4:649b:9304::7]:50889"
    bench.directory.put(replace(bench.known, link=replace(bench.link, virtual_address=tag)))
    bench.endpoint = tag
    await bench.hear()
    assert bench.stored == []
    assert (bench.observed["transport"], bench.observed["endpoint"]) == ("grpc", tag)


async def test_silent_pending_links_are_dropped_and_others_not_even_asked_about(bench: Bench) -> None:
    pending = replace(bench.known, machine_id=None)
    bench.directory.put(pending)
    await bench.hear()
    bench.received += 32
    await bench.look(module.DETAIL_INTERVAL)
    assert bench.stale == []
    await bench.look(SILENCE + 1)
    assert bench.stale == [(pending.organisation_id, pending.link_id)]
    assert bench.heard[-1] == ("gone", bench.link.id)


async def test_a_machine_that_was_registered_just_now_is_told_of_again(bench: Bench) -> None:
    """Nothing is written of a pending link, so that it is up has to be said once more."""
    bench.directory.put(replace(bench.known, machine_id=None))
    await bench.hear()
    bench.observed.clear()
    bench.directory.put(bench.known)
    assert await bench.hear() is True


async def test_of_what_another_gateway_holds_nothing_is_told(bench: Bench) -> None:
    bench.directory.put(replace(bench.known, gateway="two"))
    await bench.look(GRACE + 2)
    await bench.look(module.DETAIL_INTERVAL)
    assert (bench.observed, bench.heard, bench.stored, bench.stale) == ({}, [], [], [])
    bench.directory.put(replace(bench.known, gateway="two", machine_id=None))
    await bench.look(module.DETAIL_INTERVAL)
    assert bench.stale == []


async def test_a_machine_that_is_heard_here_is_claimed_from_another(bench: Bench) -> None:
    bench.directory.put(replace(bench.known, gateway="two"))
    await bench.hear()
    assert bench.claimed == [bench.handshake]
    assert await bench.hear() is True
    assert bench.claimed == [bench.handshake]


async def test_a_link_that_came_over_gets_time_before_it_is_called_down(bench: Bench) -> None:
    bench.directory.put(replace(bench.known, gateway="two"))
    await bench.look(100)
    bench.directory.put(replace(bench.known, alive=False))
    assert await bench.look() is None
    assert await bench.look(GRACE - 2) is None
    assert await bench.look(4) is False
