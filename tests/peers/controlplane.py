"""The server side of SideroLink without a database: the real public port, engine and services, and ports that keep
everything in memory."""

import asyncio
import contextlib
import socket
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from google.protobuf.message import Message

from apps.gateways.public import PublicPort
from apps.gateways.upstream import on_socket
from nodeagent import tls
from nodeagent.ports import Link, ProvisionRefused, ProvisionRequest
from nodeagent.siderolink.server import SideroLinkServer
from nodeagent.wireguard.userspace import UserspaceEngine
from talos import pki, siderolink
from talos.siderolink import Purpose

HOST = "127.0.0.1"
TOKEN = "the-join-token"
CLUSTER_TOKEN = "abcdef.0123456789abcdef"
VIRTUAL_PORT = 50889


class Ports:
    """Registry, event sink, log sink and trust authority: everybody with the join token gets in."""

    def __init__(self) -> None:
        self.requests: list[ProvisionRequest] = []
        self.by_key: dict[str, Link] = {}
        self.events: dict[str, list[tuple[str, Message | None, str]]] = defaultdict(list)
        self.log: dict[str, list[bytes]] = defaultdict(list)
        self.changed = asyncio.Condition()
        self.cluster_ca = pki.talos_ca(datetime.now(UTC))

    async def provision(self, request: ProvisionRequest, stream_alive: Callable[[str], bool]) -> Link:
        if request.join_token != TOKEN:
            raise ProvisionRefused("PERMISSION_DENIED", "unauthorized")
        self.requests.append(request)
        if request.public_key not in self.by_key:
            address = siderolink.random_address(siderolink.prefix())
            virtual = siderolink.random_address(siderolink.prefix(purpose=Purpose.VIRTUAL))
            self.by_key[request.public_key] = Link(
                id=request.node_uuid,
                public_key=request.public_key,
                address=str(address),
                virtual_address=f"[{virtual}]:{VIRTUAL_PORT}" if request.wants_tunnel else None,
                last_endpoint=None,
                pending=not request.unique_token,
            )
        return self.by_key[request.public_key]

    async def links(self) -> list[Link]:
        return list(self.by_key.values())

    async def tunnelled(self, virtual_address: str) -> Link | None:
        return None  # nobody else gives names away

    async def event(self, address: str, event_id: str, actor_id: str, payload: Message | None, type_url: str) -> None:
        self.events[address].append((event_id, payload, type_url))

    async def known(self, address: str) -> bool:
        return any(link.address == address for link in self.by_key.values())

    async def lines(self, address: str, lines: list[bytes]) -> None:
        async with self.changed:
            self.log[address] += lines
            self.changed.notify_all()

    async def logged(self, address: str, count: int) -> list[bytes]:
        """The kernel log of a machine, once it has this many lines. Raises TimeoutError."""
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.log[address]) >= count)
        return self.log[address]

    async def server_certificate(self, address: str) -> tuple[bytes, bytes]:
        server = siderolink.server_address()
        pair = pki.trustd_server(self.cluster_ca, "trustd", datetime.now(UTC), [server])
        return pair.crt, pair.key

    async def sign(self, address: str, token: str, csr_pem: bytes) -> tuple[bytes, bytes]:
        if token != CLUSTER_TOKEN:
            raise PermissionError("invalid token")
        return self.cluster_ca.crt, pki.sign_csr(self.cluster_ca, csr_pem, datetime.now(UTC))


class ControlPlane:
    """A control plane on loopback, for the time of `running`."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        self.ports = Ports()
        self.engine = UserspaceEngine(bytes(range(32)), str(siderolink.server_address()), udp=(HOST, 0))
        self.roots = folder / "roots.pem"
        self._socket = folder / "grpc.sock"
        web_ca = pki.kubernetes_ca(now)
        self.roots.write_bytes(web_ca.crt)
        certificate = pki.kube_apiserver(web_ca, now, [ip_address(HOST)])
        web = on_socket(folder / "web.sock")
        self._public = PublicPort(lambda: tls.server_context(certificate), web, on_socket(self._socket), web)
        with socket.create_server((HOST, 0)) as free:
            self.port = free.getsockname()[1]
        self.server = self._new_server()

    def _new_server(self) -> SideroLinkServer:
        assert self.engine.udp_address is not None
        return SideroLinkServer(
            engine=self.engine,
            registry=self.ports,
            events=self.ports,
            logs=self.ports,
            trust=self.ports,
            endpoint="{}:{}".format(*self.engine.udp_address),
            socket=self._socket,
        )

    async def restart(self) -> None:
        """Stop the machine API with all streams, and start it anew from what is stored."""
        await self.server.stop()
        self.server = self._new_server()
        await self.server.start()

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls) -> AsyncIterator["ControlPlane"]:
        with tempfile.TemporaryDirectory() as folder:
            control_plane = cls(Path(folder))
            await control_plane.server.start()
            public = asyncio.create_task(control_plane._public.serve(HOST, control_plane.port))
            try:
                yield control_plane
            finally:
                public.cancel()
                await control_plane.server.stop()
                await control_plane.engine.close()
