"""How often one address may call. Who calls more often waits, up to what the call's deadline leaves."""

import asyncio
import time
from collections.abc import Callable, Hashable

from kubespan.discovery.limits import Refused

RATE = 15.0
"""Calls a second, of one address. A stream is one call."""

BURST = 60
"""Calls at once after a quiet time."""

LONGEST_WAIT = 60.0
"""Seconds; so at most 900 calls of an address wait. No call of a node has so late a deadline."""

_SWEEP_AT = 4096
_ROUNDING = 1e-6


class Limiter:
    """Buckets with `burst` tokens that fill at `rate`, one for each address that has called lately.

    A bucket is the time at which it will be full again. Full ones are forgotten when their number has doubled.
    """

    def __init__(self, rate: float = RATE, burst: int = BURST, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._burst, self._clock = 1 / rate, burst, clock
        self._full_at: dict[Hashable, float] = {}
        self._sweep_at = _SWEEP_AT

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._full_at)

    async def turn(self, who: Hashable, remaining: Callable[[], float | None]) -> None:
        """Return when it is this caller's turn; `remaining` says how many seconds its deadline leaves.

        Raises Refused at once when that would be too late.
        """
        wait = self._reserve(who)
        if wait <= 0:
            return
        left = remaining()
        if wait > (LONGEST_WAIT if left is None else min(left, LONGEST_WAIT)):
            self._give_back(who)
            raise Refused("RESOURCE_EXHAUSTED", "rate limit exceeds request timeout")
        try:
            await asyncio.sleep(wait)
        except asyncio.CancelledError:
            self._give_back(who)
            raise

    def take(self, who: Hashable) -> bool:
        """Whether it is this caller's turn now."""
        if self._reserve(who) <= 0:
            return True
        self._give_back(who)
        return False

    def _reserve(self, who: Hashable) -> float:
        """Take a token; gives the seconds until it is there."""
        now = self._clock()
        full_at = max(self._full_at.get(who, now), now) + self._interval
        self._full_at[who] = full_at
        if len(self._full_at) >= self._sweep_at:
            self._full_at = {one: at for one, at in self._full_at.items() if at > now}
            self._sweep_at = max(_SWEEP_AT, 2 * len(self._full_at))
        return full_at - now - self._burst * self._interval - _ROUNDING

    def _give_back(self, who: Hashable) -> None:
        if who in self._full_at:
            self._full_at[who] -= self._interval
