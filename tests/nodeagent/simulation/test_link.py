"""A whole link, WireGuard and TCP together, over quarter hours of virtual time."""

import random

import pytest

from nodeagent.wireguard.deadlines import NEVER
from nodeagent.wireguard.device import Device
from nodeagent.wireguard.noise import Identity
from nodeagent.wireguard.stack import Stack
from nodeagent.wireguard.tcp.connection import Phase
from tests.nodeagent.simulation.world import World

PORT = 80


class Node:
    """One end of the link: a device under a stack, no socket."""

    def __init__(self, world, name, address, key=None):
        self.world, self.name, self.address = world, name, address
        self.rng = random.Random(world.random.random())
        self.key = key or self.rng.randbytes(32)
        self.device = Device(
            Identity(self.key),
            lambda datagram, endpoint: self.send(datagram),
            lambda now, peer, packet: self.stack.receive(now, peer.address, packet),
            wall_nanoseconds=lambda: int(world.now * 1e9),
            rng=self.rng,
        )
        self.stack = Stack(address, self._output, rng=self.rng)
        self.other = None
        self.peer = None
        self.is_dead = False
        self.endpoint = (name, 1)
        self._timer_at = NEVER

    def knows(self, other, endpoint=None, keepalive=25):
        self.other = other
        self.peer = self.device.add_peer(other.device.identity.public, other.address, keepalive)
        if endpoint:
            self.peer.connect(self.world.now, endpoint)
        self.turn()

    def _output(self, remote, packet):
        self.peer.send(self.world.now, packet)

    def send(self, datagram):
        if not self.world.chance(self.world.loss):
            self.world.after(0.01, self.other.receive, datagram, self.endpoint)

    def receive(self, datagram, source):
        if not self.is_dead:
            self.device.receive(self.world.now, datagram, source)
            self.turn()

    def turn(self):
        self.device.tick(self.world.now)
        self.stack.tick(self.world.now)
        self.stack.flush(self.world.now)
        at = min(self.device.deadlines.next(), self.stack.deadlines.next())
        if at < self._timer_at:
            self._timer_at = at
            self.world.at(at, self._on_timer, at)

    def _on_timer(self, at):
        if at == self._timer_at:
            self._timer_at = NEVER
        if not self.is_dead:
            self.turn()


class Echo:
    """Sends back what comes, or keeps it."""

    def __init__(self, node, connection, echoes):
        self.node, self.connection, self.echoes = node, connection, echoes
        self.data = b""
        connection.user = self

    def deliver(self, now):
        data = self.connection.read(now)
        self.data += data
        if self.echoes:
            self.connection.write(data)

    def settle(self):
        pass


def run(world, seconds):
    """Let time pass."""
    end = world.now + seconds
    reached = []
    world.at(end, reached.append, True)
    while not reached:
        world.step()


@pytest.fixture
def link():
    world = World(7)
    world.loss = 0.0
    server, machine = Node(world, "server", b"\xfd" + bytes(15)), Node(world, "machine", b"\xfe" + bytes(15))
    server.knows(machine)
    machine.knows(server, server.endpoint)
    machine.stack.listen(PORT, lambda connection: Echo(machine, connection, True))
    run(world, 1)
    return world, server, machine


def connect(server, machine):
    connection = server.stack.connect(server.world.now, machine.address, PORT)
    server.turn()
    return Echo(server, connection, False)


@pytest.mark.parametrize("loss", [0, 0.05])
def test_connection_outlives_rekeys_losses_and_a_new_endpoint(link, loss):
    world, server, machine = link
    world.loss = loss
    talk = connect(server, machine)
    expected = b""
    for second in range(1000):
        piece = second.to_bytes(4, "big") * 100
        expected += piece
        talk.connection.write(piece)
        server.stack.touch(talk.connection)
        server.turn()
        if second == 500:
            machine.endpoint = ("machine behind another router", 1)
        run(world, 1)
    run(world, 30)
    assert talk.data == expected
    assert talk.connection.phase is Phase.OPEN
    assert server.peer.endpoint == machine.endpoint
    assert 8 <= server.device.counters.handshakes <= 20


def test_idle_connection_outlives_an_hour(link):
    world, server, machine = link
    talk = connect(server, machine)
    run(world, 3600)
    talk.connection.write(b"still there?")
    server.stack.touch(talk.connection)
    server.turn()
    run(world, 1)
    assert talk.data == b"still there?"


def test_restarted_server_is_found_at_once_and_old_connections_are_reset(link):
    world, server, machine = link
    server.stack.listen(PORT, lambda connection: Echo(server, connection, True))
    old = connect(machine, server)
    run(world, 50)
    server.is_dead = True
    run(world, 3)
    again = Node(world, "server", server.address, server.key)
    machine.other = again
    again.knows(machine, machine.endpoint)
    run(world, 0.1)
    assert again.peer.last_handshake is not None
    old.connection.write(b"hello?")
    machine.stack.touch(old.connection)
    machine.turn()
    run(world, 0.1)
    assert isinstance(old.connection.error, ConnectionResetError)


def test_lost_machine_ends_its_connections(link):
    world, server, machine = link
    busy, idle = connect(server, machine), connect(server, machine)
    run(world, 1)
    machine.is_dead = True
    busy.connection.write(b"anybody?")
    server.stack.touch(busy.connection)
    server.turn()
    run(world, 200)
    assert isinstance(busy.connection.error, TimeoutError)
    assert isinstance(idle.connection.error, TimeoutError)
    assert server.stack.connections == {}
