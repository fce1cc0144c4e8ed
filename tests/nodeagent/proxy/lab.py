"""The proxy on a gRPC server of its own, with a gate that a test decides, in front of machines of any kind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc

from nodeagent.dial import Stream
from nodeagent.proxy.ports import Call, Passage, Refused, Target
from nodeagent.proxy.server import TalosProxy
from nodeagent.sockets import new_socket_path
from nodeagent.tls import Credentials
from talos import pki
from tests.nodeagent.simulator.bench import bundle

LIMIT = 32 * 1024 * 1024
MESSAGES = [
    ("grpc.max_receive_message_length", LIMIT),
    ("grpc.max_send_message_length", LIMIT),
]


def impersonator() -> Credentials:
    """What opens the machines of the tests' cluster to us."""
    made = bundle()
    return Credentials(made.os.crt, pki.talos_client(made.os, ["os:impersonator"], datetime.now(UTC)))


class FakeTicket:
    """Counts its ends, and is withdrawn when a test says so."""

    def __init__(self) -> None:
        self.withdrawn: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.outcomes: list[str] = []
        self.ended = asyncio.Event()

    def over(self, outcome: str) -> None:
        self.outcomes.append(outcome)
        self.ended.set()


@dataclass
class FakeGate:
    """Lets every call in, to the nodes it names in its metadata. Keeps all it saw."""

    targets: dict[str, Target] = field(default_factory=dict)
    talos_role: str = "os:admin"
    refusal: Refused | None = None
    calls: list[Call] = field(default_factory=list)
    tickets: list[FakeTicket] = field(default_factory=list)

    async def admit(self, call: Call) -> Passage:
        self.calls.append(call)
        if self.refusal is not None:
            raise self.refusal
        named = [str(value) for key, value in call.metadata if key == "nodes"]
        chosen = named or [str(value) for key, value in call.metadata if key == "node"]
        ticket = FakeTicket()
        self.tickets.append(ticket)
        return Passage(tuple(self.targets[name] for name in chosen), bool(named), self.talos_role, ticket)

    @property
    def ticket(self) -> FakeTicket:
        """Of the last call that was let in."""
        return self.tickets[-1]


@dataclass
class Lab:
    """A running proxy. `dialled` counts connections by address."""

    gate: FakeGate
    proxy: TalosProxy
    address: str
    channel: grpc.aio.Channel
    ways: dict[str, Callable[[], Awaitable[Stream]]]
    dialled: list[str]

    def node(self, name: str, way: Callable[[], Awaitable[Stream]], **target: Any) -> Target:
        """A machine that is reached by `way`, under its name as its address."""
        made = Target(**{"name": name, "uuid": name, "address": name, "credentials": None, **target})
        self.gate.targets[name] = made
        self.ways[made.address] = way
        return made


@contextlib.asynccontextmanager
async def lab() -> AsyncIterator[Lab]:
    gate, ways, dialled = FakeGate(), {}, []

    async def dial(address: str, port: int) -> Stream:
        assert port == 50000
        dialled.append(address)
        return await ways[address]()

    proxy = TalosProxy(gate, dial)
    path = new_socket_path()
    server = grpc.aio.server(options=MESSAGES)
    proxy.add_to(server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"unix:{path}", options=MESSAGES) as channel:
            yield Lab(gate, proxy, f"unix:{path}", channel, ways, dialled)
    finally:
        await proxy.close()
        await server.stop(0)
        path.unlink(missing_ok=True)


def at(*nodes: str, style: str = "node", **more: str) -> list[tuple[str, str]]:
    """Metadata of a call to these nodes."""
    return [("runtime", "Talos"), *((style, node) for node in nodes), *more.items()]
