"""A control plane of SideroLink without WireGuard: an engine that only remembers, ports that only record."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from nodeagent.ports import Link, ProvisionRequest
from nodeagent.siderolink.server import SideroLinkServer
from nodeagent.sockets import new_socket_path
from nodeagent.wireguard.engine import Endpoint, StreamHandler

SERVER = "fdae:41e4:649b:9303::1"
MACHINE = "fdae:41e4:649b:9303::42"
ENDPOINT = "198.51.100.7:50180"
UUID = "8a4f3e34-58a6-4a1a-9bb0-44b2b3a3b8a1"


class _NamedWriter(asyncio.StreamWriter):
    """A writer whose other end is a machine."""

    peer: tuple[str, int]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.peer if name == "peername" else super().get_extra_info(name, default)


@dataclass
class FakeEngine:
    """Peers in a dict, tunnels in two, overlay ports on loopback."""

    public_key: bytes = bytes(range(32))
    address: str = SERVER
    log: list[tuple[Any, ...]] = field(default_factory=list)
    peers: dict[bytes, tuple[str, Endpoint | None]] = field(default_factory=dict)
    emits: dict[str, Callable[[bytes], None]] = field(default_factory=dict)
    fed: "asyncio.Queue[tuple[str, bytes]]" = field(default_factory=asyncio.Queue)
    handlers: dict[int, StreamHandler] = field(default_factory=dict)

    async def add_peer(self, public_key: bytes, address: str, endpoint: Endpoint | None = None) -> None:
        if any(held == address for key, (held, _) in self.peers.items() if key != public_key):
            raise ValueError(f"{address} is held by another peer")
        self.log.append(("add", public_key[:1], address, endpoint))
        self.peers[public_key] = (address, endpoint or self.peers.get(public_key, ("", None))[1])

    async def remove_peer(self, public_key: bytes) -> None:
        self.log.append(("remove", public_key[:1]))
        self.peers.pop(public_key, None)

    def attach(self, tag: str, emit: Callable[[bytes], None]) -> None:
        self.emits[tag] = emit

    def detach(self, tag: str, emit: Callable[[bytes], None]) -> None:
        if self.emits.get(tag) == emit:
            del self.emits[tag]

    def feed(self, tag: str, packet: bytes) -> None:
        self.fed.put_nowait((tag, packet))

    async def serve(self, port: int, handler: StreamHandler) -> "FakeEngine":
        self.handlers[port] = handler
        return self

    def close(self) -> None:
        self.log.append(("closed",))

    @contextlib.asynccontextmanager
    async def door(self, port: int, address: str = MACHINE) -> AsyncIterator[int]:
        """A loopback port; whoever connects to it is the machine at `address` connecting to our overlay port."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            named = _NamedWriter(writer.transport, writer.transport.get_protocol(), reader, asyncio.get_running_loop())
            named.peer = (address, writer.get_extra_info("peername")[1])
            await self.handlers[port](reader, named)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()


@dataclass
class Ports:
    """Registry, event sink, log sink and trust authority in one, all recording."""

    stored: list[Link] = field(default_factory=list)
    elsewhere: list[Link] = field(default_factory=list)  # stored by another server since we started
    answer: Link | Exception | None = None
    provisions: list[ProvisionRequest] = field(default_factory=list)
    alive: list[bool] = field(default_factory=list)
    events: list[tuple[str, str, Message | None, str]] = field(default_factory=list)
    log_lines: list[tuple[str, bytes]] = field(default_factory=list)
    logged: asyncio.Event = field(default_factory=asyncio.Event)
    unknown: set[str] = field(default_factory=set)
    certificate: tuple[bytes, bytes] | None = None
    signed: tuple[bytes, bytes] | Exception = (b"", b"")

    async def provision(self, request: ProvisionRequest, stream_alive: Callable[[str], bool]) -> Link:
        self.provisions.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        if self.answer.virtual_address:
            self.alive.append(stream_alive(self.answer.virtual_address))
        return self.answer

    async def links(self) -> list[Link]:
        return self.stored

    async def tunnelled(self, virtual_address: str) -> Link | None:
        return next((link for link in self.elsewhere if link.virtual_address == virtual_address), None)

    async def event(self, address: str, event_id: str, actor_id: str, payload: Message | None, type_url: str) -> None:
        if address in self.unknown:
            raise LookupError(address)
        self.events.append((address, event_id, payload, type_url))

    async def known(self, address: str) -> bool:
        return address not in self.unknown

    async def lines(self, address: str, lines: list[bytes]) -> None:
        self.log_lines += [(address, line) for line in lines]
        self.logged.set()

    async def server_certificate(self, address: str) -> tuple[bytes, bytes]:
        if self.certificate is None:
            raise LookupError(f"the machine at {address} is in no cluster")
        return self.certificate

    async def sign(self, address: str, token: str, csr_pem: bytes) -> tuple[bytes, bytes]:
        if isinstance(self.signed, Exception):
            raise self.signed
        return self.signed


@dataclass
class World:
    """The server, what stands around it, and a channel of a machine to the machine API."""

    engine: FakeEngine
    ports: Ports
    server: SideroLinkServer
    api: grpc.aio.Channel
    socket: Path


@contextlib.asynccontextmanager
async def world(ports: Ports | None = None) -> AsyncIterator[World]:
    ports = ports or Ports()
    engine, path = FakeEngine(), new_socket_path()
    server = SideroLinkServer(
        engine=engine,  # type: ignore[arg-type]
        registry=ports,
        events=ports,
        logs=ports,
        trust=ports,
        endpoint=ENDPOINT,
        socket=path,
    )
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            yield World(engine, ports, server, channel, path)
    finally:
        await server.stop()


def link(
    identifier: str = "l-1", key: int = 1, address: str = MACHINE, virtual: str | None = None, last: str | None = None
) -> Link:
    """A link whose key consists of one byte, repeated."""
    return Link(identifier, base64.b64encode(bytes([key]) * 32).decode(), address, virtual, last, pending=False)
