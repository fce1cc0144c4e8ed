"""A server behind the real public port, an agent, and machines: hosts of 127.0.0.0/8 that listen on port 50000."""

import asyncio
import base64
import contextlib
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from apps.gateways.public import PublicPort
from apps.gateways.upstream import on_socket
from nodeagent import agent, tls
from nodeagent.ports import AgentHello, AgentRefused
from nodeagent.siderolink.server import SideroLinkServer
from nodeagent.tunnel.protocol import API_PORT, Scope
from nodeagent.tunnel.reach import Address, Proxy, Trust, Way
from nodeagent.tunnel.server import HEARTBEAT, AgentServer
from talos import pki
from talos.pem import CertKey
from tests.nodeagent.siderolink.world import ENDPOINT, FakeEngine, Ports

HOST = "127.0.0.1"
TOKEN = "join-token-of-tests"
PATIENCE = 20.0

_hosts = (str(ip_address("127.77.0.1") + number) for number in range(60_000))


def new_host() -> str:
    """A loopback address that no other test of this run uses."""
    return next(_hosts)


def new_credential() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass
class Registry:
    """Lets those in who know the token or came before; remembers what it was told."""

    known: dict[str, str] = field(default_factory=dict)
    refusal: AgentRefused | None = None
    hellos: list[AgentHello] = field(default_factory=list)
    told: list[tuple[str, ...]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def enrol(self, hello: AgentHello) -> str:
        self.hellos.append(hello)
        self._wake()
        if self.refusal is not None:
            raise self.refusal
        if hello.credential not in self.known and hello.token != TOKEN:
            raise AgentRefused("UNAUTHENTICATED", "the join token is unknown; make another")
        return self.known.setdefault(hello.credential, f"a-{len(self.known) + 1}")

    def connected(self, agent_id: str, hello: AgentHello) -> None:
        self._tell("connected", agent_id)

    def disconnected(self, agent_id: str, reason: str) -> None:
        self._tell("disconnected", agent_id, reason)

    def found(self, agent_id: str, address: str) -> None:
        self._tell("found", agent_id, address)

    def lost(self, agent_id: str, address: str, reason: str) -> None:
        self._tell("lost", agent_id, address, reason)

    def _tell(self, *what: str) -> None:
        self.told.append(what)
        self._wake()

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    async def until(self, so: Callable[[], bool]) -> None:
        """Wait until something is so, looked at after each piece of news."""
        async with asyncio.timeout(PATIENCE):
            while not so():
                await self.news.wait()

    async def hears(self, *what: str, times: int = 1) -> tuple[str, ...]:
        """The newest thing told that begins so, once it was told so often."""

        def told() -> list[tuple[str, ...]]:
            return [entry for entry in self.told if entry[: len(what)] == what]

        await self.until(lambda: len(told()) >= times)
        return told()[-1]


@dataclass
class Lab:
    """One installation: its authority, its port, who may come in."""

    folder: Path
    authority: CertKey
    identity: CertKey
    port: int
    registry: Registry = field(default_factory=Registry)
    heartbeat: float = HEARTBEAT
    agents: AgentServer = field(init=False)

    @classmethod
    def make(cls, folder: Path, **options: float) -> "Lab":
        now = datetime.now(UTC)
        authority = pki.kubernetes_ca(now)
        leaf = pki.kube_apiserver(authority, now, [ip_address(HOST)])
        chain = CertKey(leaf.crt + authority.crt, leaf.key)
        return cls(folder, authority, chain, free_port(), **options)  # type: ignore[arg-type]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """The server, for as long as the block runs."""
        self.agents = AgentServer(self.registry, self.heartbeat)
        ports, path = Ports(), self.folder / "grpc.sock"
        server = SideroLinkServer(
            engine=FakeEngine(),  # type: ignore[arg-type]
            registry=ports,
            events=ports,
            logs=ports,
            trust=ports,
            endpoint=ENDPOINT,
            socket=path,
            services=[self.agents.add_to],
        )
        await server.start()
        web = on_socket(self.folder / "web.sock")
        public = PublicPort(lambda: tls.server_context(self.identity), web, on_socket(path), web)
        serving = asyncio.create_task(public.serve(HOST, self.port))
        await asyncio.sleep(0)  # it listens before it waits
        try:
            yield
        finally:
            self.agents.close()
            await server.stop()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    @property
    def trust(self) -> Trust:
        return Trust(ca=self.authority.crt.decode())

    def options(
        self,
        *nodes: str,
        scan: tuple[str, ...] = (),
        token: str = TOKEN,
        trust: Trust | None = None,
        proxy: Proxy | None = None,
        url: str = "",
        state: str = "state",
    ) -> agent.Options:
        """What an agent here is given."""
        address = Address.parse(url or f"https://{HOST}:{self.port}")
        way = Way(address, trust or self.trust, proxy)
        return agent.Options(way, "rack-7", token, Scope(nodes, scan), self.folder / state, "0.0.0-test")

    @contextlib.asynccontextmanager
    async def agent(self, options: agent.Options) -> AsyncIterator[asyncio.Event]:
        """An agent, for as long as the block runs; the event stops it."""
        stop = asyncio.Event()
        running = asyncio.create_task(agent.run(options, stop))
        try:
            yield stop
        finally:
            stop.set()
            await asyncio.wait_for(running, PATIENCE)

    @contextlib.asynccontextmanager
    async def connected(self, *nodes: str) -> AsyncIterator[str]:
        """An agent that is in; its id."""
        async with self.serving(), self.agent(self.options(*nodes)):
            yield (await self.registry.hears("connected"))[1]


@contextlib.asynccontextmanager
async def lab(**options: float) -> AsyncIterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="omni-") as folder:
        yield Lab.make(Path(folder), **options)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def machine(handler: Handler, host: str | None = None, port: int = API_PORT) -> AsyncIterator[str]:
    """A host where port 50000 is answered by a handler. What it holds open is closed at the end."""
    host, live = host or new_host(), set[asyncio.StreamWriter]()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        live.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)

    server = await asyncio.start_server(accept, host, port)
    try:
        yield host
    finally:
        server.close()
        for writer in live:
            writer.transport.abort()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
