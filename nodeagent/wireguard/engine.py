"""What every WireGuard engine offers to the rest of the node agent.

An engine owns one WireGuard identity (a private key and one overlay address) and any number of peers, each with one
overlay address of its own. Packets of a peer travel over UDP or, where UDP is blocked, inside gRPC messages (a
*tunnel*); the engine moves them and opens and accepts TCP connections on the overlay. The same interface serves the
control plane (many peers) and a machine made of software (one peer).

Calls that change or read state are coroutines, so that an engine may live in another process. Calls that carry tunnel
packets are plain functions and never wait: WireGuard packets may be lost, and stale ones are worthless.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

KEEPALIVE = 25.0
"""Seconds between persistent keepalives, on both ends of every link (SideroLink's value)."""

MTU = 1280
"""Largest IPv6 packet inside the link, in bytes (SideroLink's value)."""

DIAL_TIMEOUT = 10.0
"""Seconds a dial waits for the machine's answer unless told otherwise."""

UdpAddress = tuple[str, int]
"""Numeric host and port of a UDP endpoint."""

TunnelTag = str
"""Name of a tunnel: the virtual address the machine sends in its stream's metadata."""

Endpoint = UdpAddress | TunnelTag

Emit = Callable[[bytes], None]
"""Takes one WireGuard packet towards the machine; must not block or raise; may drop."""

Admit = Callable[[str], bool]
"""Whether the peer with this overlay address may connect to the listener."""

P = TypeVar("P", bound=asyncio.BaseProtocol)

StreamHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class LinkTransport(enum.StrEnum):
    """How a peer's WireGuard packets travel."""

    UDP = "udp"
    TUNNEL = "tunnel"


@dataclass(frozen=True, slots=True)
class PeerState:
    """A peer as it was when asked. Times are Unix seconds, sizes are bytes of WireGuard packets."""

    public_key: bytes
    address: str
    endpoint: Endpoint | None
    last_handshake: float | None
    received: int
    sent: int

    @property
    def transport(self) -> LinkTransport | None:
        """How packets reach the peer now; None while no endpoint is known."""
        if self.endpoint is None:
            return None
        return LinkTransport.TUNNEL if isinstance(self.endpoint, str) else LinkTransport.UDP


@dataclass(slots=True)
class Counters:
    """What an engine has seen since it started; each number only grows."""

    datagrams_received: int = 0
    datagrams_sent: int = 0
    datagrams_unsent: int = 0
    handshakes: int = 0
    cookies_sent: int = 0
    dropped_malformed: int = 0
    """No WireGuard message, or no whole IPv6 packet inside one."""
    dropped_unauthenticated: int = 0
    """Unknown key or session, or a forged message."""
    dropped_replayed: int = 0
    dropped_overload: int = 0
    """Handshakes refused while under load, and packets for peers that could not be reached in time."""
    dropped_policy: int = 0
    """Inner source was not the peer's address, or inner destination not ours."""
    connections_opened: int = 0
    connections_refused: int = 0
    connections_reset: int = 0
    segments_retransmitted: int = 0


class Listener(Protocol):
    """A port open on the overlay."""

    @property
    def port(self) -> int: ...

    def close(self) -> None:
        """Refuse new connections; those already accepted go on."""


class Engine(Protocol):
    """One WireGuard identity with its peers and the TCP connections over them."""

    @property
    def name(self) -> str:
        """Which engine this is, as operators choose it: userspace, wireguard-go or kernel."""

    @property
    def public_key(self) -> bytes:
        """Our own key, 32 bytes."""

    @property
    def address(self) -> str:
        """Our own overlay address (IPv6)."""

    @property
    def udp_address(self) -> UdpAddress | None:
        """Where the engine listens for UDP; None when it has no socket."""

    async def add_peer(
        self, public_key: bytes, address: str, endpoint: Endpoint | None = None, keepalive: float | None = KEEPALIVE
    ) -> None:
        """Let the holder of `public_key` (32 bytes) in under overlay `address`.

        With a UDP endpoint the engine starts a handshake at once, which is what brings machines back after a restart.
        With a tunnel's tag it waits for `attach`. Adding a known key again keeps its sessions and changes its endpoint
        (also between UDP and tunnel, or to a new tag; None leaves it) and its address (which breaks its connections).

        Raises ValueError for a bad key or address, or an address that another peer holds.
        """

    async def remove_peer(self, public_key: bytes) -> None:
        """Forget the peer and break its connections. An unknown key is no error."""

    async def peers(self) -> list[PeerState]:
        """All peers, in the order they were added."""

    async def peer(self, public_key: bytes) -> PeerState | None:
        """One peer, or None."""

    async def counters(self) -> Counters:
        """A copy of the counters."""

    async def dial(
        self, address: str, port: int, timeout: float = DIAL_TIMEOUT
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a TCP connection to a peer.

        Raises OSError: EHOSTUNREACH when no peer holds the address, ConnectionRefusedError, or TimeoutError after
        `timeout` seconds.
        """

    async def create_connection(
        self, factory: Callable[[], P], address: str, port: int, timeout: float = DIAL_TIMEOUT
    ) -> tuple[asyncio.Transport, P]:
        """`dial` for an asyncio protocol, as `loop.create_connection`."""

    async def listen(
        self, port: int, factory: Callable[[], asyncio.BaseProtocol], admit: Admit | None = None
    ) -> Listener:
        """Accept connections from peers; `get_extra_info("peername")[0]` is the peer's overlay address.

        A peer that `admit` does not let in is refused as if the port were closed. Raises OSError (EADDRINUSE) when the
        port is taken.
        """

    async def serve(self, port: int, handler: StreamHandler, admit: Admit | None = None) -> Listener:
        """`listen` for a coroutine that takes a reader and a writer, as `asyncio.start_server`."""

    def attach(self, tag: TunnelTag, emit: Emit) -> None:
        """A tunnel stream opened: packets for its peer go to `emit` from now on, replacing an older stream."""

    def detach(self, tag: TunnelTag, emit: Emit) -> None:
        """The stream ended. Does nothing when a newer stream has replaced it."""

    def feed(self, tag: TunnelTag, packet: bytes) -> None:
        """One WireGuard packet came out of the tunnel."""

    async def watch(self) -> None:
        """Wait for as long as the engine works. Raises OSError when what carries its packets broke."""

    async def close(self) -> None:
        """Break all connections and close the socket."""
