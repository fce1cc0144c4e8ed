"""The engine on a network interface: the kernel's WireGuard, or `wireguard-go` on a TUN device.

Faster over long lossy paths than the userspace engine and needs NET_ADMIN. Peers are set with `wg`; connections are the
kernel's, bound to the interface so that no other one can bring or take them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Self
from weakref import WeakSet

from nodeagent.sockets import RESET, reset
from nodeagent.wireguard import device_link, streams, wg
from nodeagent.wireguard.addresses import packed, text
from nodeagent.wireguard.device_link import DeviceProcess, Kind
from nodeagent.wireguard.engine import (
    DIAL_TIMEOUT,
    KEEPALIVE,
    Admit,
    Counters,
    Emit,
    Endpoint,
    Listener,
    P,
    PeerState,
    StreamHandler,
    TunnelTag,
    UdpAddress,
)
from nodeagent.wireguard.noise import KEY_SIZE, Identity
from nodeagent.wireguard.tunnel_sockets import TunnelSockets

BACKLOG = 1024
ACCEPT_PAUSE = 0.1
"""Seconds to wait when a connection cannot be accepted, e.g. for want of file descriptors."""

log = logging.getLogger(__name__)


class InterfaceEngine:
    """Implements `Engine`. Made by `open`, inside a running event loop, and used only there."""

    def __init__(self, kind: Kind, interface: str, public_key: bytes, address: str, port: int) -> None:
        self.name = kind.value
        self._interface, self._public_key, self._address, self._port = interface, public_key, address, port
        self._loop = asyncio.get_running_loop()
        self._process: DeviceProcess | None = None
        self._addresses: dict[bytes, str] = {}
        self._keys: dict[str, bytes] = {}
        self._tags: dict[bytes, TunnelTag] = {}
        self._tunnels = TunnelSockets(port)
        self._transports: defaultdict[str, WeakSet[asyncio.Transport]] = defaultdict(WeakSet)
        self._lock = asyncio.Lock()
        self._pointing: set[asyncio.Task[None]] = set()
        self._counters = Counters()
        self._closing = False

    @classmethod
    async def open(cls, kind: Kind, interface: str, private_key: bytes, address: str, port: int) -> Self:
        """Make the interface and its filter. Raises ValueError for a bad key, OSError when it cannot be made."""
        self = cls(kind, interface, Identity(private_key).public, address, port)
        self._process = await device_link.create(kind, interface, private_key, address, port)
        return self

    @property
    def public_key(self) -> bytes:
        return self._public_key

    @property
    def address(self) -> str:
        return self._address

    @property
    def udp_address(self) -> UdpAddress | None:
        return "::", self._port

    async def watch(self) -> None:
        if self._process is None:
            await asyncio.Event().wait()
            return
        status = await self._process.ended()
        if not self._closing:
            raise OSError(errno.EIO, f"wireguard-go of {self._interface} ended with {status}")

    # -- peers ---------------------------------------------------------------------------------------------------

    async def add_peer(
        self, public_key: bytes, address: str, endpoint: Endpoint | None = None, keepalive: float | None = KEEPALIVE
    ) -> None:
        if len(public_key) != KEY_SIZE:
            raise ValueError(f"A WireGuard public key has {KEY_SIZE} bytes, this one has {len(public_key)}")
        address = text(packed(address))
        async with self._lock:
            if address == self._address or self._keys.get(address, public_key) != public_key:
                raise ValueError(
                    f"Overlay address {address} belongs to another key; give this machine an address of its own"
                )
            before = self._addresses.get(public_key)
            words = [
                "allowed-ips",
                f"{address}/128",
                "persistent-keepalive",
                str(int(keepalive)) if keepalive else "off",
            ]
            target = endpoint
            if isinstance(endpoint, str):
                self._tags[public_key] = endpoint
                target = self._tunnels.address(endpoint)
                if target is None and before is not None:
                    await self._remove(public_key)  # no other way to make it forget an endpoint
            elif endpoint is not None:
                self._tags.pop(public_key, None)
            if isinstance(target, tuple):
                words[:0] = ["endpoint", wg.endpoint_text(target)]
            await wg.run("wg", "set", self._interface, "peer", wg.key_text(public_key), *words)
            if before is not None and before != address:
                self._forget_address(before)
            self._addresses[public_key], self._keys[address] = address, public_key

    async def remove_peer(self, public_key: bytes) -> None:
        async with self._lock:
            address = self._addresses.pop(public_key, None)
            if address is None:
                return
            self._tags.pop(public_key, None)
            self._forget_address(address)
            await self._remove(public_key)

    async def _remove(self, public_key: bytes) -> None:
        await wg.run("wg", "set", self._interface, "peer", wg.key_text(public_key), "remove")

    def _forget_address(self, address: str) -> None:
        self._keys.pop(address, None)
        for transport in self._transports.pop(address, ()):
            reset(transport)

    async def peers(self) -> list[PeerState]:
        rows = {row.public_key: row for row in wg.parse_dump(await wg.run("wg", "show", self._interface, "dump"))}
        return [self._state(rows[key], address) for key, address in self._addresses.items() if key in rows]

    async def peer(self, public_key: bytes) -> PeerState | None:
        return next((state for state in await self.peers() if state.public_key == public_key), None)

    def _state(self, row: wg.PeerRow, address: str) -> PeerState:
        endpoint: Endpoint | None = row.endpoint
        if row.public_key in self._tags:  # never a loopback endpoint: it names a socket of ours
            endpoint = self._tunnels.tag(row.endpoint) if row.endpoint else None
        return PeerState(row.public_key, address, endpoint, row.last_handshake, row.received, row.sent)

    async def counters(self) -> Counters:
        return self._counters

    # -- tunnels -------------------------------------------------------------------------------------------------

    def attach(self, tag: TunnelTag, emit: Emit) -> None:
        self._tunnels.attach(tag, emit)
        task = self._loop.create_task(self._point(tag))
        self._pointing.add(task)
        task.add_done_callback(self._pointing.discard)

    async def _point(self, tag: TunnelTag) -> None:
        """Send the peer's packets to its new socket at once, not after the machine's next packet."""
        async with self._lock:
            key = next((key for key, known in self._tags.items() if known == tag), None)
            endpoint = self._tunnels.address(tag)
            if key is None or endpoint is None or self._closing:
                return
            try:
                words = ("endpoint", wg.endpoint_text(endpoint))
                await wg.run("wg", "set", self._interface, "peer", wg.key_text(key), *words)
            except OSError as error:
                log.warning("tunnel %s waits for its machine's next packet: %s", tag, error.strerror)

    def detach(self, tag: TunnelTag, emit: Emit) -> None:
        self._tunnels.detach(tag, emit)

    def feed(self, tag: TunnelTag, packet: bytes) -> None:
        self._tunnels.feed(tag, packet)

    # -- connections ---------------------------------------------------------------------------------------------

    async def create_connection(
        self, factory: Callable[[], P], address: str, port: int, timeout: float = DIAL_TIMEOUT
    ) -> tuple[asyncio.Transport, P]:
        address = text(packed(address))
        if address not in self._keys:
            raise OSError(errno.EHOSTUNREACH, f"No machine with overlay address {address} is linked here")
        link = self._socket()
        try:
            link.bind((self._address, 0))
            with streams.told(address, port, timeout):
                async with asyncio.timeout(timeout):
                    await self._loop.sock_connect(link, (address, port))
            transport, protocol = await self._loop.create_connection(factory, sock=link)
        except BaseException:
            link.close()
            raise
        self._counters.connections_opened += 1
        self._transports[address].add(transport)
        return transport, protocol

    async def dial(
        self, address: str, port: int, timeout: float = DIAL_TIMEOUT
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await streams.dial(self, address, port, timeout)

    async def listen(
        self, port: int, factory: Callable[[], asyncio.BaseProtocol], admit: Admit | None = None
    ) -> Listener:
        link = self._socket()
        try:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            link.bind((self._address, port))
            link.listen(BACKLOG)
            bound = link.getsockname()[1]
            await device_link.open_port(self._interface, bound)
        except BaseException:
            link.close()
            raise
        accepting = self._loop.create_task(self._accept(link, factory, admit))
        return _PortListener(link, bound, accepting, lambda: device_link.close_port(self._interface, bound))

    async def serve(self, port: int, handler: StreamHandler, admit: Admit | None = None) -> Listener:
        return await streams.serve(self, port, handler, admit)

    async def _accept(
        self, link: socket.socket, factory: Callable[[], asyncio.BaseProtocol], admit: Admit | None
    ) -> None:
        while True:
            try:
                accepted, peer = await self._loop.sock_accept(link)
            except OSError as error:
                log.warning("a connection of a machine cannot be accepted: %s", error.strerror)
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            address = peer[0]
            if address not in self._keys or (admit is not None and not admit(address)):
                self._counters.connections_refused += 1
                with contextlib.suppress(OSError), accepted:  # as if nobody listened
                    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                continue
            try:
                transport, _ = await self._loop.connect_accepted_socket(factory, accepted)
            except OSError:
                accepted.close()
                continue
            self._counters.connections_opened += 1
            self._transports[address].add(transport)

    def _socket(self) -> socket.socket:
        link = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        link.setblocking(False)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode())
        link.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, device_link.MARK)
        return link

    async def close(self) -> None:
        self._closing = True
        for task in self._pointing:
            task.cancel()
        self._tunnels.close()
        for address in list(self._transports):
            self._forget_address(address)
        await asyncio.sleep(0)  # connections are reset in the next turn of the loop, over the interface
        await device_link.remove(self._interface)
        if self._process is not None:
            await self._process.stop()


class _PortListener:
    """A port on the interface."""

    def __init__(self, link: socket.socket, port: int, accepting: asyncio.Task[None], shut: Callable[[], Any]) -> None:
        self._link, self._port, self._accepting, self._shut = link, port, accepting, shut
        self._shutting: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return self._port

    def close(self) -> None:
        if self._shutting is None:
            self._accepting.cancel()
            self._link.close()
            self._shutting = asyncio.create_task(self._shut_filter())

    async def _shut_filter(self) -> None:
        with contextlib.suppress(OSError):  # the filter may be gone before
            await self._shut()
