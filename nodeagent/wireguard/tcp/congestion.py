"""How much may be under way at once: CUBIC (RFC 9438)."""

from __future__ import annotations

_SCALE = 0.4
_DECREASE = 0.7
_RENO_INCREASE = 3 * (1 - _DECREASE) / (1 + _DECREASE)
_INITIAL_SEGMENTS = 10


class Cubic:
    """`window` and `threshold` in bytes."""

    __slots__ = ("_delay", "_epoch", "_limit", "_origin", "_peak", "_reno", "_segment", "threshold", "window")

    def __init__(self, segment_size: int, limit: int) -> None:
        self._segment = segment_size
        self._limit = float(limit)
        self.window = float(_INITIAL_SEGMENTS * segment_size)
        self.threshold = float("inf")
        self._peak = 0.0
        self._epoch: float | None = None
        self._delay = 0.0
        self._origin = 0.0
        self._reno = 0.0

    def on_acknowledged(self, now: float, size: int, round_trip: float) -> None:
        """`size` bytes arrived while the window was what held us back."""
        window = self.window
        if window < self.threshold:
            self.window = min(window + size, self._limit)
            return
        if self._epoch is None:
            self._epoch = now
            self._origin = max(self._peak, window)
            self._delay = ((self._origin - window) / self._segment / _SCALE) ** (1 / 3)
            self._reno = window
        elapsed = now - self._epoch + round_trip - self._delay
        self._reno += _RENO_INCREASE * self._segment * size / window
        target = max(_SCALE * elapsed**3 * self._segment + self._origin, self._reno)
        if target > window:
            self.window = min(window + min((target - window) * size / window, size), self._limit)

    def on_loss(self) -> None:
        """A segment was lost; called once per round trip."""
        window = self.window
        self._peak = window if window >= self._peak else window * (1 + _DECREASE) / 2
        self.window = self.threshold = max(window * _DECREASE, 2 * self._segment)
        self._epoch = None

    def on_timeout(self) -> None:
        """Nothing came back at all: start over slowly."""
        self.on_loss()
        self.window = 2.0 * self._segment

    def on_idle(self) -> None:
        """Nothing was sent for longer than a timeout: what we knew of the path is old."""
        self.window = min(self.window, float(_INITIAL_SEGMENTS * self._segment))
        self._epoch = None
