"""Round-trip time and the retransmission timeout made of it (RFC 6298)."""

from __future__ import annotations

SHORTEST_TIMEOUT = 0.2
LONGEST_TIMEOUT = 30.0
_FIRST_TIMEOUT = 1.0


class RoundTrip:
    """Seconds, all of them; `smoothed` is 0 before the first sample."""

    __slots__ = ("_backoff", "_timeout", "_variation", "minimum", "smoothed")

    def __init__(self) -> None:
        self.smoothed = 0.0
        self.minimum = float("inf")
        self._variation = 0.0
        self._timeout = _FIRST_TIMEOUT
        self._backoff = 0

    def sample(self, seconds: float) -> None:
        """One measured round trip, of a segment that was sent once (Karn's rule)."""
        self.minimum = min(self.minimum, seconds)
        if self.smoothed:
            self._variation += (abs(self.smoothed - seconds) - self._variation) / 4
            self.smoothed += (seconds - self.smoothed) / 8
        else:
            self.smoothed = max(seconds, 1e-6)
            self._variation = seconds / 2
        self._timeout = max(SHORTEST_TIMEOUT, self.smoothed + 4 * self._variation)

    @property
    def timeout(self) -> float:
        """How long to wait for an acknowledgement now."""
        return min(LONGEST_TIMEOUT, self._timeout * (1 << min(self._backoff, 8)))

    def back_off(self) -> None:
        """The timeout passed: wait twice as long next time."""
        self._backoff += 1

    def progress(self) -> None:
        """Something new was acknowledged: no longer wait longer."""
        self._backoff = 0

    @property
    def is_backing_off(self) -> bool:
        return self._backoff > 0
