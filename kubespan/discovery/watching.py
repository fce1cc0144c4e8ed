"""What clients have still to be told, and how much of it is held for those who do not listen."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable

from kubespan.discovery.limits import Refused
from kubespan.discovery.state import Change

SMALL = 64 * 1024
"""Bytes of a message that are not worth counting: a connection's buffers take as much."""

ROOM_EACH, ROOM = 8 * 1024 * 1024, 256 * 1024 * 1024
"""Bytes of larger messages that are under way at a time: to one address, and to all."""

PATIENCE = 30.0
"""Seconds that a call waits until those to others at its address are taken."""


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
    """Bounds what is held of messages that are as large as a cluster, for clients that do not read them.

    What gRPC was given cannot be taken back. So who does not read holds up calls from its own address alone.
    """

    def __init__(self, each: int = ROOM_EACH, most: int = ROOM, patience: float = PATIENCE) -> None:
        self._each, self._most, self._patience = each, most, patience
        self._all = 0
        self._shares: dict[Hashable, _Share] = {}

    async def enter(self, who: Hashable, size: int) -> None:
        """Wait for room for a message of so many bytes to an address. `leave` is called when it was taken.

        Raises Refused.
        """
        if size <= SMALL:
            return
        if self._all + size > self._most:
            raise Refused("UNAVAILABLE", "too many clients that do not read; try again")
        share = self._shares.setdefault(who, _Share(self._each))
        try:
            await share.enter(size, self._patience)
        finally:
            self._tidy(who, share)
        self._all += size

    def leave(self, who: Hashable, size: int) -> None:
        """Such a message was taken, or will never be."""
        if size > SMALL:
            share = self._shares[who]
            self._all -= size
            share.leave(size)
            self._tidy(who, share)

    def _tidy(self, who: Hashable, share: _Share) -> None:
        if not share.used:
            self._shares.pop(who, None)


class _Share:
    """What one address has of it. Who comes first is served first; a single message always fits."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> bool:
        return bool(self._taken or self._waiting)

    async def enter(self, size: int, patience: float) -> None:
        """Raises Refused."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._admit()
        if turn.done():
            return
        try:
            await asyncio.wait_for(turn, patience)
        except TimeoutError:
            raise Refused("UNAVAILABLE", "other clients at this address do not read; try again") from None
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(size)
            raise
        finally:
            self._admit()

    def leave(self, size: int) -> None:
        self._taken -= size
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.done():
                if self._taken and self._taken + size > self._most:
                    return
                self._taken += size
                turn.set_result(None)
            self._waiting.popleft()
