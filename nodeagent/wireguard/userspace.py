"""The engine that needs nothing from the operating system but a UDP socket, and for tunnels not even that.

WireGuard and TCP run in this process: no TUN device, no privileges. The control plane is one engine with many peers;
a machine made of software is one with a single peer, and thousands of those fit in a process.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import random
from collections.abc import Callable
from typing import cast

from nodeagent.wireguard import streams
from nodeagent.wireguard.addresses import packed, text
from nodeagent.wireguard.deadlines import NEVER
from nodeagent.wireguard.device import Device
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
from nodeagent.wireguard.peer import Peer
from nodeagent.wireguard.stack import Limits, Stack
from nodeagent.wireguard.tcp.connection import Connection
from nodeagent.wireguard.tcp.settings import Settings
from nodeagent.wireguard.transport import TcpTransport
from nodeagent.wireguard.udp import UdpSocket


class UserspaceEngine:
    """Implements `Engine`. Made inside a running event loop, and used only there."""

    name = "userspace"

    def __init__(
        self,
        private_key: bytes,
        address: str,
        udp: UdpAddress | None = None,
        settings: Settings | None = None,
        limits: Limits | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """`address` is our overlay address; `udp` is where to listen (port 0: any), None for tunnels only.

        Raises ValueError for a bad key or address, OSError when the socket cannot be bound.
        """
        self._loop = asyncio.get_running_loop()
        self._counters = Counters()
        self._address = packed(address)
        self._device = Device(Identity(private_key), self._transmit, self._deliver, self._counters, rng=rng)
        self._stack = Stack(self._address, self._output, settings, limits, self._counters, rng)
        self._by_address: dict[bytes, Peer] = {}
        self._tunnels: dict[TunnelTag, Emit] = {}
        self._tunnel_peers: dict[TunnelTag, Peer] = {}
        self._tags: dict[Peer, TunnelTag] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_flush_scheduled = False
        self._udp: UdpSocket | None = None
        if udp is not None:
            self._udp = UdpSocket(self._loop, udp, self._device.receive, self._flush, self._counters)

    @property
    def public_key(self) -> bytes:
        return self._device.identity.public

    @property
    def address(self) -> str:
        return text(self._address)

    @property
    def udp_address(self) -> UdpAddress | None:
        return self._udp.address if self._udp else None

    # -- peers ---------------------------------------------------------------------------------------------------

    async def add_peer(
        self, public_key: bytes, address: str, endpoint: Endpoint | None = None, keepalive: float | None = KEEPALIVE
    ) -> None:
        if len(public_key) != KEY_SIZE:
            raise ValueError(f"A WireGuard public key has {KEY_SIZE} bytes, this one has {len(public_key)}")
        overlay = packed(address)
        kernel = self._kernel_endpoint(endpoint)
        holder = self._by_address.get(overlay)
        if overlay == self._address or (holder is not None and holder.public_key != public_key):
            raise ValueError(
                f"Overlay address {address} belongs to another key; give this machine an address of its own"
            )
        peer = self._device.peers.get(public_key)
        if peer is None:
            peer = self._device.add_peer(public_key, overlay, keepalive)
        elif peer.address != overlay:
            self._forget_address(peer)
            peer.address = overlay
        peer.keepalive = keepalive
        self._by_address[overlay] = peer
        now = self._loop.time()
        if kernel is not None:
            self._forget_tunnel(peer)
        if isinstance(kernel, str):
            self._tunnel_peers[kernel] = peer
            self._tags[peer] = kernel
        if kernel is None or (isinstance(kernel, str) and kernel not in self._tunnels):
            peer.endpoint = peer.endpoint if kernel is None else None
            peer.start_keepalive(now)
        else:
            peer.connect(now, kernel)
        self._wake()

    async def remove_peer(self, public_key: bytes) -> None:
        peer = self._device.peers.get(public_key)
        if peer is None:
            return
        self._forget_address(peer)
        self._forget_tunnel(peer)
        self._device.remove_peer(public_key)
        self._wake()

    async def peers(self) -> list[PeerState]:
        return [self._state_of(peer) for peer in self._device.peers.values()]

    async def peer(self, public_key: bytes) -> PeerState | None:
        peer = self._device.peers.get(public_key)
        return self._state_of(peer) if peer else None

    async def counters(self) -> Counters:
        return dataclasses.replace(self._counters)

    def _state_of(self, peer: Peer) -> PeerState:
        endpoint = peer.endpoint
        if endpoint is not None and not isinstance(endpoint, str):
            endpoint = UdpSocket.from_kernel(endpoint)
        return PeerState(peer.public_key, text(peer.address), endpoint, peer.last_handshake, peer.received, peer.sent)

    def _kernel_endpoint(self, endpoint: Endpoint | None) -> Endpoint | None:
        if endpoint is None or isinstance(endpoint, str):
            return endpoint
        if self._udp is None:
            raise ValueError("This engine has no UDP socket; give the peer a tunnel instead of a UDP endpoint")
        return cast(UdpAddress, self._udp.to_kernel(endpoint))

    def _forget_address(self, peer: Peer) -> None:
        self._stack.drop(peer.address)
        self._stack.flush(self._loop.time())
        self._by_address.pop(peer.address, None)

    def _forget_tunnel(self, peer: Peer) -> None:
        tag = self._tags.pop(peer, None)
        if tag is not None and self._tunnel_peers.get(tag) is peer:
            del self._tunnel_peers[tag]

    # -- tunnels -------------------------------------------------------------------------------------------------

    def attach(self, tag: TunnelTag, emit: Emit) -> None:
        self._tunnels[tag] = emit
        peer = self._tunnel_peers.get(tag)
        if peer is not None:
            peer.connect(self._loop.time(), tag)
            self._wake()

    def detach(self, tag: TunnelTag, emit: Emit) -> None:
        if self._tunnels.get(tag) != emit:  # bound methods are equal, not identical
            return
        del self._tunnels[tag]
        peer = self._tunnel_peers.get(tag)
        if peer is not None and peer.endpoint == tag:
            peer.endpoint = None

    def feed(self, tag: TunnelTag, packet: bytes) -> None:
        self._counters.datagrams_received += 1
        self._device.receive(self._loop.time(), packet, tag)
        self._wake()

    # -- connections ---------------------------------------------------------------------------------------------

    async def create_connection(
        self, factory: Callable[[], P], address: str, port: int, timeout: float = DIAL_TIMEOUT
    ) -> tuple[asyncio.Transport, P]:
        remote = packed(address)
        if remote not in self._by_address:
            raise OSError(errno.EHOSTUNREACH, f"No machine with overlay address {address} is linked here")
        protocol = factory()
        waiter: asyncio.Future[None] = self._loop.create_future()
        connection = self._stack.connect(self._loop.time(), remote, port)
        transport = TcpTransport(self._loop, self._stack, connection, protocol, self._wake, waiter)
        self._wake()
        try:
            with streams.told(address, port, timeout):
                async with asyncio.timeout(timeout):
                    await waiter
        except (TimeoutError, asyncio.CancelledError):
            transport.abort()
            raise
        return transport, protocol

    async def dial(
        self, address: str, port: int, timeout: float = DIAL_TIMEOUT
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await streams.dial(self, address, port, timeout)

    async def listen(
        self, port: int, factory: Callable[[], asyncio.BaseProtocol], admit: Admit | None = None
    ) -> Listener:
        def opened(connection: Connection) -> None:
            try:
                TcpTransport(self._loop, self._stack, connection, factory(), self._wake)
            except Exception as failure:
                connection.abort()
                message = f"No protocol for a connection to overlay port {port}"
                self._loop.call_exception_handler({"message": message, "exception": failure})

        return self._stack.listen(port, opened, (lambda remote: admit(text(remote))) if admit else None)

    async def serve(self, port: int, handler: StreamHandler, admit: Admit | None = None) -> Listener:
        return await streams.serve(self, port, handler, admit)

    # -- the turning wheel ---------------------------------------------------------------------------------------

    def _deliver(self, now: float, peer: Peer, plaintext: bytes) -> None:
        self._stack.receive(now, peer.address, plaintext)

    def _output(self, remote: bytes, packet: bytes) -> None:
        peer = self._by_address.get(remote)
        if peer is not None:
            peer.send(self._loop.time(), packet)

    def _transmit(self, datagram: bytes, endpoint: Endpoint) -> None:
        if isinstance(endpoint, str):
            emit = self._tunnels.get(endpoint)
            if emit is None:
                self._counters.datagrams_unsent += 1
            else:
                self._counters.datagrams_sent += 1
                emit(datagram)
        elif self._udp is not None:
            self._udp.send(datagram, endpoint)

    def _wake(self) -> None:
        """Flush in this turn of the loop, once for all that happens in it."""
        if not self._is_flush_scheduled:
            self._is_flush_scheduled = True
            self._loop.call_soon(self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self._is_flush_scheduled = False
        self._flush()

    def _flush(self) -> None:
        self._stack.flush(self._loop.time())
        if self._udp is not None:
            self._udp.flush()
        at = min(self._device.deadlines.next(), self._stack.deadlines.next())
        if at != NEVER and (self._timer is None or at < self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._loop.time()
        self._device.tick(now)
        self._stack.tick(now)
        self._flush()

    async def watch(self) -> None:
        await self._loop.create_future()  # nothing of it can break alone

    async def close(self) -> None:
        for public_key in list(self._device.peers):
            await self.remove_peer(public_key)
        self._flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._udp is not None:
            self._udp.close()
            self._udp = None
