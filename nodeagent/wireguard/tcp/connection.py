"""One TCP connection (RFC 9293) as pure state.

The owner calls `on_segment`, `on_timer` at `next_timer()`, and after a batch of them `flush`, which sends. The user
calls `write`, `read`, `finish`, `close`, `abort` and is told to look through `User`.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Callable
from typing import Protocol

from nodeagent.wireguard.deadlines import NEVER
from nodeagent.wireguard.packet import ACK, FIN, RST, SYN, Segment
from nodeagent.wireguard.tcp.receiver import Receiver, WindowPool
from nodeagent.wireguard.tcp.sender import Sender
from nodeagent.wireguard.tcp.settings import Settings
from nodeagent.wireguard.tcp.wire import MASK, WINDOW_SCALE, SynOptions, decode_sack, decode_syn, encode_sack, unwrap

DELAYED_ACK = 0.02
"""Seconds a single segment may wait for its acknowledgement."""
ACK_EVERY = 2
CHALLENGE_INTERVAL = 0.05
"""Least seconds between answers to segments without data that make no sense; stops loops of acknowledgements."""

Transmit = Callable[["Connection", Segment], None]


class Phase(enum.Enum):
    """How far the connection is. Which side has closed is seen in sender and receiver."""

    SYN_SENT = enum.auto()
    SYN_RECEIVED = enum.auto()
    OPEN = enum.auto()
    TIME_WAIT = enum.auto()
    CLOSED = enum.auto()


class User(Protocol):
    """Whoever uses a connection."""

    def deliver(self, now: float) -> None:
        """Something may have come: read it, unless paused."""

    def settle(self) -> None:
        """Something may have been sent or ended: look at `unsent`, `phase`, `error`."""


class Connection:
    """Key: remote address (16 bytes), remote port, local port."""

    __slots__ = (
        "_ack_due", "_challenged_at", "_close_due", "_closed_first", "_discarded", "_discarding", "_heard_at",
        "_probes", "_settings", "_syn_options", "_transmit", "_window_from", "alarm", "error", "is_dirty", "key",
        "phase", "receiver", "sender", "user",
    )  # fmt: skip

    def __init__(
        self, key: tuple[bytes, int, int], settings: Settings, first: int, pool: WindowPool, transmit: Transmit
    ) -> None:
        self.key = key
        self.phase = Phase.CLOSED
        self.user: User | None = None
        self.error: OSError | None = None
        """Why the connection ended; None after an orderly end, and while it lives."""
        self.sender = Sender(settings, first, self._emit)
        self.receiver = Receiver(settings, pool)
        self.alarm = NEVER
        self.is_dirty = False
        self._settings = settings
        self._transmit = transmit
        self._syn_options = SynOptions(settings.segment_size, None, False)
        self._window_from = (0, 0)  # sequence and acknowledgement number of the segment that set the peer's window
        self._heard_at = 0.0
        self._probes = 0
        self._challenged_at = -NEVER
        self._ack_due = NEVER
        self._close_due = NEVER
        self._closed_first = False
        self._discarding = False
        self._discarded = False

    # -- opening -------------------------------------------------------------------------------------------------

    def connect(self, now: float) -> None:
        """Send a SYN."""
        self.phase = Phase.SYN_SENT
        self._syn_options = SynOptions(self._settings.segment_size, WINDOW_SCALE, True)
        self._heard_at = now
        self.sender.send_syn(now)

    def accept(self, now: float, syn: Segment) -> None:
        """Answer a SYN."""
        self.phase = Phase.SYN_RECEIVED
        self._close_due = now + self._settings.half_open_timeout
        self._negotiate(now, syn)
        self.sender.send_syn(now)

    def _negotiate(self, now: float, syn: Segment) -> None:
        offer = decode_syn(syn.options)
        scaled = offer.scale is not None
        self.sender.negotiate(offer.segment_size, offer.scale, offer.sack_permitted)
        self._syn_options = SynOptions(
            self._settings.segment_size, WINDOW_SCALE if scaled else None, offer.sack_permitted
        )
        seq = unwrap(syn.seq, self.sender.next)
        self.receiver.start(seq + 1, scaled)
        self._window_from = (seq, 0)
        self.sender.on_window(now, self.sender.next, syn.window)
        self._heard_at = now

    # -- what the user does --------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        return self.phase is Phase.CLOSED or self.phase is Phase.TIME_WAIT

    @property
    def at_eof(self) -> bool:
        """The peer has closed and everything before was read."""
        return self.receiver.finished and not self.receiver.unread

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue data; without effect once the connection has ended or `finish` was called."""
        if not self.sender.fin_queued and not self.is_closed:
            self.sender.unsent += data

    def finish(self) -> None:
        """Send FIN after all data."""
        self.sender.fin_queued = True

    def close(self) -> None:
        """`finish`, and read no more. Should the peer go on sending after our data has arrived, it is reset."""
        self.finish()
        self._discarding = True
        if self.phase is Phase.SYN_SENT:
            self._end(None)

    def read(self, now: float) -> bytes:
        """All bytes that have come in order."""
        return self.receiver.read(now, self.sender.round_trip.smoothed)

    def abort(self, error: OSError | None = None) -> None:
        """Reset the connection and drop everything."""
        if self.phase is Phase.OPEN or self.phase is Phase.SYN_RECEIVED:
            self._emit(self.sender.next, RST | ACK, b"")
        self.receiver.release()
        self._end(error)

    def expire(self) -> None:
        """Leave TIME_WAIT before its time."""
        self._end(None)

    def _end(self, error: OSError | None) -> None:
        self.phase = Phase.CLOSED
        self.error = self.error or error
        self.sender.release()
        self._ack_due = self._close_due = NEVER

    # -- segments in ---------------------------------------------------------------------------------------------

    def on_segment(self, now: float, segment: Segment) -> None:
        """Take a segment addressed to this connection, whatever it says (RFC 9293 3.10.7)."""
        if self.phase is Phase.CLOSED:
            return
        if self.phase is Phase.SYN_SENT:
            self._on_answer(now, segment)
            return
        flags, receiver = segment.flags, self.receiver
        seq = unwrap(segment.seq, receiver.next)
        if not self._is_acceptable(seq, segment):
            self._on_unacceptable(now, seq, segment)
            return
        self._heard_at = now
        self._probes = 0
        if flags & RST:
            self._on_reset(now, seq)
        elif flags & SYN:
            self._challenge(now)
        elif flags & ACK and self._on_ack(now, seq, segment):
            if segment.payload or flags & FIN:
                receiver.accept(seq, segment.payload, bool(flags & FIN))
            self._advance_phase(now)

    def _on_answer(self, now: float, segment: Segment) -> None:
        """To our SYN. A simultaneous open is not one: no port here is both listened on and dialled from."""
        flags = segment.flags
        if flags & ACK and segment.ack != self.sender.next & MASK:
            if not flags & RST:
                self._emit_bare_reset(segment.ack)
            return
        if not flags & ACK:
            return
        if flags & RST:
            self._end(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
        elif flags & SYN:
            self._negotiate(now, segment)
            self.sender.on_ack(now, self.sender.next, [], False)
            self.phase = Phase.OPEN
            self.receiver.ack_now = True

    def _is_acceptable(self, seq: int, segment: Segment) -> bool:
        """Whether the segment touches the window or its right edge; of a full window, only the edge is left."""
        receiver = self.receiver
        end = seq + len(segment.payload) + bool(segment.flags & FIN) + bool(segment.flags & SYN)
        if end == seq:
            return receiver.next <= seq <= max(receiver.edge, receiver.next)
        return seq <= receiver.edge and end > receiver.next

    def _on_unacceptable(self, now: float, seq: int, segment: Segment) -> None:
        """An old duplicate or nonsense: repeat what we expect."""
        flags = segment.flags
        if flags & RST:
            return
        self._heard_at = now
        if flags & SYN and self.phase is Phase.SYN_RECEIVED and seq == self.receiver.next - 1:
            self.sender.repeat_first(now)
        elif segment.payload or flags & (FIN | SYN):
            self.receiver.ack_now = True
            if self.phase is Phase.TIME_WAIT:
                self._close_due = now + self._settings.time_wait
        else:
            self._challenge(now)

    def _on_reset(self, now: float, seq: int) -> None:
        """Only a reset at exactly the expected number is believed (RFC 5961 3)."""
        if seq != self.receiver.next:
            self._challenge(now)
        elif self.phase is not Phase.TIME_WAIT:
            self._end(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def _challenge(self, now: float) -> None:
        if now - self._challenged_at >= CHALLENGE_INTERVAL:
            self._challenged_at = now
            self.receiver.ack_now = True

    def _on_ack(self, now: float, seq: int, segment: Segment) -> bool:
        """Process acknowledgement and window; False when the segment must not be processed further."""
        sender = self.sender
        ack = unwrap(segment.ack, sender.unacknowledged)
        if self.phase is Phase.SYN_RECEIVED:
            if ack != sender.next:
                self._emit_bare_reset(segment.ack)
                return False
            self.phase = Phase.OPEN
            self._close_due = NEVER
        elif not sender.oldest_acceptable_ack <= ack <= sender.next:
            self._challenge(now)
            return False
        window = segment.window << sender.scale
        has_more = bool(segment.payload) or bool(segment.flags & FIN)
        is_duplicate = ack == sender.unacknowledged and not has_more
        blocks = decode_sack(segment.options) if segment.options else []
        sender.on_ack(now, ack, blocks, is_duplicate)
        if ack >= sender.unacknowledged and (seq, ack) >= self._window_from:
            self._window_from = (seq, ack)
            sender.on_window(now, ack, window)
        return True

    def _advance_phase(self, now: float) -> None:
        """What follows from the FINs seen so far."""
        if self.phase is not Phase.OPEN:
            return
        sender, receiver = self.sender, self.receiver
        if not sender.finished:
            return
        if receiver.finished:
            if self._closed_first:
                self.phase = Phase.TIME_WAIT
                self._close_due = now + self._settings.time_wait
            else:
                self._end(None)
        elif self._discarding and self._close_due == NEVER:
            self._close_due = now + self._settings.close_timeout

    # -- segments out --------------------------------------------------------------------------------------------

    def flush(self, now: float) -> None:
        """Send what can be sent, and acknowledge what should be."""
        if self.phase is Phase.CLOSED:
            return
        if self._discarding:
            self._discard(now)
        receiver, sender = self.receiver, self.sender
        if sender.transmit(now, self.phase is Phase.OPEN):
            self._closed_first = not receiver.finished
        if self.phase is Phase.SYN_SENT or self.phase is Phase.SYN_RECEIVED:
            return
        if receiver.ack_now or receiver.pending >= ACK_EVERY or receiver.wants_window_update:
            blocks = receiver.sack_blocks() if sender.sack_permitted and receiver.has_holes else []
            self._emit(sender.next, ACK, b"", encode_sack(blocks) if blocks else b"")
            receiver.acknowledged()
        if not receiver.pending:
            self._ack_due = NEVER
        elif self._ack_due == NEVER:
            self._ack_due = now + DELAYED_ACK

    def _discard(self, now: float) -> None:
        if self.receiver.unread:
            self._discarded = True
            self.read(now)
        if self._discarded and self.sender.finished and self.phase is Phase.OPEN:
            self.abort()

    def _emit(self, seq: int, flags: int, payload: bytes, options: bytes = b"") -> None:
        receiver = self.receiver
        syn = bool(flags & SYN)
        if syn:
            options = self._syn_options.encode()
            if self.phase is Phase.SYN_RECEIVED:
                flags |= ACK
        _, remote_port, local_port = self.key
        segment = Segment(
            local_port,
            remote_port,
            seq & MASK,
            receiver.next & MASK if flags & ACK else 0,
            flags,
            receiver.advertise(syn),
            payload,
            options,
        )
        if not receiver.has_holes:
            receiver.acknowledged()
        self._transmit(self, segment)

    def _emit_bare_reset(self, seq: int) -> None:
        _, remote_port, local_port = self.key
        self._transmit(self, Segment(local_port, remote_port, seq, 0, RST, 0))

    # -- timers --------------------------------------------------------------------------------------------------

    def next_timer(self) -> float:
        """When to call `on_timer`; NEVER when nothing waits."""
        if self.phase is Phase.CLOSED:
            return NEVER
        return min(self.sender.due, self._ack_due, self._close_due, self._keepalive_due)

    @property
    def _keepalive_due(self) -> float:
        if self.phase is not Phase.OPEN or not self.sender.is_idle:
            return NEVER
        return self._heard_at + self._settings.keepalive_idle + self._probes * self._settings.keepalive_interval

    def on_timer(self, now: float) -> None:
        """Do whatever is due; `flush` sends it."""
        if self.phase is Phase.CLOSED:
            return
        if now >= self._close_due:
            self._end(None)
            return
        if now >= self._ack_due:
            self.receiver.ack_now = True
        if now >= self._keepalive_due:
            self._probe(now)
        if now >= self.sender.due and not self.sender.on_timer(now):
            self._time_out()

    def _probe(self, now: float) -> None:
        """Ask an idle peer whether it is there, by a number it has seen."""
        if self._probes >= self._settings.keepalive_probes:
            self._time_out()
            return
        self._probes += 1
        self._emit(self.sender.next - 1, ACK, b"")

    def _time_out(self) -> None:
        """Unread data stays readable."""
        if self.phase is Phase.OPEN:
            self._emit(self.sender.next, RST | ACK, b"")
        self._end(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))
