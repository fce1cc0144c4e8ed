"""A WireGuard device without a socket or a clock.

Datagrams and the time go in, datagrams and decrypted IPv6 packets come out through two callbacks. One device has one
identity and any number of peers, and plays both roles of the handshake.
"""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Callable

from nodeagent.wireguard import cookie, noise
from nodeagent.wireguard.deadlines import Deadlines
from nodeagent.wireguard.engine import Counters, Endpoint
from nodeagent.wireguard.peer import Peer
from nodeagent.wireguard.session import DATA, DATA_HEADER_SIZE, REJECT_AFTER_TIME, Session

INITIATIONS_BEFORE_LOAD = 200
"""Initiations per second after which senders must prove their address with a cookie."""
INITIATIONS_PER_SOURCE = 100
"""Initiations per second that one address gets answered under load."""

_RANDOM = random.Random()  # noqa: S311 - jitter and indices; its state is 2.5 kB, so all devices share it
_KEEPALIVE_SIZE = DATA_HEADER_SIZE + 16
_unpack_data = struct.Struct("<IIQ").unpack_from
_unpack_index = struct.Struct("<I").unpack_from


class Device:
    """Encrypts packets to peers and decrypts datagrams from them.

    `transmit(datagram, endpoint)` sends; `deliver(now, peer, packet)` takes an authenticated plaintext, zero-padded,
    that is not yet checked to be an IPv6 packet of that peer.
    """

    def __init__(
        self,
        identity: noise.Identity,
        transmit: Callable[[bytes, Endpoint], None],
        deliver: Callable[[float, Peer, bytes], None],
        counters: Counters | None = None,
        wall_nanoseconds: Callable[[], int] = time.time_ns,
        rng: random.Random | None = None,
    ) -> None:
        self.identity = identity
        self.transmit = transmit
        self.deliver = deliver
        self.counters = counters or Counters()
        self.wall_nanoseconds = wall_nanoseconds
        self.random = rng or _RANDOM
        self.peers: dict[bytes, Peer] = {}
        self.deadlines: Deadlines[Peer] = Deadlines()
        self._indices: dict[int, tuple[Peer, Session | None]] = {}
        self._mac1_key = cookie.mac1_key(identity.public)
        self._jar = cookie.CookieJar(identity.public, os.urandom)
        self._second = 0
        self._initiations = 0
        self._per_source: dict[Endpoint, int] = {}

    def add_peer(self, public_key: bytes, address: bytes, keepalive: float | None = None) -> Peer:
        """Raises ValueError for bytes that are no usable public key."""
        peer = self.peers[public_key] = Peer(self, public_key, address, keepalive)
        return peer

    def remove_peer(self, public_key: bytes) -> None:
        self.peers.pop(public_key).close()

    def tick(self, now: float) -> None:
        """Do whatever is due; call at `deadlines.next()` or a little later."""
        for peer in self.deadlines.due(now):
            peer.on_alarm(now)

    def receive(self, now: float, datagram: bytes, source: Endpoint) -> None:
        """Take one datagram from the network, whatever it holds."""
        size = len(datagram)
        kind = datagram[0] if size >= _KEEPALIVE_SIZE else 0
        if kind == DATA:
            self._receive_data(now, datagram, source)
        elif kind == noise.INITIATION and size == noise.INITIATION_SIZE:
            self._receive_handshake(now, datagram, source, self._receive_initiation)
        elif kind == noise.RESPONSE and size == noise.RESPONSE_SIZE:
            self._receive_handshake(now, datagram, source, self._receive_response)
        elif kind == cookie.COOKIE_REPLY and size == cookie.COOKIE_REPLY_SIZE:
            self._receive_handshake(now, datagram, source, self._receive_cookie)
        else:
            self.counters.dropped_malformed += 1

    # -- indices: how a datagram finds its session ---------------------------------------------------------------

    def reserve_index(self, peer: Peer) -> int:
        """A fresh local index for a handshake."""
        while (index := self.random.getrandbits(32)) in self._indices:
            pass
        self._indices[index] = (peer, None)
        return index

    def use_index(self, index: int, peer: Peer, session: Session) -> None:
        """The handshake became a session."""
        self._indices[index] = (peer, session)

    def release_index(self, index: int) -> None:
        self._indices.pop(index, None)

    # -- messages ------------------------------------------------------------------------------------------------

    def _receive_data(self, now: float, datagram: bytes, source: Endpoint) -> None:
        kind, index, counter = _unpack_data(datagram)
        if kind != DATA:
            self.counters.dropped_malformed += 1
            return
        peer, session = self._indices.get(index, (None, None))
        if peer is None or session is None or now - session.created_at >= REJECT_AFTER_TIME:
            self.counters.dropped_unauthenticated += 1
            return
        packet = session.open(datagram)
        if packet is None:
            self.counters.dropped_unauthenticated += 1
            return
        if session.is_replay(counter):
            self.counters.dropped_replayed += 1
            return
        peer.on_data(now, session, datagram, bool(packet), source)
        if packet:
            self.deliver(now, peer, packet)

    def _receive_handshake(
        self, now: float, message: bytes, source: Endpoint, read: Callable[[float, bytes, Endpoint], None]
    ) -> None:
        if message[1] | message[2] | message[3]:
            self.counters.dropped_malformed += 1
            return
        try:
            read(now, message, source)
        except noise.InvalidMessage:
            self.counters.dropped_unauthenticated += 1

    def _receive_initiation(self, now: float, message: bytes, source: Endpoint) -> None:
        if not cookie.has_valid_mac1(message, self._mac1_key):
            raise noise.InvalidMessage
        if not self._has_capacity(now, message, source):
            self.counters.dropped_overload += 1
            return
        initiation = noise.read_initiation(self.identity, message)
        peer = self.peers.get(initiation.static)
        if peer is None:
            raise noise.InvalidMessage
        peer.on_initiation(now, initiation, message, source)

    def _receive_response(self, now: float, message: bytes, source: Endpoint) -> None:
        if not cookie.has_valid_mac1(message, self._mac1_key):
            raise noise.InvalidMessage
        peer, session = self._indices.get(_unpack_index(message, 8)[0], (None, None))
        if peer is None or session is not None:
            raise noise.InvalidMessage
        peer.on_response(now, message, source)

    def _receive_cookie(self, now: float, message: bytes, source: Endpoint) -> None:
        peer, _ = self._indices.get(_unpack_index(message, 4)[0], (None, None))
        if peer is None:
            raise noise.InvalidMessage
        peer.on_cookie(now, message)

    def _has_capacity(self, now: float, message: bytes, source: Endpoint) -> bool:
        """Under load, only a sender that proved its address gets an answer, and no address gets all of them."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._initiations = 0
            self._per_source.clear()
        self._initiations += 1
        if self._initiations <= INITIATIONS_BEFORE_LOAD:
            return True
        expected = self._jar.cookie(now, repr(source).encode())
        if not cookie.has_valid_mac2(message, expected):
            self.counters.cookies_sent += 1
            self.transmit(self._jar.reply(message, expected), source)
            return False
        host = source if isinstance(source, str) else source[0]
        answered = self._per_source.get(host, 0)
        self._per_source[host] = answered + 1
        return answered < INITIATIONS_PER_SOURCE
