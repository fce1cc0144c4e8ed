"""Virtual time, and hosts that live in it."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from nodeagent.wireguard.deadlines import NEVER
from nodeagent.wireguard.stack import Limits, Stack
from nodeagent.wireguard.tcp.settings import Settings


class SimulationFailure(AssertionError):
    """Something happened that must not."""


class World:
    """The time, and what happens when. Also stands in for the event loop that transports report failures to."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.events = 0
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> None:
        self.events += 1
        heapq.heappush(self._queue, (max(time, self.now), self.events, call, arguments))

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        self.at(self.now + seconds, call, *arguments)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def step(self) -> None:
        """Let the next thing happen."""
        self.now, _, call, arguments = heapq.heappop(self._queue)
        call(*arguments)

    def run(self, check: Callable[[], None], most_events: int, until: float) -> None:
        """Until nothing is left to happen."""
        count = 0
        while self._queue:
            self.step()
            count += 1
            if count % 8 == 0:
                check()
            if count > most_events or self.now > until:
                raise SimulationFailure(f"no end after {count} events and {self.now - 1000:.0f} seconds")

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        failure = context["exception"]
        raise failure if isinstance(failure, SimulationFailure) else SimulationFailure(repr(failure)) from failure


class Host:
    """A stack that is flushed as an engine would: once per batch, and at its deadlines."""

    def __init__(self, world: World, address: bytes, settings: Settings, limits: Limits) -> None:
        self.world = world
        self.address = address
        self.network: Callable[[Host, bytes], None] = lambda host, packet: None
        self.stack = Stack(
            address, lambda remote, packet: self.network(self, packet), settings, limits, rng=world.random
        )
        self.remote = b""
        self.is_dead = False
        self.inbox: list[bytes] = []
        self._awake_at = 0.0
        self._is_waking = False
        self._timer_at = NEVER

    def arrive(self, packet: bytes) -> None:
        self.inbox.append(packet)
        self.wake()

    def stall(self, seconds: float) -> None:
        """The process gets no CPU for a while."""
        self._awake_at = self.world.now + seconds

    def wake(self) -> None:
        if not self._is_waking:
            self._is_waking = True
            self.world.at(self._awake_at, self._turn)

    def _turn(self) -> None:
        self._is_waking = False
        if self.is_dead:
            return
        now, stack = self.world.now, self.stack
        inbox, self.inbox = self.inbox, []
        for packet in inbox:
            stack.receive(now, self.remote, packet)
        stack.tick(now)
        stack.flush(now)
        at = stack.deadlines.next()
        if at < self._timer_at:
            self._timer_at = at
            self.world.at(at, self._on_timer, at)

    def _on_timer(self, at: float) -> None:
        if at == self._timer_at:
            self._timer_at = NEVER
        self.wake()
