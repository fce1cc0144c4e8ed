"""The Kubernetes API of a cluster on the overlay: who may connect, and who answers."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from nodeagent.balancer import Backends, Balancer
from nodeagent.dial import Stream
from nodeagent.wireguard.engine import StreamHandler

ONE, TWO, WORKER = "fdae::1", "fdae::2", "fdae::3"


@dataclass
class FakeEngine:
    """Machines that answer with their own address, unless they are down."""

    down: set[str] = field(default_factory=set)
    dialled: list[tuple[str, int]] = field(default_factory=list)
    open: dict[int, tuple[StreamHandler, Callable[[str], bool]]] = field(default_factory=dict)

    async def dial(self, address: str, port: int) -> Stream:
        self.dialled.append((address, port))
        if address in self.down:
            raise TimeoutError
        ours, theirs = socket.socketpair()
        theirs.sendall(address.encode())
        theirs.close()
        return await asyncio.open_connection(sock=ours)

    async def serve(self, port: int, handler: StreamHandler, admit: Callable[[str], bool]) -> "_Listener":
        self.open[port] = (handler, admit)
        return _Listener(self, port)

    @contextlib.asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Stream]:
        """A machine's connection to an open port."""
        ours, theirs = socket.socketpair()
        handling = asyncio.create_task(self.open[port][0](*await asyncio.open_connection(sock=ours)))
        reader, writer = await asyncio.open_connection(sock=theirs)
        yield reader, writer
        writer.close()
        await handling


@dataclass
class _Listener:
    engine: FakeEngine
    port: int

    def close(self) -> None:
        del self.engine.open[self.port]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


async def opened(engine: FakeEngine, *control_planes: str) -> Balancer:
    backends = Backends(frozenset({ONE, TWO, WORKER}), control_planes)
    balancer = Balancer(engine, engine.dial, 10_000, backends)  # type: ignore[arg-type]
    await balancer.open()
    return balancer


async def answers(engine: FakeEngine, count: int) -> list[str]:
    seen = []
    for _ in range(count):
        async with engine.connect(10_000) as (reader, _):
            seen.append((await reader.read()).decode())
    return seen


async def test_control_planes_take_turns(engine: FakeEngine) -> None:
    await opened(engine, ONE, TWO)
    assert await answers(engine, 4) == [ONE, TWO, ONE, TWO]
    assert {port for _, port in engine.dialled} == {6443}


async def test_one_that_is_down_is_passed_over(engine: FakeEngine) -> None:
    await opened(engine, ONE, TWO)
    engine.down = {ONE}
    assert await answers(engine, 2) == [TWO, TWO]


async def test_when_all_are_down_the_connection_is_reset(engine: FakeEngine) -> None:
    await opened(engine, ONE, TWO)
    engine.down = {ONE, TWO}
    assert await answers(engine, 1) == [""]
    assert len(engine.dialled) == 2


async def test_without_control_planes_the_connection_is_reset(engine: FakeEngine) -> None:
    await opened(engine)
    assert await answers(engine, 1) == [""]


async def test_only_members_are_let_in_and_members_change(engine: FakeEngine) -> None:
    balancer = await opened(engine, ONE)
    admit = engine.open[10_000][1]
    assert admit(WORKER)
    assert not admit("fdae::9")
    balancer.backends = Backends(frozenset({"fdae::9"}), (TWO,))
    assert admit("fdae::9")
    assert not admit(WORKER)
    assert await answers(engine, 1) == [TWO]


async def test_a_closed_one_takes_no_more(engine: FakeEngine) -> None:
    balancer = await opened(engine, ONE)
    balancer.close()
    assert engine.open == {}
