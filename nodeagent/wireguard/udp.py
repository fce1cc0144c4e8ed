"""Many datagrams per wake-up, many per system call."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from nodeagent.wireguard.engine import Counters, UdpAddress

BATCH = 64
"""Datagrams read before the loop may turn to something else."""
QUEUE = 256
"""Datagrams gathered before they are sent anyway."""
BUFFER = 4 << 20
"""Kernel buffer asked for, each way; without privileges the kernel grants at most `net.core.rmem_max`."""

_LARGEST_DATAGRAM = 2048
_SEGMENTS = 64
_SEGMENTED_SIZE = 65000
_SOL_UDP, _UDP_SEGMENT = 17, 103
_UNSUPPORTED = {errno.EIO, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOPROTOOPT}
_MAPPED = "::ffff:"

SocketAddress = tuple[Any, ...]


class UdpSocket:
    """A bound socket on an event loop.

    Addresses inside are the kernel's tuples, so that the hot path makes none; `from_kernel` and `to_kernel` translate.
    Runs of datagrams of one size to one address are sent as one (UDP_SEGMENT) where the kernel can.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        bind: UdpAddress,
        on_datagram: Callable[[float, bytes, SocketAddress], None],
        on_batch: Callable[[], None],
        counters: Counters,
    ) -> None:
        """Host `::` takes IPv4 too. Raises OSError when the address cannot be bound."""
        self._loop = loop
        self._on_datagram = on_datagram
        self._on_batch = on_batch
        self._counters = counters
        self._queue: list[tuple[bytes, SocketAddress]] = []
        self._can_segment = sys.platform == "linux"
        self._family = socket.AF_INET6 if ":" in bind[0] else socket.AF_INET
        self._socket = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
            if self._family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self._socket.bind(bind)
        except OSError:
            self._socket.close()
            raise
        self.address: UdpAddress = self._socket.getsockname()[:2]
        loop.add_reader(self._socket.fileno(), self._read)

    def to_kernel(self, address: UdpAddress) -> SocketAddress:
        """Raises ValueError unless the host is a numeric address that this socket can reach."""
        host, port = address
        if self._family == socket.AF_INET6 and ":" not in host:
            host = _MAPPED + host
        try:
            ((_, _, _, _, found),) = socket.getaddrinfo(
                host, port, self._family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST
            )
        except OSError:
            raise ValueError(f"{address[0]!r} is no numeric address that this endpoint can reach") from None
        return found

    @staticmethod
    def from_kernel(address: SocketAddress) -> UdpAddress:
        return address[0].removeprefix(_MAPPED), address[1]

    def _read(self) -> None:
        receive, take, now = self._socket.recvfrom, self._on_datagram, self._loop.time()
        count = 0
        while count < BATCH:
            try:
                datagram, source = receive(_LARGEST_DATAGRAM)
            except OSError:
                break  # empty, or an error that an earlier send left behind: the loop comes back if there is more
            count += 1
            take(now, datagram, source)
        self._counters.datagrams_received += count
        self._on_batch()

    def send(self, datagram: bytes, address: SocketAddress) -> None:
        """Queue a datagram for `flush`; it may get lost."""
        self._queue.append((datagram, address))
        if len(self._queue) >= QUEUE:
            self.flush()

    def flush(self) -> None:
        queue = self._queue
        if not queue:
            return
        self._queue = []
        start = 0
        while start < len(queue):
            end = self._run(queue, start) if self._can_segment else start + 1
            try:
                if end - start == 1:
                    self._socket.sendto(*queue[start])
                else:
                    size = struct.pack("=H", len(queue[start][0]))
                    datagrams = [datagram for datagram, _ in queue[start:end]]
                    self._socket.sendmsg(datagrams, [(_SOL_UDP, _UDP_SEGMENT, size)], 0, queue[start][1])
                self._counters.datagrams_sent += end - start
            except OSError as error:
                if end - start > 1 and error.errno in _UNSUPPORTED:
                    self._can_segment = False
                    continue
                self._counters.datagrams_unsent += end - start
            start = end

    @staticmethod
    def _run(queue: list[tuple[bytes, SocketAddress]], start: int) -> int:
        """One past the last datagram that can go with the first: same address, same size except a shorter last."""
        datagram, address = queue[start]
        size = total = len(datagram)
        end = start + 1
        limit = min(len(queue), start + _SEGMENTS)
        while end < limit:
            datagram, other = queue[end]
            following = len(datagram)
            total += following
            if following > size or total > _SEGMENTED_SIZE or (other is not address and other != address):
                break
            end += 1
            if following < size:
                break
        return end

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
