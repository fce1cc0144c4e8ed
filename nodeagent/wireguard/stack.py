"""The IPv6 host at one end of a link: which packets are let in, and which TCP connection they belong to.

Pure like what it is made of: packets and the time go in, packets come out through `output`.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from nodeagent.wireguard.deadlines import Deadlines
from nodeagent.wireguard.engine import Counters
from nodeagent.wireguard.packet import (
    ACK,
    FIN,
    ICMPV6,
    RST,
    SYN,
    TCP,
    Route,
    Segment,
    answer_echo,
    decode_tcp,
    encode_tcp,
    inner_packet,
)
from nodeagent.wireguard.tcp.connection import Connection, Phase
from nodeagent.wireguard.tcp.receiver import WindowPool
from nodeagent.wireguard.tcp.settings import Settings
from nodeagent.wireguard.tcp.wire import MASK, unwrap

FIRST_EPHEMERAL, LAST_EPHEMERAL = 49152, 65535

Output = Callable[[bytes, bytes], None]
"""Takes the overlay address of a peer (16 bytes) and an IPv6 packet for it."""
Opened = Callable[[Connection], None]
"""Takes a connection whose handshake is complete; must set its `user`."""
Key = tuple[bytes, int, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may make us hold. A machine is authenticated, but not trusted."""

    connections: int = 256
    half_open: int = 64
    window_pool: int = 8 << 20
    """Bytes by which the receive windows of all its connections together may grow."""


@dataclass(slots=True)
class _Usage:
    """What one peer makes us hold."""

    route: Route
    pool: WindowPool
    connections: set[Connection] = field(default_factory=set)
    lingering: dict[Connection, None] = field(default_factory=dict)
    """Those in TIME_WAIT, oldest first: given up early when the peer needs the room."""
    half_open: set[Connection] = field(default_factory=set)


@dataclass(slots=True)
class StackListener:
    """A port that accepts connections. `admit` sees the peer's address as 16 bytes."""

    port: int
    opened: Opened
    admit: Callable[[bytes], bool] | None
    _listeners: dict[int, StackListener]

    def close(self) -> None:
        if self._listeners.get(self.port) is self:
            del self._listeners[self.port]


class Stack:
    """TCP and ICMPv6 echo for one local address (16 bytes).

    After a batch of `receive`, and after the users of connections did something, `flush` must be called; at
    `deadlines.next()`, `tick` and then `flush`.
    """

    def __init__(
        self,
        address: bytes,
        output: Output,
        settings: Settings | None = None,
        limits: Limits | None = None,
        counters: Counters | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.address = address
        self.output = output
        self.settings = settings or Settings()
        self.limits = limits or Limits()
        self.counters = counters or Counters()
        self.deadlines: Deadlines[Connection] = Deadlines()
        self.connections: dict[Key, Connection] = {}
        self._listeners: dict[int, StackListener] = {}
        self._usage: dict[bytes, _Usage] = {}
        self._dirty: list[Connection] = []
        self._random = rng or random.SystemRandom()
        self._next_ephemeral = FIRST_EPHEMERAL

    # -- packets -------------------------------------------------------------------------------------------------

    def receive(self, now: float, remote: bytes, plaintext: bytes) -> None:
        """Take what the peer with overlay address `remote` sent.

        Its own address must be the source and ours the destination: this keeps machines apart from each other.
        """
        packet = inner_packet(plaintext)
        if packet is None:
            self.counters.dropped_malformed += 1
        elif packet[8:24] != remote or packet[24:40] != self.address:
            self.counters.dropped_policy += 1
        elif packet[6] == TCP:
            segment = decode_tcp(packet)
            if segment is None:
                self.counters.dropped_malformed += 1
            else:
                self._receive_segment(now, remote, segment)
        elif packet[6] == ICMPV6:
            reply = answer_echo(packet, Route(self.address, remote))
            if reply is not None:
                self.output(remote, reply)

    def _receive_segment(self, now: float, remote: bytes, segment: Segment) -> None:
        connection = self.connections.get((remote, segment.source, segment.destination))
        if connection is not None and _is_reopened(connection, segment):
            connection.expire()
            self._remove(connection)
            connection = None
        if connection is None:
            self._receive_stray(now, remote, segment)
            return
        was_half_open = connection.phase is Phase.SYN_RECEIVED
        connection.on_segment(now, segment)
        self.touch(connection)
        if was_half_open and connection.phase is not Phase.SYN_RECEIVED:
            self._usage[remote].half_open.discard(connection)
            listener = self._listeners.get(segment.destination)
            if connection.phase is Phase.CLOSED:
                return
            if listener is None:
                connection.abort()
            else:
                self.counters.connections_opened += 1
                listener.opened(connection)

    def _receive_stray(self, now: float, remote: bytes, segment: Segment) -> None:
        """A segment of no connection: a new one, or answered with a reset (RFC 9293 3.10.7.1)."""
        flags = segment.flags
        if flags & RST:
            return
        if flags & ACK:
            self._reset(remote, segment, segment.ack, None)
            return
        listener = self._listeners.get(segment.destination)
        if flags & SYN and listener is not None and (listener.admit is None or listener.admit(remote)):
            self._accept(now, remote, segment)
            return
        self.counters.connections_refused += 1
        occupied = len(segment.payload) + bool(flags & SYN) + bool(flags & FIN)
        self._reset(remote, segment, 0, segment.seq + occupied)

    def _accept(self, now: float, remote: bytes, syn: Segment) -> None:
        """Beyond its limits a peer is not answered, so that it tries again."""
        usage = self._usage_of(remote)
        if len(usage.connections) >= self.limits.connections and usage.lingering:
            oldest = next(iter(usage.lingering))
            oldest.expire()
            self._remove(oldest)
            usage = self._usage_of(remote)
        if len(usage.connections) >= self.limits.connections or len(usage.half_open) >= self.limits.half_open:
            self.counters.dropped_overload += 1
            return
        connection = self._create((remote, syn.source, syn.destination), usage)
        usage.half_open.add(connection)
        connection.accept(now, syn)
        self.touch(connection)

    def _reset(self, remote: bytes, segment: Segment, seq: int, ack: int | None) -> None:
        flags = RST if ack is None else RST | ACK
        answer = Segment(segment.destination, segment.source, seq & MASK, (ack or 0) & MASK, flags, 0)
        self.output(remote, encode_tcp(Route(self.address, remote), answer))

    def _transmit(self, connection: Connection, segment: Segment) -> None:
        remote = connection.key[0]
        usage = self._usage.get(remote)
        route = usage.route if usage is not None else Route(self.address, remote)
        self.output(remote, encode_tcp(route, segment))

    # -- connections ---------------------------------------------------------------------------------------------

    def connect(self, now: float, remote: bytes, port: int) -> Connection:
        """Begin to open a connection; its user sees it become OPEN or CLOSED. Raises OSError without a free port."""
        for _ in range(LAST_EPHEMERAL - FIRST_EPHEMERAL + 1):
            key = (remote, port, self._next_ephemeral)
            self._next_ephemeral += 1
            if self._next_ephemeral > LAST_EPHEMERAL:
                self._next_ephemeral = FIRST_EPHEMERAL
            if key not in self.connections:
                break
        else:
            raise OSError(errno.EADDRNOTAVAIL, "All local ports to this service of the machine are in use")
        connection = self._create(key, self._usage_of(remote))
        connection.connect(now)
        self.touch(connection)
        return connection

    def listen(self, port: int, opened: Opened, admit: Callable[[bytes], bool] | None = None) -> StackListener:
        """Accept connections. Raises OSError when the port is taken."""
        if port in self._listeners:
            raise OSError(errno.EADDRINUSE, f"Port {port} of the overlay address is already listened on")
        listener = self._listeners[port] = StackListener(port, opened, admit, self._listeners)
        return listener

    def drop(self, remote: bytes) -> None:
        """The peer goes: reset its connections."""
        usage = self._usage.get(remote)
        for connection in list(usage.connections) if usage else ():
            connection.abort(ConnectionAbortedError(errno.ECONNABORTED, "The machine's link was removed"))
            self.touch(connection)

    def touch(self, connection: Connection) -> None:
        """The next `flush` looks at this connection."""
        if not connection.is_dirty:
            connection.is_dirty = True
            self._dirty.append(connection)

    def tick(self, now: float) -> None:
        """Do whatever is due."""
        for connection in self.deadlines.due(now):
            connection.on_timer(now)
            self.touch(connection)

    def flush(self, now: float) -> None:
        """Hand over what came, then send, for every connection that something happened to."""
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for connection in dirty:
                connection.is_dirty = False
                user = connection.user
                if user is not None:
                    user.deliver(now)
                connection.flush(now)
                if user is not None:
                    user.settle()
                self._settle(connection)

    @property
    def needs_flush(self) -> bool:
        return bool(self._dirty)

    def _settle(self, connection: Connection) -> None:
        if connection.phase is Phase.CLOSED:
            self._remove(connection)
            return
        if connection.phase is Phase.TIME_WAIT:
            self._usage[connection.key[0]].lingering.setdefault(connection)
        at = connection.next_timer()
        if at < connection.alarm:
            self.deadlines.arm(connection, at)

    def _create(self, key: Key, usage: _Usage) -> Connection:
        first = self._random.getrandbits(32)
        connection = Connection(key, self.settings, first, usage.pool, self._transmit)
        self.connections[key] = connection
        usage.connections.add(connection)
        return connection

    def _usage_of(self, remote: bytes) -> _Usage:
        usage = self._usage.get(remote)
        if usage is None:
            usage = self._usage[remote] = _Usage(Route(self.address, remote), WindowPool(self.limits.window_pool))
        return usage

    def _remove(self, connection: Connection) -> None:
        """Stop demultiplexing to it. Memory counts until the user has read what is left."""
        self.deadlines.disarm(connection)
        if self.connections.get(connection.key) is connection:
            del self.connections[connection.key]
            self.counters.segments_retransmitted += connection.sender.retransmissions
            self.counters.connections_reset += connection.error is not None
        if connection.user is None or not connection.receiver.unread:
            self.forget(connection)

    def forget(self, connection: Connection) -> None:
        """Its user has seen the end of a closed connection."""
        remote = connection.key[0]
        usage = self._usage.get(remote)
        if usage is None or connection not in usage.connections:
            return
        connection.receiver.release()
        usage.connections.remove(connection)
        usage.half_open.discard(connection)
        usage.lingering.pop(connection, None)
        if not usage.connections:
            del self._usage[remote]


def _is_reopened(connection: Connection, segment: Segment) -> bool:
    """A SYN beyond the last number of a connection in TIME_WAIT begins a new one (RFC 9293 3.10.7.4)."""
    if connection.phase is not Phase.TIME_WAIT or segment.flags & (SYN | ACK | RST) != SYN:
        return False
    return unwrap(segment.seq, connection.receiver.next) > connection.receiver.next
