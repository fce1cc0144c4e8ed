"""The asyncio face of a TCP connection inside the link: `asyncio.Transport` as a kernel socket would give it."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

from nodeagent.wireguard.stack import Stack
from nodeagent.wireguard.tcp.connection import Connection, Phase

HIGH_WATER = 256 << 10
"""Unsent bytes above which the protocol is asked to pause."""


class TcpTransport(asyncio.Transport):
    """Differs from a socket's transport in one thing, for the better: after `close`, `connection_lost` comes when the
    peer has acknowledged everything, so its argument tells whether it did.

    `connection_lost` comes after all data and the end of the stream were handed over, even to a protocol that has
    paused reading; only a protocol that closes, aborts, or writes to a broken connection gives up unread data.
    """

    __slots__ = (
        "_closing", "_connection", "_eof_given", "_eof_written", "_high", "_is_buffered", "_loop", "_lost", "_low",
        "_made", "_protocol", "_reading_paused", "_stack", "_waiter", "_wake", "_writing_paused",
    )  # fmt: skip

    _start_tls_compatible = True

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stack: Stack,
        connection: Connection,
        protocol: asyncio.BaseProtocol,
        wake: Callable[[], None],
        waiter: asyncio.Future[None] | None = None,
    ) -> None:
        """`wake` has `stack.flush` called soon; `waiter` learns whether the connection opened."""
        super().__init__()
        self._loop = loop
        self._stack = stack
        self._connection = connection
        self._wake = wake
        self._waiter = waiter
        self._high = HIGH_WATER
        self._low = HIGH_WATER // 4
        self._made = False
        self._lost = False
        self._closing = False
        self._eof_given = False
        self._eof_written = False
        self._reading_paused = False
        self._writing_paused = False
        self.set_protocol(protocol)
        connection.user = self

    # -- what the stack calls ------------------------------------------------------------------------------------

    def deliver(self, now: float) -> None:
        """Hand over what came, unless the protocol does not want it now."""
        connection = self._connection
        if self._lost or (not self._made and not self._open()):
            return
        if connection.receiver.unread and self._is_hungry:
            self._guard(self._feed, connection.read(now))
        if connection.at_eof and self._is_hungry and not self._eof_given:
            self._eof_given = True
            if not self._guard(self._protocol.eof_received):  # type: ignore[attr-defined]
                self.close()

    def settle(self) -> None:
        """Let the protocol write on, or tell it that the connection ended."""
        connection = self._connection
        if self._lost or not self._made:
            return
        if connection.is_closed or (self._closing and connection.sender.finished):
            if self._is_over:
                self._lose(connection.error)
        elif self._writing_paused and len(connection.sender.unsent) <= self._low:
            self._writing_paused = False
            self._guard(self._protocol.resume_writing)

    def _open(self) -> bool:
        """See whether the handshake is complete."""
        connection = self._connection
        if connection.phase is Phase.SYN_SENT:
            return False
        waiter = self._waiter
        if connection.phase is Phase.CLOSED and not connection.receiver.unread:
            self._lost = self._closing = True
            if waiter is not None and not waiter.done():
                waiter.set_exception(connection.error or ConnectionAbortedError(errno.ECONNABORTED, "Closed"))
            return False
        self._made = True
        self._guard(self._protocol.connection_made, self)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        return True

    @property
    def _is_hungry(self) -> bool:
        return not (self._reading_paused or self._closing or self._lost)

    @property
    def _is_over(self) -> bool:
        """A closed connection with nothing left to hand over, or nobody left to hand it to."""
        connection = self._connection
        if self._closing:
            return True
        if connection.error is not None and self._writing_paused:
            return True  # whoever waits to write would wait forever
        if connection.receiver.unread:
            return False
        return self._eof_given or not connection.receiver.finished

    def _lose(self, error: OSError | None) -> None:
        self._lost = True
        self._closing = True
        self._connection.user = None
        if self._connection.phase is Phase.CLOSED:
            self._stack.forget(self._connection)
        try:
            self._protocol.connection_lost(error)
        except Exception as failure:
            self._report(failure)

    def _feed(self, data: bytes) -> None:
        if not self._is_buffered:
            self._protocol.data_received(data)  # type: ignore[attr-defined]
            return
        rest = memoryview(data)
        while rest:
            buffer = memoryview(self._protocol.get_buffer(len(rest)))  # type: ignore[attr-defined]
            size = min(len(buffer), len(rest))
            if not size:
                raise RuntimeError("get_buffer() returned an empty buffer")
            buffer[:size] = rest[:size]
            self._protocol.buffer_updated(size)  # type: ignore[attr-defined]
            rest = rest[size:]

    def _guard(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call into the protocol; its failure costs this connection only."""
        try:
            return call(*arguments)
        except Exception as failure:
            self._report(failure)
            self.abort()
            return True

    def _report(self, failure: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": "Protocol of an overlay connection failed",
                "exception": failure,
                "transport": self,
                "protocol": self._protocol,
            }
        )

    def _touch(self) -> None:
        self._stack.touch(self._connection)
        self._wake()

    # -- asyncio.Transport ---------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        remote, remote_port, local_port = self._connection.key
        peer = socket.inet_ntop(socket.AF_INET6, remote)
        return f"<TcpTransport {self._connection.phase.name} :{local_port} - [{peer}]:{remote_port}>"

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`peername` and `sockname`, as of an IPv6 socket."""
        remote, remote_port, local_port = self._connection.key
        if name == "peername":
            return socket.inet_ntop(socket.AF_INET6, remote), remote_port, 0, 0
        if name == "sockname":
            return socket.inet_ntop(socket.AF_INET6, self._stack.address), local_port, 0, 0
        return default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._is_buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._reading_paused and not self._closing

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._touch()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be at least low ({low}), and low at least 0")
        self._high, self._low = high, low
        self._pause_writing_if_full()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes not yet sent; those under way do not count."""
        return len(self._connection.sender.unsent)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self._closing:
            return
        connection = self._connection
        if connection.is_closed:
            self._closing = True  # broken: like a socket, give up what was not read
        connection.write(data)
        self._touch()
        self._pause_writing_if_full()

    def _pause_writing_if_full(self) -> None:
        if len(self._connection.sender.unsent) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._guard(self._protocol.pause_writing)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._closing or self._eof_written:
            return
        self._eof_written = True
        self._connection.finish()
        self._touch()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._connection.close()
            self._touch()

    def abort(self) -> None:
        self._force_close(None)

    def _force_close(self, error: OSError | None) -> None:
        """Also what asyncio's TLS layer calls when it fails."""
        if self._lost:
            return
        self._closing = True
        self._connection.abort(error)
        self._touch()
