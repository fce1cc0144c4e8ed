"""What one who watches a cluster has still to be told."""

from __future__ import annotations

import asyncio

from kubespan.discovery.state import Change


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
