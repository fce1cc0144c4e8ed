"""One peer of a WireGuard device: its sessions, its handshakes, its timers.

Time is whatever the caller says it is, in seconds. All timers of a peer share one alarm; the hot path only stores
when things happened.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nodeagent.wireguard import cookie, noise
from nodeagent.wireguard.deadlines import NEVER
from nodeagent.wireguard.engine import Endpoint
from nodeagent.wireguard.session import REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES, REKEY_AFTER_TIME, Session

if TYPE_CHECKING:
    from nodeagent.wireguard.device import Device

REKEY_TIMEOUT = 5.0
"""Seconds until an unanswered initiation is repeated."""
REKEY_JITTER = 0.334
REKEY_ATTEMPT_TIME = 90.0
"""Seconds of unanswered initiations after which waiting packets are dropped."""
KEEPALIVE_TIMEOUT = 10.0
"""Seconds after which received data is answered with a keepalive if nothing else was sent."""
MINIMUM_INITIATION_GAP = 0.02
"""Seconds between initiations that we answer."""
QUEUE_LENGTH = 128
"""Packets that wait for a session; the oldest are dropped."""


class Peer:
    """State of one peer. `address` is its overlay address as 16 bytes."""

    __slots__ = (
        "_answered_at", "_attempt_since", "_cookie", "_cookie_at", "_current", "_device", "_initiated_at",
        "_initiation", "_keepalive_due", "_label_seen", "_label_sent", "_next", "_persistent_due", "_previous",
        "_queue", "_rehandshake_due", "_retry_due", "_shared", "_signed_mac1", "_silent", "_traffic_at", "_wipe_due",
        "address", "alarm", "endpoint", "keepalive", "last_handshake", "public_key", "received", "sent",
    )  # fmt: skip

    def __init__(self, device: Device, public_key: bytes, address: bytes, keepalive: float | None) -> None:
        self._device = device
        self._shared = device.identity.shared_with(public_key)
        self.public_key = public_key
        self.address = address
        self.endpoint: Endpoint | None = None
        self.keepalive = keepalive
        self.alarm = NEVER
        self.last_handshake: float | None = None
        self.received = 0
        self.sent = 0
        # Sessions. The responder's new one stays in `next` until the initiator has used it.
        self._current: Session | None = None
        self._previous: Session | None = None
        self._next: Session | None = None
        self._queue: deque[bytes] | None = None
        # Our side of a handshake.
        self._initiation: noise.SentInitiation | None = None
        self._initiated_at = -NEVER
        self._attempt_since = 0.0
        self._silent = False  # a whole attempt went unanswered
        self._label_sent = 0
        self._signed_mac1 = b""  # of our last handshake message
        self._cookie = b""
        self._cookie_at = -NEVER
        # Its side.
        self._label_seen = b""
        self._answered_at = -NEVER
        # Timers.
        self._traffic_at = 0.0
        self._retry_due = NEVER
        self._keepalive_due = NEVER
        self._persistent_due = NEVER
        self._rehandshake_due = NEVER
        self._wipe_due = NEVER

    # -- what the owner does -------------------------------------------------------------------------------------

    def connect(self, now: float, endpoint: Endpoint) -> None:
        """Send to `endpoint` from now on, and shake hands at once unless there is a session."""
        self.endpoint = endpoint
        if self._current is None or self._current.is_expired(now):
            self._retry_due = NEVER
            self._silent = False
            self.initiate(now)
        self.start_keepalive(now)

    def start_keepalive(self, now: float) -> None:
        if self.keepalive:
            self._persistent_due = now + self.keepalive
            self._arm(self._persistent_due)

    def send(self, now: float, packet: bytes) -> None:
        """Send one IPv6 packet, or a keepalive when empty; without a session it waits for one."""
        session = self._current
        if session is None or session.is_expired(now):
            if packet:
                if self._queue is None:
                    self._queue = deque(maxlen=QUEUE_LENGTH)
                elif len(self._queue) == QUEUE_LENGTH:
                    self._device.counters.dropped_overload += 1
                self._queue.append(packet)
            self.initiate(now)
            return
        self._transmit(now, session.seal(packet))
        if packet and self._rehandshake_due == NEVER:
            self._rehandshake_due = now + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + self._jitter()
            self._arm(self._rehandshake_due)
        if (
            session.is_initiator and now - session.created_at >= REKEY_AFTER_TIME
        ) or session.sent >= REKEY_AFTER_MESSAGES:
            self.initiate(now)

    def close(self) -> None:
        """Forget everything secret and never ring again."""
        self._wipe()
        self._queue = None
        self._device.deadlines.disarm(self)

    # -- handshakes ----------------------------------------------------------------------------------------------

    def initiate(self, now: float) -> None:
        """Start a handshake unless one is under way; repeated by the timer until answered."""
        if self._retry_due != NEVER:
            return
        self._attempt_since = now
        if now - self._initiated_at < REKEY_TIMEOUT:
            self._retry_due = self._initiated_at + REKEY_TIMEOUT + self._jitter()
            self._arm(self._retry_due)
        else:
            self._send_initiation(now)

    def _send_initiation(self, now: float) -> None:
        self._retry_due = now + REKEY_TIMEOUT + self._jitter()
        self._arm(self._retry_due)
        if self.endpoint is None:
            return
        device = self._device
        self._initiated_at = now
        self._drop_initiation()
        self._label_sent = max(device.wall_nanoseconds(), self._label_sent + (1 << 24))
        message, self._initiation = noise.create_initiation(
            device.identity,
            self.public_key,
            self._shared,
            device.reserve_index(self),
            noise.timestamp(self._label_sent),
            X25519PrivateKey.generate(),
        )
        self._transmit_signed(now, message)

    def on_response(self, now: float, message: bytes, source: Endpoint) -> None:
        """An answer to our initiation. Raises InvalidMessage."""
        initiation = self._initiation
        if initiation is None:
            raise noise.InvalidMessage
        session = Session(noise.read_response(self._device.identity, initiation, message), now)
        self._initiation = None
        self._retry_due = NEVER
        self._note_authentic(now, message, source)
        self._release(self._previous)
        if self._next is not None:
            self._release(self._current)
            self._previous, self._next = self._next, None
        else:
            self._previous = self._current
        self._current = session
        self._device.use_index(session.local_index, self, session)
        self._note_handshake(now)
        if not self._send_waiting(now):
            self.send(now, b"")  # the responder may not speak before we did

    def on_initiation(self, now: float, initiation: noise.ReceivedInitiation, message: bytes, source: Endpoint) -> None:
        """An initiation in this peer's name. Raises InvalidMessage when it is forged, replayed, or too soon."""
        label = initiation.authenticate(self._shared)
        if label <= self._label_seen or now - self._answered_at < MINIMUM_INITIATION_GAP:
            raise noise.InvalidMessage
        self._label_seen, self._answered_at = label, now
        self._note_authentic(now, message, source)
        self._release(self._next)
        self._release(self._previous)
        self._previous = None
        index = self._device.reserve_index(self)
        response, keys = noise.create_response(initiation, index, X25519PrivateKey.generate())
        self._next = Session(keys, now)
        self._device.use_index(index, self, self._next)
        self._transmit_signed(now, response)
        self._schedule_wipe(now)

    def on_cookie(self, now: float, message: bytes) -> None:
        """The peer is under load: prove our address in the next handshake message. Raises InvalidMessage."""
        self._cookie = cookie.open_cookie_reply(message, self.public_key, self._signed_mac1)
        self._cookie_at = now

    def _note_handshake(self, now: float) -> None:
        self.last_handshake = self._device.wall_nanoseconds() / 1e9
        self._device.counters.handshakes += 1
        self._schedule_wipe(now)
        self.start_keepalive(now)

    # -- data ----------------------------------------------------------------------------------------------------

    def on_data(self, now: float, session: Session, message: bytes, has_packet: bool, source: Endpoint) -> None:
        """An authentic, fresh data message came in this session."""
        self._note_authentic(now, message, source)
        if session is self._next:
            self._release(self._previous)
            self._previous, self._current, self._next = self._current, session, None
            self._retry_due = NEVER
            self._note_handshake(now)
            self._send_waiting(now)
        if session.is_initiator and now - session.created_at >= REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT:
            self.initiate(now)
        if has_packet and self._keepalive_due == NEVER:
            self._keepalive_due = now + KEEPALIVE_TIMEOUT
            self._arm(self._keepalive_due)

    def _note_authentic(self, now: float, message: bytes, source: Endpoint) -> None:
        self.received += len(message)
        self.endpoint = source
        self._traffic_at = now
        self._silent = False
        self._rehandshake_due = NEVER

    def _send_waiting(self, now: float) -> bool:
        waiting, self._queue = self._queue, None
        for packet in waiting or ():
            self.send(now, packet)
        return bool(waiting)

    def _transmit(self, now: float, message: bytes) -> None:
        self.sent += len(message)
        self._traffic_at = now
        self._keepalive_due = NEVER
        if self.endpoint is not None:
            self._device.transmit(message, self.endpoint)

    def _transmit_signed(self, now: float, message: bytes) -> None:
        """Send a handshake message."""
        fresh = now - self._cookie_at < cookie.COOKIE_LIFE
        signed = cookie.sign(message, self.public_key, self._cookie if fresh else None)
        self._signed_mac1 = cookie.mac1_of(signed)
        self._transmit(now, signed)

    # -- timers --------------------------------------------------------------------------------------------------

    def on_alarm(self, now: float) -> None:
        """Do what is due, and set the alarm for what comes next."""
        if now >= self._retry_due:
            self._retry(now)
        if now >= self._keepalive_due:
            self._keepalive_due = NEVER
            self.send(now, b"")
        if now >= self._rehandshake_due:
            self._rehandshake_due = NEVER
            self.initiate(now)
        if now >= self._persistent_due and self.keepalive:
            if now >= self._traffic_at + self.keepalive:
                if self.endpoint is not None:
                    self.send(now, b"")
                self._persistent_due = now + self.keepalive
            else:
                self._persistent_due = self._traffic_at + self.keepalive
        if now >= self._wipe_due:
            self._wipe()
        self._arm(
            min(self._retry_due, self._keepalive_due, self._rehandshake_due, self._persistent_due, self._wipe_due)
        )

    def _retry(self, now: float) -> None:
        """A peer that was silent for a whole attempt gets single initiations, with each keepalive or new packet."""
        if not self._silent and now - self._attempt_since < REKEY_ATTEMPT_TIME:
            self._send_initiation(now)
            return
        self._silent = True
        self._retry_due = NEVER
        self._drop_initiation()
        if self._queue:
            self._device.counters.dropped_overload += len(self._queue)
        self._queue = None
        if self._wipe_due == NEVER:
            self._schedule_wipe(now)

    def _schedule_wipe(self, now: float) -> None:
        self._wipe_due = now + 3 * REJECT_AFTER_TIME
        self._arm(self._wipe_due)

    def _wipe(self) -> None:
        for session in (self._current, self._previous, self._next):
            self._release(session)
        self._current = self._previous = self._next = None
        self._drop_initiation()
        self._wipe_due = NEVER

    def _drop_initiation(self) -> None:
        if self._initiation is not None:
            self._device.release_index(self._initiation.index)
            self._initiation = None

    def _release(self, session: Session | None) -> None:
        if session is not None:
            self._device.release_index(session.local_index)

    def _arm(self, at: float) -> None:
        if at < self.alarm:
            self._device.deadlines.arm(self, at)

    def _jitter(self) -> float:
        return self._device.random.random() * REKEY_JITTER
