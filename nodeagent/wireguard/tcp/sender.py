"""The sending half of a TCP connection: segmentation, retransmission, flow and congestion control.

Loss is found by selective acknowledgements (RFC 6675 for first transmissions, the send-time rule of RFC 8985 for
repeated ones), by a probe of the tail, and at last by timeout. A peer without SACK gets NewReno (RFC 6582).
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Callable

from nodeagent.wireguard.deadlines import NEVER
from nodeagent.wireguard.packet import ACK, FIN, PSH, SYN
from nodeagent.wireguard.tcp.congestion import Cubic
from nodeagent.wireguard.tcp.rtt import RoundTrip
from nodeagent.wireguard.tcp.settings import Settings
from nodeagent.wireguard.tcp.wire import unwrap

DUPLICATES = 3
"""Later segments that must arrive before an earlier one counts as lost."""
_SMALLEST_SEGMENT = 64
_DEFAULT_SEGMENT = 1220
_REORDERING = 0.001
_PEER_ACK_DELAY = 0.05

Emit = Callable[[int, int, bytes], None]
"""Sends sequence number, flags, payload."""


class _Timer(enum.Enum):
    RETRANSMIT = enum.auto()
    TAIL_PROBE = enum.auto()
    WINDOW_PROBE = enum.auto()


class _Sent:
    """A segment under way. It counts as in the pipe unless it is `sacked` or `lost`."""

    __slots__ = ("at", "end", "flags", "lost", "payload", "repeated", "sacked", "seq")

    def __init__(self, seq: int, end: int, flags: int, payload: bytes, at: float) -> None:
        self.seq = seq
        self.end = end
        self.flags = flags
        self.payload = payload
        self.at = at
        self.repeated = False
        self.sacked = False
        self.lost = False


def _seq_of(sent: _Sent) -> int:
    return sent.seq


class Sender:
    """Turns a stream into segments until every byte, and the FIN after them, is acknowledged."""

    __slots__ = (
        "_congestion", "_duplicates", "_emit", "_fin_sent", "_flight", "_largest_window", "_latest", "_limited",
        "_lost", "_must_repeat", "_news", "_pipe", "_probed", "_progress_at", "_recover", "_sacked", "_sent_at",
        "_timer", "_window_edge", "due", "fin_queued", "next", "retransmissions", "round_trip", "sack_permitted",
        "scale", "segment_size", "settings", "unacknowledged", "unsent",
    )  # fmt: skip

    def __init__(self, settings: Settings, first: int, emit: Emit) -> None:
        self.settings = settings
        self._emit = emit
        self.unacknowledged = first
        self.next = first
        self.unsent = bytearray()
        self.fin_queued = False
        self._fin_sent = False
        self._flight: list[_Sent] = []
        self._pipe = 0
        self._lost = 0
        self._sacked = 0
        # What the peer can take.
        self.segment_size = min(settings.segment_size, _DEFAULT_SEGMENT)
        self.scale = 0
        self.sack_permitted = False
        self._window_edge = first
        self._largest_window = 0
        # What the path can take.
        self.round_trip = RoundTrip()
        self._congestion = Cubic(self.segment_size, settings.congestion_window_limit)
        self._limited = False
        self._sent_at = 0.0
        # Recovery.
        self._recover: int | None = None  # recovery ends when this is acknowledged
        self._latest = -NEVER  # when the latest segment known to have arrived was sent
        self._news = False
        self._duplicates = 0
        self._must_repeat = False  # one lost segment, whatever the window says
        self.retransmissions = 0
        # Timer.
        self.due = NEVER
        self._timer = _Timer.RETRANSMIT
        self._probed = False
        self._progress_at = 0.0

    # -- state ---------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """The peer has acknowledged our FIN."""
        return self._fin_sent and self.unacknowledged == self.next

    @property
    def is_idle(self) -> bool:
        """Nothing is under way or waiting."""
        return not self._flight and not self.unsent

    @property
    def oldest_acceptable_ack(self) -> int:
        """Acknowledgements below are blind guesses (RFC 5961 5.2)."""
        return self.unacknowledged - self._largest_window

    def release(self) -> None:
        """Give up memory; nothing will be sent again."""
        self.unsent.clear()
        self._flight.clear()
        self.due = NEVER

    # -- what the peer says --------------------------------------------------------------------------------------

    def negotiate(self, segment_size: int | None, scale: int | None, sack_permitted: bool) -> None:
        """The peer's SYN options."""
        limit = segment_size if segment_size is not None else _DEFAULT_SEGMENT
        self.segment_size = min(max(limit, _SMALLEST_SEGMENT), self.settings.segment_size)
        self.scale = scale or 0
        self.sack_permitted = sack_permitted
        self._congestion = Cubic(self.segment_size, self.settings.congestion_window_limit)

    def on_window(self, now: float, ack: int, window: int) -> None:
        """The peer takes `window` bytes from `ack` on. A peer that answers with a closed window is alive."""
        self._window_edge = ack + window
        self._largest_window = max(self._largest_window, window)
        if not window:
            self._progress_at = now
        if self._timer is _Timer.WINDOW_PROBE and self.due != NEVER:
            self._progress_at = now
            if self._window_edge > self.next:
                self.round_trip.progress()
                self._arm(now)

    def on_ack(self, now: float, ack: int, blocks: list[tuple[int, int]], is_duplicate: bool) -> None:
        """An acceptable acknowledgement: cumulative up to `ack`, and selective `blocks` as on the wire."""
        if ack > self.unacknowledged:
            self._advance(now, ack)
        elif is_duplicate and not self.sack_permitted and self._flight:
            self._duplicates += 1
            if self._duplicates == DUPLICATES and self._recover is None:
                self._mark_lost(self._flight[0])
                self._enter_recovery()
                self._must_repeat = True
        if blocks and self.sack_permitted and self._flight:
            self._mark_sacked(now, blocks)

    def _advance(self, now: float, ack: int) -> None:
        flight = self._flight
        count = 0
        sample = None
        for sent in flight:
            if sent.end > ack:
                if sent.seq < ack:
                    self._trim(sent, ack)
                break
            count += 1
            self._leave_pipe(sent)
            if not sent.sacked and not sent.repeated:
                sample = now - sent.at
            self._note_arrival(now, sent)
        del flight[:count]
        acknowledged = ack - self.unacknowledged
        self.unacknowledged = ack
        self._progress_at = now
        self._duplicates = 0
        self._probed = False
        self.round_trip.progress()
        if sample is not None:
            self.round_trip.sample(sample)
        if self._recover is not None:
            if ack >= self._recover:
                self._recover = None
            elif not self.sack_permitted and flight and not flight[0].repeated:
                self._mark_lost(flight[0])  # a partial acknowledgement shows the next hole
                self._must_repeat = True
        if (self._recover is None or self._congestion.window < self._congestion.threshold) and self._limited:
            self._congestion.on_acknowledged(now, acknowledged, self.round_trip.smoothed)
        self._arm(now)

    def _trim(self, sent: _Sent, ack: int) -> None:
        cut = ack - sent.seq
        sent.payload = sent.payload[cut:]
        sent.seq = ack
        if sent.sacked:
            self._sacked -= cut
        elif not sent.lost:
            self._pipe -= cut

    def _leave_pipe(self, sent: _Sent) -> None:
        if sent.lost:
            self._lost -= 1
        elif sent.sacked:
            self._sacked -= sent.end - sent.seq
        else:
            self._pipe -= sent.end - sent.seq

    def _note_arrival(self, now: float, sent: _Sent) -> None:
        """An acknowledgement sooner than any round trip answers an earlier transmission and tells nothing of this."""
        if sent.at > self._latest and (not sent.repeated or now - sent.at >= self.round_trip.minimum):
            self._latest = sent.at
            self._news = True

    def _mark_sacked(self, now: float, blocks: list[tuple[int, int]]) -> None:
        flight = self._flight
        for start, end in blocks:
            start = unwrap(start, self.unacknowledged)
            end = unwrap(end, self.unacknowledged)
            if not self.unacknowledged < end <= self.next:
                continue
            for index in range(bisect_left(flight, start, key=_seq_of), len(flight)):
                sent = flight[index]
                if sent.end > end:
                    break
                if not sent.sacked:
                    self._leave_pipe(sent)
                    sent.lost = False
                    sent.sacked = True
                    self._sacked += sent.end - sent.seq
                    self._news = True
                    if not sent.repeated:
                        self.round_trip.sample(now - sent.at)
                    self._note_arrival(now, sent)

    # -- loss ----------------------------------------------------------------------------------------------------

    def _mark_lost(self, sent: _Sent) -> None:
        if not sent.lost and not sent.sacked:
            self._leave_pipe(sent)
            sent.lost = True
            self._lost += 1

    def _enter_recovery(self) -> None:
        if self._recover is None:
            self._recover = self.next
            self._congestion.on_loss()

    def _detect_loss(self) -> None:
        self._news = False
        if not self._sacked and self._recover is None:
            return
        overtaken = self._latest - (self.round_trip.minimum / 4 + _REORDERING)
        above = 0
        found = False
        for sent in reversed(self._flight):
            if sent.sacked:
                above += 1
            elif not sent.lost and ((above >= DUPLICATES and not sent.repeated) or sent.at < overtaken):
                self._mark_lost(sent)
                found = True
        if found:
            self._must_repeat = self._recover is None
            self._enter_recovery()

    # -- sending -------------------------------------------------------------------------------------------------

    def send_syn(self, now: float) -> None:
        self._send_new(now, self.next + 1, SYN, b"")

    def repeat_first(self, now: float) -> None:
        """Send the oldest segment again, out of turn."""
        if self._flight:
            self._mark_lost(self._flight[0])
            self._repeat(now, self._flight[0])

    def transmit(self, now: float, is_open: bool) -> bool:
        """Send what windows allow: first what was lost, then, once the connection is open, what is new.

        Returns whether the FIN was sent for the first time.
        """
        if self._news:
            self._detect_loss()
        window = self._congestion.window
        if self._lost:
            for sent in self._flight:
                if sent.lost:
                    if self._pipe and self._pipe + sent.end - sent.seq > window and not self._must_repeat:
                        self._limited = True
                        return False
                    self._repeat(now, sent)
                    self._must_repeat = False
                    if not self._lost:
                        break
        if not is_open:
            return False
        if self.unsent:
            self._send_unsent(now)
        if self.due == NEVER and self.unsent:
            self._arm(now)
        if not self.fin_queued or self._fin_sent or self.unsent:
            return False
        self._fin_sent = True
        self._send_new(now, self.next + 1, FIN | ACK, b"")
        return True

    def _send_unsent(self, now: float) -> None:
        if not self._flight and now - self._sent_at > self.round_trip.timeout:
            self._congestion.on_idle()
        unsent, size = self.unsent, len(self.unsent)
        window = self._congestion.window
        taken = 0
        self._limited = False
        with memoryview(unsent) as view:
            while taken < size:
                length = min(self.segment_size, size - taken)
                room = self._window_edge - self.next
                if length > room:
                    if room <= 0 or self._flight:
                        break
                    length = room
                if self._pipe and self._pipe + length > window:
                    self._limited = True
                    break
                payload = bytes(view[taken : taken + length])
                taken += length
                self._send_new(now, self.next + length, PSH | ACK if taken == size else ACK, payload)
        del unsent[:taken]

    def _send_new(self, now: float, end: int, flags: int, payload: bytes) -> None:
        if not self._flight:
            self._progress_at = now
        sent = _Sent(self.next, end, flags, payload, now)
        self._flight.append(sent)
        self._pipe += end - self.next
        self.next = end
        self._put(now, sent)

    def _repeat(self, now: float, sent: _Sent) -> None:
        """Send a lost segment once more."""
        sent.lost = False
        self._lost -= 1
        self._pipe += sent.end - sent.seq
        sent.repeated = True
        sent.at = now
        self.retransmissions += 1
        self._put(now, sent)

    def _put(self, now: float, sent: _Sent) -> None:
        self._sent_at = now
        if self.due == NEVER or self._timer is _Timer.WINDOW_PROBE:
            self._arm(now)
        self._emit(sent.seq, sent.flags, sent.payload)

    # -- timer ---------------------------------------------------------------------------------------------------

    def _arm(self, now: float) -> None:
        timeout = self.round_trip.timeout
        if self._flight:
            self._timer, self.due = _Timer.RETRANSMIT, now + timeout
            probe = self._tail_probe_after
            if probe < timeout and self._may_probe_tail:
                self._timer, self.due = _Timer.TAIL_PROBE, now + probe
        elif self.unsent and self._window_edge <= self.next:
            self._timer, self.due = _Timer.WINDOW_PROBE, now + timeout
        else:
            self.due = NEVER

    @property
    def _may_probe_tail(self) -> bool:
        return (
            not self._probed
            and not self._lost
            and self._recover is None
            and self.round_trip.smoothed > 0
            and not self.round_trip.is_backing_off
        )

    @property
    def _tail_probe_after(self) -> float:
        return 2 * self.round_trip.smoothed + (_PEER_ACK_DELAY if len(self._flight) == 1 else _REORDERING)

    def on_timer(self, now: float) -> bool:
        """The timer at `due` rang. False: the peer has not answered for so long that the connection is dead."""
        timer, self.due = self._timer, NEVER
        if now - self._progress_at >= self.settings.user_timeout and timer is not _Timer.TAIL_PROBE:
            return False
        if timer is _Timer.WINDOW_PROBE:
            self._emit(self.next - 1, ACK, b"")  # an old number, which the peer must answer with its window
            self.round_trip.back_off()
        elif self._flight and timer is _Timer.TAIL_PROBE:
            self._probe_tail(now)
        elif self._flight:
            self._on_timeout(now)
        self._arm(now)
        return True

    def _probe_tail(self, now: float) -> None:
        """Repeat the last segment that is missing, which brings back news of all before it."""
        is_recent = now < self._flight[-1].at + self._tail_probe_after - _REORDERING
        if is_recent and now < self._progress_at + self.round_trip.timeout:
            return  # more was sent after the timer was set
        self._probed = True
        for sent in reversed(self._flight):
            if not sent.sacked:
                self._mark_lost(sent)
                self._repeat(now, sent)
                return

    def _on_timeout(self, now: float) -> None:
        """Everything not known to have arrived is lost; `transmit` sends it again."""
        if not self.round_trip.is_backing_off:
            self._congestion.on_timeout()
        self.round_trip.back_off()
        self._recover = self.next
        if self._flight[0].sacked:  # the peer has dropped what it had reported (RFC 2018 8)
            for sent in self._flight:
                sent.sacked = False
            self._pipe += self._sacked
            self._sacked = 0
        for sent in self._flight:
            self._mark_lost(sent)
