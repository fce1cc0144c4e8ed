"""How often somebody may do something: so many times at once, and again as time passes."""

import time
from collections import OrderedDict

KEPT = 10_000
"""Names that are remembered; the one that was heard of least lately is forgotten first."""


class Pace:
    """`burst` times at once, and `per_minute` as time passes, for each name by itself."""

    def __init__(self, burst: int, per_minute: float) -> None:
        self._burst, self._rate = float(burst), per_minute / 60
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name -> (times left, when)

    def allows(self, name: str) -> bool:
        """Whether it may happen once more now; if so, it counts."""
        now = time.monotonic()
        left, at = self._left.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        allowed = left >= 1
        self._left[name] = left - allowed, now
        if len(self._left) > KEPT:
            self._left.popitem(last=False)
        return allowed
