"""Which of many things wants attention next."""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar

NEVER = float("inf")


class Waiting(Protocol):
    """Something with one alarm; `alarm` belongs to `Deadlines` and starts as NEVER."""

    alarm: float


W = TypeVar("W", bound=Waiting)


class Deadlines(Generic[W]):
    """A queue of alarms, one per item, earliest first.

    An alarm may ring early, never late: an item that moved its deadline back is rung at the old time and arms itself
    again, so that moving a deadline back, which happens with nearly every packet, costs nothing.
    """

    __slots__ = ("_count", "_heap", "_stale")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, W]] = []
        self._count = 0
        self._stale = 0

    def arm(self, item: W, at: float) -> None:
        """Ring for `item` at `at` or before."""
        if at >= item.alarm:
            return
        was, item.alarm = item.alarm, at
        if was != NEVER:
            self._forget_one()
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, item))

    def disarm(self, item: W) -> None:
        """Do not ring for `item`."""
        if item.alarm != NEVER:
            item.alarm = NEVER
            self._forget_one()

    def due(self, now: float) -> list[W]:
        """Items whose alarm has come; each is disarmed."""
        heap, items = self._heap, []
        while heap and heap[0][0] <= now:
            at, _, item = heapq.heappop(heap)
            if item.alarm == at:
                item.alarm = NEVER
                items.append(item)
            else:
                self._stale -= 1
        return items

    def next(self) -> float:
        """When to look again; NEVER when nothing waits."""
        return self._heap[0][0] if self._heap else NEVER

    def _forget_one(self) -> None:
        """An entry became stale; entries are dropped in bulk so that they do not keep dead items alive for long."""
        self._stale += 1
        if self._stale > 64 and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].alarm == entry[0]]
            heapq.heapify(self._heap)
            self._stale = 0
