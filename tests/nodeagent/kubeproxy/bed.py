"""The proxy between a client that a test plays and control planes that it makes up."""

import asyncio
import contextlib
import functools
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import h11

from nodeagent.caller import Caller
from nodeagent.dial import Stream
from nodeagent.kubeproxy.ports import Passage, Refused, Request
from nodeagent.kubeproxy.server import KubernetesProxy
from nodeagent.simulator.tls import server_context
from nodeagent.sockets import new_socket_path
from nodeagent.tls import Credentials, TlsStream
from talos import pki
from talos.pem import CertKey

PREFIX = "/k8s/acme/prod"
TOKEN = "let-me-in"
CALLER = Caller("https", "198.51.100.7", 40000, "0a1b")
PATIENCE = 30.0
"""Seconds until a test gives up."""

Handler = Callable[[TlsStream], Awaitable[None]]
"""Plays an API server on one connection."""


@functools.cache
def authority() -> CertKey:
    """The cluster's Kubernetes authority: it takes a while to make."""
    return pki.kubernetes_ca(datetime.now(UTC))


@functools.cache
def credentials() -> Credentials:
    """An administrator's."""
    return Credentials(authority().crt, pki.kubernetes_admin(authority(), datetime.now(UTC)))


@functools.cache
def api_server(name: str = "kubernetes.default.svc", ca: CertKey | None = None) -> CertKey:
    """What a control plane shows."""
    return pki.kube_apiserver(ca or authority(), datetime.now(UTC), [], [name])


@dataclass
class Ticket:
    """Remembers how it ended."""

    withdrawn: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    outcomes: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def over(self, outcome: str) -> None:
        self.outcomes.append(outcome)
        self.ended.set()


@dataclass
class FakeGate:
    """Admits whoever has the token, as one user."""

    user: str = "ann@example.com"
    groups: tuple[str, ...] = ("omni:operator", "dev")
    control_planes: tuple[str, ...] = ("fd00::1",)
    requests: list[Request] = field(default_factory=list)
    tickets: list[Ticket] = field(default_factory=list)

    async def admit(self, request: Request) -> Passage:
        self.requests.append(request)
        if (request.organisation, request.cluster) != ("acme", "prod"):
            raise Refused(404, f"there is no cluster {request.cluster}")
        if request.token != TOKEN:
            raise Refused(401, "log in again: this token is not known")
        self.tickets.append(Ticket())
        return Passage(self.user, self.groups, self.control_planes, credentials(), self.tickets[-1])


@dataclass
class Planes:
    """Control planes by address; one without a handler never answers."""

    handlers: dict[str, Handler | None] = field(default_factory=dict)
    identity: CertKey = field(default_factory=api_server)
    dialled: list[str] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def dial(self, address: str, port: int) -> Stream:
        assert port == 6443
        self.dialled.append(address)
        if address not in self.handlers:
            raise OSError(f"no link to {address}")
        ours, theirs = socket.socketpair()
        stream = await asyncio.open_connection(sock=theirs)
        if (handler := self.handlers[address]) is not None:
            task = asyncio.create_task(self._serve(handler, *stream))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            self.silent = stream
        return await asyncio.open_connection(sock=ours)

    async def _serve(self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = server_context(self.identity, protocol="http/1.1", client_cas=[authority().crt])
        stream = TlsStream(reader, writer, context, server_side=True)
        with contextlib.suppress(OSError):
            try:
                await stream.handshake()
                await handler(stream)
            finally:
                stream.close()


class Client:
    """A client's connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(h11.CLIENT)

    async def event(self) -> Any:
        """Raises h11.RemoteProtocolError when the answer breaks off."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(65536))
        return event

    async def send(
        self, method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None
    ) -> None:
        given = [("Host", "omni"), ("Authorization", f"Bearer {TOKEN}"), *headers]
        if body is not None:
            given.append(("Content-Length", str(len(body))))
        self.writer.write(self.http.send(h11.Request(method=method, target=path, headers=given)) or b"")
        if body:
            self.writer.write(self.http.send(h11.Data(data=body)) or b"")
        self.writer.write(self.http.send(h11.EndOfMessage()) or b"")
        await self.writer.drain()

    async def answer(self) -> tuple[h11.Response, bytes]:
        response = await self.event()
        while isinstance(response, h11.InformationalResponse):
            response = await self.event()
        assert isinstance(response, h11.Response), response
        body = b""
        while isinstance(event := await self.event(), h11.Data):
            body += event.data
        if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
        return response, body

    async def get(self, path: str, *headers: tuple[str, str]) -> tuple[int, Any]:
        """Status and JSON."""
        await self.send("GET", PREFIX + path, headers)
        response, body = await self.answer()
        return response.status_code, json.loads(body)

    async def until_closed(self) -> bytes:
        """What comes until the end; a reset is one."""
        rest = b""
        with contextlib.suppress(ConnectionError):
            while data := await self.reader.read(65536):
                rest += data
        return rest


class Bed:
    """A running proxy."""

    def __init__(self, gate: FakeGate, planes: Planes, proxy: KubernetesProxy) -> None:
        self.gate, self.planes, self.proxy = gate, planes, proxy
        self.socket = new_socket_path()
        self._clients: list[Client] = []

    async def client(self, caller: Caller = CALLER) -> Client:
        stream = await asyncio.open_unix_connection(sock=await caller.connect(self.socket))
        self._clients.append(Client(*stream))
        return self._clients[-1]

    async def over(self, number: int = -1) -> str:
        """How a request ended."""
        ticket = self.gate.tickets[number]
        await ticket.ended.wait()
        assert len(ticket.outcomes) == 1
        return ticket.outcomes[0]

    def leave(self) -> None:
        for client in self._clients:
            client.writer.close()


@contextlib.asynccontextmanager
async def bed(*handlers: Handler | None, identity: CertKey | None = None) -> AsyncIterator[Bed]:
    """A proxy in front of one control plane for each handler."""
    gate, planes = FakeGate(), Planes()
    planes.handlers = {f"fd00::{number}": handler for number, handler in enumerate(handlers, 1)}
    planes.identity = identity or planes.identity
    gate = replace(gate, control_planes=tuple(planes.handlers))
    made = Bed(gate, planes, KubernetesProxy(gate, planes.dial))
    await made.proxy.start(made.socket)
    try:
        async with asyncio.timeout(PATIENCE):
            yield made
    finally:
        made.leave()
        await made.proxy.close()
        for task in planes.tasks:
            task.cancel()
        await asyncio.gather(*planes.tasks, return_exceptions=True)


def said(text: str, *more: bytes) -> Handler:
    """An API server that reads one request's head and says this; `\\n` is a line's end."""

    async def handler(stream: TlsStream) -> None:
        await head(stream)
        await stream.write(text.replace("\n", "\r\n").encode())
        for data in more:
            await stream.write(data)

    return handler


async def head(stream: TlsStream) -> bytes:
    """A request's head, and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.read()
        if not more:
            raise ConnectionResetError
        data += more
    return data
