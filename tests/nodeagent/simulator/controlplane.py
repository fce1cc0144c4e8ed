"""The other end of simulated machines' links: the real server and engine, with what it stores kept in dicts."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address

from google.protobuf.message import Message

from nodeagent import dial
from nodeagent.client import NodeClient
from nodeagent.ports import Link, ProvisionRefused, ProvisionRequest
from nodeagent.siderolink.server import SideroLinkServer
from nodeagent.sockets import new_socket_path
from nodeagent.tls import Credentials
from nodeagent.wireguard.userspace import UserspaceEngine
from talos import pki, secrets, siderolink

TOKEN = "let-me-in"


@dataclass
class Registry:
    """Implements the ports: lets in whoever has the token."""

    bundle: secrets.Bundle | None = None
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    by_uuid: dict[str, Link] = field(default_factory=dict)
    requests: list[ProvisionRequest] = field(default_factory=list)
    events: list[tuple[str, str, Message | None, str]] = field(default_factory=list)
    log_lines: list[tuple[str, bytes]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def provision(self, request: ProvisionRequest, stream_alive: Callable[[str], bool]) -> Link:
        await self._remember(self.requests, request)
        if request.join_token not in self.tokens:
            raise ProvisionRefused("PERMISSION_DENIED", "unauthorized")
        old = self.by_uuid.get(request.node_uuid)
        address = old.address if old else str(siderolink.random_address(siderolink.prefix()))
        virtual = None
        if request.wants_tunnel:
            kept = old.virtual_address if old and old.public_key == request.public_key else None
            if kept is None or not stream_alive(kept):
                kept = None
            host = siderolink.random_address(siderolink.prefix(purpose=siderolink.Purpose.VIRTUAL))
            virtual = kept or f"[{host}]:{siderolink.VIRTUAL_PORT}"
        link = Link(request.node_uuid, request.public_key, address, virtual, None, request.unique_token is None)
        self.by_uuid[request.node_uuid] = link
        return link

    async def links(self) -> list[Link]:
        return list(self.by_uuid.values())

    async def tunnelled(self, virtual_address: str) -> Link | None:
        return None  # nobody else gives names away

    async def event(self, address: str, event_id: str, actor_id: str, payload: Message | None, type_url: str) -> None:
        await self._remember(self.events, (address, event_id, payload, type_url))

    async def known(self, address: str) -> bool:
        return True

    async def lines(self, address: str, lines: list[bytes]) -> None:
        for line in lines:
            await self._remember(self.log_lines, (address, line))

    async def server_certificate(self, address: str) -> tuple[bytes, bytes]:
        assert self.bundle is not None
        made = pki.trustd_server(
            self.bundle.os, "control-plane", datetime.now(UTC), [ip_address(str(siderolink.server_address()))]
        )
        return made.crt, made.key

    async def sign(self, address: str, token: str, csr_pem: bytes) -> tuple[bytes, bytes]:
        assert self.bundle is not None
        if token != self.bundle.trustd_token:
            raise PermissionError("invalid token")
        return self.bundle.os.crt, pki.sign_csr(self.bundle.os, csr_pem, datetime.now(UTC))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something that was remembered makes it true."""
        async with self.changed:
            await self.changed.wait_for(holds)

    async def _remember(self, where: list, what: object) -> None:
        where.append(what)
        async with self.changed:
            self.changed.notify_all()


@dataclass
class ControlPlane:
    """A running server. `api` is the URL that machines get."""

    registry: Registry
    engine: UserspaceEngine
    server: SideroLinkServer
    api: str

    def client(self, uuid: str, credentials: Credentials | None = None) -> NodeClient:
        """A client over the machine's link."""
        address = self.registry.by_uuid[uuid].address
        return NodeClient(lambda: self.engine.dial(address, 50000), credentials, name=uuid)


@contextlib.asynccontextmanager
async def control_plane(
    registry: Registry | None = None, key: bytes | None = None, port: int = 0
) -> AsyncIterator[ControlPlane]:
    """A new one, or with the registry, key and port of a former one the same after a restart."""
    registry = registry or Registry()
    engine = UserspaceEngine(key or os.urandom(32), str(siderolink.server_address()), ("127.0.0.1", 0))
    host, udp_port = engine.udp_address or ("", 0)
    path = new_socket_path()
    server = SideroLinkServer(
        engine=engine,
        registry=registry,
        events=registry,
        logs=registry,
        trust=registry,
        endpoint=f"{host}:{udp_port}",
        socket=path,
    )
    await server.start()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await dial.join((reader, writer), await asyncio.open_unix_connection(str(path)))

    public = await asyncio.start_server(relay, "127.0.0.1", port)
    address = public.sockets[0].getsockname()
    try:
        yield ControlPlane(registry, engine, server, f"grpc://{address[0]}:{address[1]}?jointoken={TOKEN}")
    finally:
        public.close()
        await server.stop()
        await engine.close()
