"""The receiving half of a TCP connection: reassembly, the window we advertise, and what to acknowledge."""

from __future__ import annotations

from bisect import bisect_right

from nodeagent.wireguard.tcp.settings import Settings
from nodeagent.wireguard.tcp.wire import SACK_BLOCKS, WINDOW_SCALE

MOST_RUNS = 256
"""Stretches of data beyond a hole that we keep; more are dropped and sent again."""
_LARGEST_FIELD = 0xFFFF
_MEASURE_AT_LEAST = 0.01


class WindowPool:
    """Bytes by which all windows of one peer together may grow."""

    __slots__ = ("free",)

    def __init__(self, size: int) -> None:
        self.free = size

    def take(self, size: int) -> bool:
        if size > self.free:
            return False
        self.free -= size
        return True

    def give(self, size: int) -> None:
        self.free += size


class _Run:
    """Contiguous data beyond a hole."""

    __slots__ = ("data", "start")

    def __init__(self, start: int, data: bytes) -> None:
        self.start = start
        self.data = bytearray(data)

    @property
    def end(self) -> int:
        return self.start + len(self.data)


def _start_of(run: _Run) -> int:
    return run.start


class Receiver:
    """Turns segments into a stream.

    Unread data plus what the peer may still send never exceeds the capacity, so memory is bounded by it.
    """

    __slots__ = (
        "_capacity", "_fin_at", "_granted", "_latest", "_measured_at", "_pool", "_runs", "_segment_size", "_taken",
        "_unread", "ack_now", "edge", "finished", "next", "pending", "scale", "settings",
    )  # fmt: skip

    def __init__(self, settings: Settings, pool: WindowPool) -> None:
        self.settings = settings
        self._pool = pool
        self._capacity = settings.receive_window
        self._granted = 0
        self._segment_size = settings.segment_size
        self.scale = 0
        self.next = 0
        """First sequence number not yet received in order."""
        self.edge = 0
        """Right edge of the window: nothing at or beyond it is accepted. Never moves left."""
        self._unread = bytearray()
        self._runs: list[_Run] = []
        self._latest: _Run | None = None
        self._fin_at: int | None = None
        self.finished = False
        """The peer's FIN and all data before it have arrived."""
        self.pending = 0
        """Segments received in order and not yet acknowledged."""
        self.ack_now = False
        self._taken = 0
        self._measured_at = 0.0

    def start(self, first: int, scaled: bool) -> None:
        """The peer's SYN came; `first` is the number after it. Our own SYN, without scale, tells it the window."""
        self.next = first
        self.edge = first + min(self._capacity, _LARGEST_FIELD)
        self.scale = WINDOW_SCALE if scaled else 0

    # -- data in -------------------------------------------------------------------------------------------------

    def accept(self, seq: int, payload: bytes, fin: bool) -> None:
        """Take a segment that touches the window; what lies outside of it, or beyond the FIN, is cut off."""
        end = seq + len(payload)
        if fin:
            self._note_fin(end)
        limit = self.edge if self._fin_at is None else min(self.edge, self._fin_at)
        if end > limit:
            payload = payload[: max(limit - seq, 0)]
            self.ack_now = True
        if seq < self.next:
            payload = payload[self.next - seq :]
            seq = self.next
        if not payload:
            self.ack_now = True
        elif seq == self.next:
            self._unread += payload
            self.next += len(payload)
            self.pending += 1
            if self._runs:
                self._absorb_runs()
                self.ack_now = True
        else:
            self._keep(seq, payload)
            self.ack_now = True
        if self.next == self._fin_at and not self.finished:
            self.next += 1
            self.finished = True
            self.ack_now = True

    def _note_fin(self, at: int) -> None:
        """Believe the first FIN that contradicts nothing we have."""
        received = self._runs[-1].end if self._runs else self.next
        if self._fin_at is None and received <= at <= self.edge:
            self._fin_at = at

    def _keep(self, seq: int, payload: bytes) -> None:
        runs = self._runs
        at = bisect_right(runs, seq, key=_start_of) - 1
        if at >= 0 and runs[at].end >= seq:
            run = runs[at]
            run.data += payload[run.end - seq :]
        elif len(runs) >= MOST_RUNS:
            return
        else:
            at += 1
            run = _Run(seq, payload)
            runs.insert(at, run)
        while at + 1 < len(runs) and runs[at + 1].start <= run.end:
            following = runs.pop(at + 1)
            run.data += following.data[run.end - following.start :]
        self._latest = run

    def _absorb_runs(self) -> None:
        runs = self._runs
        while runs and runs[0].start <= self.next:
            run = runs.pop(0)
            self._unread += run.data[self.next - run.start :]
            self.next = max(self.next, run.end)

    # -- data out ------------------------------------------------------------------------------------------------

    @property
    def unread(self) -> int:
        """Bytes in order that wait for the reader."""
        return len(self._unread)

    @property
    def held(self) -> int:
        """All bytes in memory, in order and beyond holes."""
        return len(self._unread) + sum(len(run.data) for run in self._runs)

    def read(self, now: float, round_trip: float) -> bytes:
        """All unread bytes. A reader that keeps up with a fast sender is given a larger window."""
        data = bytes(self._unread)
        self._unread.clear()
        self._taken += len(data)
        interval = max(round_trip, _MEASURE_AT_LEAST)
        elapsed = now - self._measured_at
        if elapsed >= interval:
            if self._taken * interval * 2 >= self._capacity * elapsed:
                self._grow()
            self._taken = 0
            self._measured_at = now
        return data

    def _grow(self) -> None:
        limit = min(self.settings.receive_window_limit, _LARGEST_FIELD << self.scale)
        growth = min(self._capacity, limit - self._capacity)
        if growth > 0 and self._pool.take(growth):
            self._granted += growth
            self._capacity += growth

    def release(self) -> None:
        """Give up memory and the grant from the pool."""
        self._unread.clear()
        self._runs.clear()
        self._latest = None
        self._pool.give(self._granted)
        self._granted = 0

    # -- what we tell the peer -----------------------------------------------------------------------------------

    @property
    def _possible_edge(self) -> int:
        return self.next + self._capacity - len(self._unread)

    @property
    def wants_window_update(self) -> bool:
        """The window could open by so much that the peer should hear of it."""
        return not self.finished and self._possible_edge - self.edge >= min(2 * self._segment_size, self._capacity // 2)

    def advertise(self, syn: bool = False) -> int:
        """The window field of a segment sent now. Opens in steps worth sending for, never closes (RFC 9293 3.8.6)."""
        if self.wants_window_update:
            self.edge = self._possible_edge
        if syn:
            self.edge = min(self.edge, self.next + _LARGEST_FIELD)
            return self.edge - self.next
        return min(max(self.edge - self.next, 0) >> self.scale, _LARGEST_FIELD)

    def acknowledged(self) -> None:
        """An acknowledgement of everything was sent."""
        self.pending = 0
        self.ack_now = False

    @property
    def has_holes(self) -> bool:
        return bool(self._runs)

    def sack_blocks(self) -> list[tuple[int, int]]:
        """What we hold beyond holes, the latest change first (RFC 2018)."""
        latest = self._latest
        blocks = [(run.start, run.end) for run in self._runs if run is not latest][: SACK_BLOCKS - 1]
        if latest is not None and latest in self._runs:
            blocks.insert(0, (latest.start, latest.end))
        return blocks
