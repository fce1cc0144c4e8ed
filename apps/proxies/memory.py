"""What was read from the database a moment ago, so that the next call of a busy caller reads nothing."""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from apps.tenants.threads import in_thread

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SECONDS = 5.0
"""For which something is remembered, when nobody says before that it changed."""

MOST = 10_000
"""Things that are remembered at once; the oldest go."""

AT_ONCE = 4
"""Readings of one kind at once: others need the database's threads, too."""


class Memory(Generic[K, V]):
    """Values by key, read when they are asked for. Those who ask for the same at once share one reading."""

    def __init__(
        self, read: Callable[[K], V], seconds: float = SECONDS, most: int = MOST, at_once: int = AT_ONCE
    ) -> None:
        """`read` runs in a thread, outside any tenant's scope."""
        self._read, self._seconds, self._most = read, seconds, most
        self._turns = asyncio.Semaphore(at_once)
        self._held: dict[K, tuple[float, asyncio.Future[V]]] = {}

    async def get(self, key: K) -> V:
        """The value, at most `seconds` old. Raises what reading raises, which is not remembered."""
        held = self._held.get(key)
        if held is None or held[0] <= time.monotonic():
            held = self._begin(key)
        value = held[1]
        return value.result() if value.done() else await asyncio.shield(value)

    def forget(self, key: K) -> None:
        """It changed. A reading that is under way is for those who asked before."""
        self._held.pop(key, None)

    def forget_all(self, matches: Callable[[K], bool]) -> None:
        """Those changed."""
        for key in [key for key in self._held if matches(key)]:
            del self._held[key]

    def clear(self) -> None:
        """Anything may have changed."""
        self._held.clear()

    async def _reading(self, key: K) -> V:
        async with self._turns:
            return await in_thread(lambda: self._read(key))

    def _begin(self, key: K) -> tuple[float, asyncio.Future[V]]:
        self._held.pop(key, None)
        while len(self._held) >= self._most:
            del self._held[next(iter(self._held))]
        value = asyncio.ensure_future(self._reading(key))
        held = self._held[key] = (time.monotonic() + self._seconds, value)

        def read(done: asyncio.Future[V]) -> None:
            if (done.cancelled() or done.exception() is not None) and self._held.get(key) is held:
                del self._held[key]

        value.add_done_callback(read)
        return held
