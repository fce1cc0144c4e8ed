"""The engine on an interface against machines made of software, in a network namespace of its own.

Runs as `unshare -Urnm python -m tests.nodeagent.wireguard.interface_scenarios SCENARIO`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator

import pytest

from nodeagent.wireguard.device_link import Kind
from nodeagent.wireguard.engine import LinkTransport
from nodeagent.wireguard.interface import InterfaceEngine
from nodeagent.wireguard.noise import Identity
from nodeagent.wireguard.userspace import UserspaceEngine
from tests.nodeagent.wireguard.interop import SERVER, echo, exchange, run

MACHINE, OTHER = "fdae:41e4:649b:9303:1:2:3:4", "fdae:41e4:649b:9303:5:6:7:8"
UDP = ("127.0.0.1", 50180)
INTERFACE = "omni50180"
TAG = "[fdae:41e4:649b:9304::7]:50889"
KEY = os.urandom(32)


async def opened() -> InterfaceEngine:
    return await InterfaceEngine.open(Kind.WIREGUARD_GO, INTERFACE, KEY, SERVER, UDP[1])


async def machine(server: InterfaceEngine, address: str = MACHINE) -> UserspaceEngine:
    """A machine over UDP that both ends let in."""
    engine = UserspaceEngine(os.urandom(32), address, ("127.0.0.1", 0))
    await server.add_peer(engine.public_key, address)
    await engine.add_peer(server.public_key, SERVER, UDP)
    return engine


class Stream:
    """A tunnel between a machine and the server, as a gRPC stream would carry it."""

    def __init__(self, server: InterfaceEngine, engine: UserspaceEngine) -> None:
        self.server, self.engine = server, engine

    def open(self) -> None:
        self.server.attach(TAG, self.to_machine)
        self.engine.attach("server", self.to_server)

    def close(self) -> None:
        self.server.detach(TAG, self.to_machine)

    def to_machine(self, packet: bytes) -> None:
        self.engine.feed("server", packet)

    def to_server(self, packet: bytes) -> None:
        self.server.feed(TAG, packet)


async def both_directions(server: InterfaceEngine, engine: UserspaceEngine) -> None:
    port = (await server.serve(0, echo)).port
    await exchange(*await engine.dial(SERVER, port), 300_000)
    await engine.serve(50000, echo)
    await exchange(*await server.dial(MACHINE, 50000), 300_000)


async def udp(server: InterfaceEngine) -> None:
    engine = await machine(server)
    await both_directions(server, engine)
    state = await server.peer(engine.public_key)
    assert state is not None
    assert (state.transport, state.address) == (LinkTransport.UDP, MACHINE)
    assert state.last_handshake is not None
    assert state.received > 600_000
    assert state.sent > 600_000


async def tunnel(server: InterfaceEngine) -> None:
    engine = UserspaceEngine(os.urandom(32), MACHINE)
    await server.add_peer(engine.public_key, MACHINE, TAG)
    await engine.add_peer(server.public_key, SERVER, "server")
    first = Stream(server, engine)
    first.open()
    await both_directions(server, engine)
    state = await server.peer(engine.public_key)
    assert state is not None
    assert state.endpoint == TAG
    second = Stream(server, engine)
    second.open()
    first.close()  # late, as half-open streams do: it must not close the newer one
    async with asyncio.timeout(5):  # WireGuard itself would find the new socket with the machine's next packet only
        await exchange(*await server.dial(MACHINE, 50000), 1000)


async def from_tunnel_to_udp(server: InterfaceEngine) -> None:
    private = os.urandom(32)
    tunnelled = UserspaceEngine(private, MACHINE)
    await server.add_peer(tunnelled.public_key, MACHINE, TAG)
    await tunnelled.add_peer(server.public_key, SERVER, "server")
    stream = Stream(server, tunnelled)
    stream.open()
    await both_directions(server, tunnelled)
    stream.close()
    await tunnelled.close()
    await server.remove_peer(tunnelled.public_key)
    engine = UserspaceEngine(private, MACHINE, ("127.0.0.1", 0))
    await server.add_peer(engine.public_key, MACHINE)
    await engine.add_peer(server.public_key, SERVER, UDP)
    await both_directions(server, engine)
    state = await server.peer(engine.public_key)
    assert state is not None
    assert state.transport is LinkTransport.UDP


async def refused(engine: UserspaceEngine, address: str, port: int) -> None:
    try:
        await engine.dial(address, port, timeout=2)
    except OSError:
        return
    raise AssertionError(f"{address} port {port} let a machine in")


async def only_our_ports(server: InterfaceEngine) -> None:
    engine = await machine(server)
    await both_directions(server, engine)
    run("ip", "address", "add", "fd00::1/64", "dev", "lo")
    others = socket.create_server(("::", 7000), family=socket.AF_INET6)  # e.g. an SSH daemon of the host
    await refused(engine, SERVER, 7000)
    admitted: list[str] = []

    def admit(address: str) -> bool:
        admitted.append(address)
        return address != MACHINE

    picky = await server.serve(7001, echo, admit)
    await refused_after_accept(engine, 7001)
    assert admitted == [MACHINE]
    picky.close()
    open_port = await server.serve(7002, echo)
    await exchange(*await engine.dial(SERVER, 7002), 1000)
    open_port.close()
    await refused(engine, SERVER, 7002)
    others.close()


async def refused_after_accept(engine: UserspaceEngine, port: int) -> None:
    with contextlib.suppress(ConnectionError):
        reader, writer = await engine.dial(SERVER, port, timeout=2)
        writer.write(b"hello")
        assert await reader.read(1) == b"", "a machine that is not admitted was served"


async def not_from_elsewhere(server: InterfaceEngine) -> None:
    """A service for machines does not answer another interface, whatever source address is claimed there."""
    port = (await server.serve(0, echo)).port
    run("ip", "address", "add", f"{MACHINE}/128", "dev", "lo", "nodad")
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as stranger:
        stranger.settimeout(2)
        stranger.bind((MACHINE, 0))
        try:
            await asyncio.to_thread(stranger.connect, (SERVER, port))
        except OSError:
            return
    raise AssertionError("the service answered a connection that no peer had sent")


async def nobody_else_of_the_host_reaches_machines(server: InterfaceEngine) -> None:
    engine = await machine(server)
    await engine.serve(50000, echo)
    await exchange(*await server.dial(MACHINE, 50000), 1000)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(socket.create_connection, (MACHINE, 50000), 5)
    await exchange(*await server.dial(MACHINE, 50000), 1000)


async def machines_never_meet(server: InterfaceEngine) -> None:
    one, other = await machine(server), await machine(server, OTHER)
    await other.serve(50000, echo)
    await exchange(*await server.dial(OTHER, 50000), 1000)
    run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")  # as on a host that is a router, too
    third = os.urandom(32)
    await one.remove_peer(server.public_key)
    await one.add_peer(server.public_key, OTHER, UDP)  # a machine that sends everything for the other to us
    await refused(one, OTHER, 50000)
    assert Identity(third).public not in [state.public_key for state in await server.peers()]


async def removal_breaks_connections(server: InterfaceEngine) -> None:
    engine = await machine(server)
    await engine.serve(50000, echo)
    reader, writer = await server.dial(MACHINE, 50000)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    await server.remove_peer(engine.public_key)
    with contextlib.suppress(ConnectionError):
        assert await reader.read(1) == b""
    with contextlib.suppress(OSError):
        await server.dial(MACHINE, 50000)
        raise AssertionError("a removed machine can be reached")
    assert await server.peers() == []


async def one_address_one_key(server: InterfaceEngine) -> None:
    engine = await machine(server)
    for address in (MACHINE, SERVER):
        try:
            await server.add_peer(os.urandom(32), address)
        except ValueError:
            continue
        raise AssertionError(f"{address} was given away twice")
    assert [state.public_key for state in await server.peers()] == [engine.public_key]


async def restart(server: InterfaceEngine) -> None:
    engine = await machine(server)
    await both_directions(server, engine)
    state = await server.peer(engine.public_key)
    assert state is not None
    port = (await server.serve(0, echo)).port
    reader, writer = await engine.dial(SERVER, port)
    await server.close()
    again = await opened()
    await again.add_peer(engine.public_key, MACHINE, state.endpoint)
    while (seen := await again.peer(engine.public_key)) is None or seen.last_handshake is None:
        await asyncio.sleep(0.05)
    await exchange(*await again.dial(MACHINE, 50000), 1000)
    writer.write(b"to the server that was")
    with contextlib.suppress(ConnectionError):  # it learns at once that its connection is gone
        assert await reader.read(1) == b""
    await again.close()


async def killed_process_is_noticed(server: InterfaceEngine) -> None:
    watching = asyncio.create_task(server.watch())
    run("ip", "link", "delete", INTERFACE)
    with pytest.raises(OSError, match=INTERFACE):
        await watching


SCENARIOS = [
    function.__name__
    for function in (
        udp, tunnel, from_tunnel_to_udp, only_our_ports, not_from_elsewhere,
        nobody_else_of_the_host_reaches_machines, machines_never_meet, removal_breaks_connections, one_address_one_key,
        restart, killed_process_is_noticed,
    )
]  # fmt: skip


@contextlib.asynccontextmanager
async def bed() -> AsyncIterator[InterfaceEngine]:
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "set", "lo", "up")
    server = await opened()
    yield server
    await server.close()


async def main(scenario: str) -> None:
    async with bed() as server, asyncio.timeout(60):
        await globals()[scenario](server)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
