"""What one who watches a cluster has still to be told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubespan.discovery.state import Change

SMALL = 64 * 1024
"""Bytes of a first message that are not worth counting: a connection's buffers take as much."""

ROOM = 64 * 1024 * 1024
"""Bytes of larger first messages that are under way at a time."""

PATIENCE = 30.0
"""Seconds that a client has to take its first message while others wait for room."""


class Watch:
    """Events that wait for a watcher: of each affiliate the last one.

    So one who reads slowly, or not at all, is never cut off and never costs more than the cluster has affiliates:
    events are shared by all watchers and with the state, and an affiliate that came and went unseen leaves nothing.
    """

    __slots__ = ("_ended", "_unseen", "_waiting", "_waker")

    def __init__(self) -> None:
        self._waiting: dict[str, bytes] = {}
        self._unseen: set[str] | None = None  # affiliates among them that the watcher has never heard of
        self._waker: asyncio.Future[None] | None = None
        self._ended = False

    def __len__(self) -> int:
        """How many events wait."""
        return len(self._waiting)

    def tell(self, affiliate_id: str, event: bytes, change: Change) -> None:
        """An affiliate has changed."""
        if change is Change.ADDED:
            if affiliate_id not in self._waiting:
                if self._unseen is None:
                    self._unseen = set()
                self._unseen.add(affiliate_id)
        elif change is Change.DELETED and self._unseen and affiliate_id in self._unseen:
            self._unseen.remove(affiliate_id)
            del self._waiting[affiliate_id]
            return
        self._waiting[affiliate_id] = event
        self._wake()

    def end(self) -> None:
        """Nothing more is told; `next` has no more to give, whatever waits."""
        self._ended = True
        self._wake()

    async def next(self) -> bytes | None:
        """The event that waits longest, or the next one there will be; None at the end."""
        while not self._ended:
            for affiliate_id in self._waiting:
                if self._unseen:
                    self._unseen.discard(affiliate_id)
                return self._waiting.pop(affiliate_id)
            self._waker = asyncio.get_running_loop().create_future()
            await self._waker
        return None

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)


class Room:
    """Bounds what is held of first messages, which are as large as a cluster, for clients that do not read them.

    Who finds no room waits for it. Then those who take too long lose theirs, and their call with it.
    """

    def __init__(self, most: int = ROOM, patience: float = PATIENCE) -> None:
        self._most, self._patience = most, patience
        self._taken = 0
        self._since: dict[asyncio.Task[object], float] = {}
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Room for a message of so many bytes, for as long as it is being written by this task."""
        if size <= SMALL:
            yield
            return
        task = asyncio.current_task()
        assert task is not None
        async with self._turn:
            while self._taken and self._taken + size > self._most:
                await self._wait()
            self._taken += size
            self._since[task] = time.monotonic()
        try:
            yield
        finally:
            self._since.pop(task, None)
            self._taken -= size
            self._freed.set()

    async def _wait(self) -> None:
        """Until somebody is done; makes the one who holds longest give up when its time is over."""
        self._freed.clear()
        oldest = next(iter(self._since), None)
        left = self._patience
        if oldest is not None:
            left += self._since[oldest] - time.monotonic()
        try:
            await asyncio.wait_for(self._freed.wait(), max(left, 0))
        except TimeoutError:
            if oldest in self._since:
                del self._since[oldest]
                oldest.cancel()
