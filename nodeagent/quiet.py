"""Not saying the same again and again: one who is refused a thousand times a minute must not fill the log."""

import time
from collections import OrderedDict

INTERVAL = 60.0
"""Seconds in which one message of a kind is enough."""

KINDS = 1000
"""Kinds that are remembered; the one that was heard of least lately is forgotten first."""


class Quiet:
    """Which messages to leave out."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._said: OrderedDict[str, tuple[float, int]] = OrderedDict()  # kind -> (when, left out since)

    def left_out(self, kind: str) -> int | None:
        """How many of a kind were left out since the last that was said, now that this one is to be said; None when
        it is to be left out as well."""
        now = time.monotonic()
        at, count = self._said.get(kind, (-self._interval, 0))
        if now - at < self._interval and kind in self._said:
            self._said[kind] = at, count + 1
            self._said.move_to_end(kind)
            return None
        self._said[kind] = now, 0
        self._said.move_to_end(kind)
        if len(self._said) > KINDS:
            self._said.popitem(last=False)
        return count
