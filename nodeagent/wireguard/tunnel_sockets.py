"""Tunnels for an engine that knows UDP only: one loopback socket for each, which stands for the machine.

Each socket has a loopback address of its own, because WireGuard limits handshakes by source address.
"""

import asyncio
import contextlib
import errno
import ipaddress
import itertools
import socket

from nodeagent.wireguard.engine import Emit, TunnelTag, UdpAddress

FIRST = int(ipaddress.IPv4Address("127.64.0.1"))
SPAN = 1 << 22  # 127.64.0.1 to 127.128.0.0
PACKET = 2048


class TunnelSockets:
    """The open tunnels of one engine that listens on a UDP port of this host."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._open: dict[TunnelTag, tuple[socket.socket, Emit]] = {}
        self._tags: dict[str, TunnelTag] = {}
        self._next = itertools.count()

    def attach(self, tag: TunnelTag, emit: Emit) -> UdpAddress:
        """Open, or replace, the socket of a tunnel. The answer is where WireGuard shall send for it."""
        self._close(tag)
        link = self._bound()
        link.connect(("127.0.0.1", self._port))
        self._open[tag] = link, emit
        address: UdpAddress = link.getsockname()
        self._tags[address[0]] = tag
        self._loop.add_reader(link, self._readable, link, emit)
        return address

    def detach(self, tag: TunnelTag, emit: Emit) -> None:
        """Close the socket of a tunnel unless a newer stream has replaced it."""
        held = self._open.get(tag)
        if held is not None and held[1] == emit:
            self._close(tag)

    def feed(self, tag: TunnelTag, packet: bytes) -> None:
        """A packet of the machine, for WireGuard."""
        held = self._open.get(tag)
        if held is not None:
            with contextlib.suppress(OSError):  # a packet may be lost
                held[0].send(packet)

    def address(self, tag: TunnelTag) -> UdpAddress | None:
        """Where WireGuard sends for an open tunnel."""
        held = self._open.get(tag)
        return held[0].getsockname() if held else None

    def tag(self, endpoint: UdpAddress) -> TunnelTag | None:
        """The open tunnel behind an endpoint that WireGuard names."""
        return self._tags.get(endpoint[0])

    def close(self) -> None:
        """Close all."""
        for tag in list(self._open):
            self._close(tag)

    def _close(self, tag: TunnelTag) -> None:
        held = self._open.pop(tag, None)
        if held is not None:
            self._tags.pop(held[0].getsockname()[0], None)
            self._loop.remove_reader(held[0])
            held[0].close()

    def _bound(self) -> socket.socket:
        """A socket on the next free address."""
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.setblocking(False)
        for number in itertools.islice(self._next, SPAN):
            host = str(ipaddress.IPv4Address(FIRST + number % SPAN))
            if host not in self._tags:
                link.bind((host, 0))
                return link
        link.close()
        raise OSError(errno.EADDRNOTAVAIL, "no loopback address is free for another tunnel")

    def _readable(self, link: socket.socket, emit: Emit) -> None:
        with contextlib.suppress(OSError):  # nothing there any more, or WireGuard's port was closed
            while True:
                emit(link.recv(PACKET))
