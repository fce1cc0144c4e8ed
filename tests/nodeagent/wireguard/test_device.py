"""Two WireGuard devices in virtual time."""

import heapq
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nodeagent.wireguard import cookie, noise
from nodeagent.wireguard import device as device_module
from nodeagent.wireguard.device import Device
from nodeagent.wireguard.session import REPLAY_WINDOW, Session

PACKET = bytes(range(64))


class World:
    """Devices that reach each other with one millisecond of delay, and the time."""

    def __init__(self):
        self.now = 1000.0
        self.events = []
        self.nodes = {}
        self.lost = set()  # names whose datagrams vanish, both ways
        self.log = []

    def node(self, name):
        return Node(self, name)

    def run(self, seconds):
        end = self.now + seconds
        while True:
            alarms = [(node.device.deadlines.next(), name) for name, node in self.nodes.items()]
            at = min([alarm for alarm, _ in alarms] + [event[0] for event in self.events[:1]], default=end)
            if at > end:
                break
            self.now = max(self.now, at)
            while self.events and self.events[0][0] <= self.now:
                _, _, source, target, datagram = heapq.heappop(self.events)
                if target in self.nodes and target not in self.lost:
                    self.nodes[target].device.receive(self.now, datagram, (source, 1))
            for node in self.nodes.values():
                node.device.tick(self.now)
        self.now = end


class Node:
    def __init__(self, world, name):
        self.world, self.name, self.inbox = world, name, []
        rng = random.Random(name)
        self.device = Device(
            noise.Identity(rng.randbytes(32)), self.transmit, self.deliver,
            wall_nanoseconds=lambda: int(world.now * 1e9), rng=rng,
        )  # fmt: skip
        world.nodes[name] = self

    def transmit(self, datagram, endpoint):
        self.world.log.append((self.world.now, self.name, datagram[0], len(datagram)))
        if self.name not in self.world.lost:
            heapq.heappush(
                self.world.events, (self.world.now + 0.001, len(self.world.log), self.name, endpoint[0], datagram)
            )

    def deliver(self, now, peer, packet):
        self.inbox.append(packet)

    def knows(self, other, endpoint=None, keepalive=None):
        peer = self.device.add_peer(other.device.identity.public, b"", keepalive)
        if endpoint:
            peer.connect(self.world.now, (endpoint, 1))
        return peer


@pytest.fixture
def world():
    return World()


@pytest.fixture
def pair(world):
    server, machine = world.node("server"), world.node("machine")
    return server, machine, server.knows(machine), machine.knows(server, "server")


def handshakes(world, kind=noise.INITIATION):
    return [entry for entry in world.log if entry[2] == kind]


def test_handshake_and_data_both_ways(world, pair):
    server, machine, to_machine, to_server = pair
    world.run(0.1)
    to_server.send(world.now, PACKET)
    to_machine.send(world.now, PACKET[:33])
    world.run(0.1)
    assert server.inbox == [PACKET]
    assert machine.inbox == [PACKET[:33] + bytes(15)]
    assert to_machine.endpoint == ("machine", 1)
    assert to_server.last_handshake == pytest.approx(1000.0, abs=0.01)
    assert to_machine.received == to_server.sent == 148 + 32 + 96


def test_responder_is_silent_until_initiator_spoke(world, pair):
    _, machine, to_machine, _ = pair
    to_machine.send(world.now, PACKET)
    world.run(0.0021)  # the response has arrived, nothing after it
    assert machine.inbox == []
    world.run(0.1)
    assert machine.inbox == [PACKET]


def test_packets_wait_for_the_session_and_the_oldest_go(world, pair):
    server, _, to_machine, to_server = pair
    to_machine.close()
    for number in range(130):
        to_server.send(world.now, number.to_bytes(16, "big"))
    world.run(1)
    assert [int.from_bytes(packet, "big") for packet in server.inbox] == list(range(2, 130))


def test_simultaneous_initiations_leave_a_working_session(world):
    a, b = world.node("a"), world.node("b")
    to_b, to_a = a.knows(b, "b"), b.knows(a, "a")
    world.run(1)
    for _ in range(3):
        to_b.send(world.now, PACKET)
        to_a.send(world.now, PACKET)
        world.run(20)
    assert len(a.inbox) == len(b.inbox) == 3


def test_rekey_goes_on_under_traffic_without_loss(world, pair):
    server, machine, to_machine, to_server = pair
    for _ in range(900):
        to_server.send(world.now, PACKET)
        to_machine.send(world.now, PACKET)
        world.run(1)
    assert len(server.inbox) == len(machine.inbox) == 900
    assert 7 <= len(handshakes(world)) <= 9
    assert server.device.counters.dropped_unauthenticated == machine.device.counters.dropped_unauthenticated == 0
    assert len(server.device._indices) <= 3


def test_persistent_keepalive_holds_an_idle_link(world):
    server, machine = world.node("server"), world.node("machine")
    server.knows(machine)
    machine.knows(server, "server", keepalive=25)
    world.run(101)
    sent = [at for at, name, kind, size in world.log if name == "machine" and kind == 4 and size == 32]
    assert sent == pytest.approx([1000.002, 1025.0, 1050.0, 1075.0, 1100.0], abs=0.1)


def test_received_data_is_answered_within_ten_seconds(world, pair):
    _, _, _, to_server = pair
    world.run(1)
    to_server.send(world.now, PACKET)
    world.log.clear()
    world.run(20)
    assert [(round(at - 1001), name) for at, name, _, _ in world.log] == [(10, "server")]


def test_unanswered_data_brings_a_new_handshake(world, pair):
    _, _, to_machine, _ = pair
    world.run(6)
    world.lost.add("machine")
    world.log.clear()
    to_machine.send(world.now, PACKET)
    world.run(16)
    (at, *_) = handshakes(world)[0]
    assert 15 <= at - 1006 <= 15.4


def test_unreachable_peer_costs_little_and_is_found_again(world):
    server, machine = world.node("server"), world.node("machine")
    to_machine = server.knows(machine, "machine", keepalive=25)
    machine.knows(server)
    world.lost.add("machine")
    world.run(100)
    assert 16 <= len(handshakes(world)) <= 20
    world.log.clear()
    world.run(1000)
    assert len(handshakes(world)) <= 42
    world.lost.clear()
    world.run(31)
    assert to_machine.last_handshake == pytest.approx(world.now, abs=31)


def test_restarted_machine_is_let_in_with_a_later_timestamp_only(world, pair):
    server, machine, _, _ = pair
    world.run(10)
    server.device.receive(world.now, server_initiation(machine, server, world), ("machine", 1))
    before = server.device.counters.dropped_unauthenticated
    old = server_initiation(machine, server, world, age=60)
    server.device.receive(world.now + 1, old, ("machine", 1))
    assert server.device.counters.dropped_unauthenticated == before + 1


def server_initiation(machine, server, world, age=0):
    """An initiation by the machine's key, made `age` seconds ago."""
    identity, remote = machine.device.identity, server.device.identity.public
    label = noise.timestamp(int((world.now - age) * 1e9))
    message, _ = noise.create_initiation(
        identity, remote, identity.shared_with(remote), 7, label, X25519PrivateKey.generate()
    )
    return cookie.sign(message, remote, None)


def test_endpoint_follows_the_authenticated_sender_only(world, pair):
    server, machine, to_machine, to_server = pair
    world.run(1)
    captured = []
    server.device.transmit = lambda datagram, endpoint: captured.append((datagram, endpoint))
    machine.device.transmit = lambda datagram, endpoint: captured.append((datagram, endpoint))
    to_server.send(world.now, PACKET)
    datagram, _ = captured.pop()
    server.device.receive(world.now, datagram[:-1] + b"\0", ("elsewhere", 9))
    assert to_machine.endpoint == ("machine", 1)
    server.device.receive(world.now, datagram, ("elsewhere", 9))
    assert to_machine.endpoint == ("elsewhere", 9)
    server.device.receive(world.now, datagram, ("replayer", 9))
    assert to_machine.endpoint == ("elsewhere", 9)
    assert server.device.counters.dropped_replayed == 1


def test_overloaded_responder_asks_for_a_cookie(world, pair, monkeypatch):
    server, _, to_machine, _ = pair
    monkeypatch.setattr(device_module, "INITIATIONS_BEFORE_LOAD", 0)
    world.run(1)
    assert server.device.counters.cookies_sent == 1
    assert to_machine.last_handshake is None
    world.run(6)
    assert to_machine.last_handshake is not None


def test_under_load_no_address_gets_all_the_answers(world, pair, monkeypatch):
    server, _, to_machine, _ = pair
    monkeypatch.setattr(device_module, "INITIATIONS_BEFORE_LOAD", 0)
    monkeypatch.setattr(device_module, "INITIATIONS_PER_SOURCE", 0)
    world.run(20)
    assert to_machine.last_handshake is None
    assert server.device.counters.dropped_overload >= 3
    assert server.device.counters.cookies_sent == 1


def test_session_ends_after_three_minutes_and_keys_are_forgotten(world, pair):
    server, machine, to_machine, _ = pair
    world.run(1)
    world.lost.add("machine")
    world.run(200)
    world.log.clear()
    to_machine.send(world.now, PACKET)
    assert [entry[2] for entry in world.log] == [noise.INITIATION]
    world.run(600)
    assert server.device._indices == machine.device._indices == {}


def test_removed_peer_is_unknown(world, pair):
    server, machine, _, to_server = pair
    world.run(1)
    server.device.remove_peer(machine.device.identity.public)
    to_server.send(world.now, PACKET)
    world.run(60)
    assert server.inbox == []
    assert server.device.counters.dropped_unauthenticated > 1


def test_garbage_is_counted_and_harmless(world, pair):
    server, _, _, to_server = pair
    world.run(1)
    rng = random.Random(1)
    for size in [0, 1, 4, 31, 32, 64, 92, 148, 149, 1500] * 20:
        for kind in range(6):
            server.device.receive(world.now, (bytes([kind, 0, 0, 0]) + rng.randbytes(size))[:size], ("x", 1))
    to_server.send(world.now, PACKET)
    world.run(1)
    assert server.inbox == [PACKET]
    counters = server.device.counters
    assert counters.dropped_malformed + counters.dropped_unauthenticated == 1200


def test_replay_window():
    session = Session(noise.SessionKeys(bytes(32), bytes(32), 1, 2, True), 0.0)
    assert not session.is_replay(5)
    assert session.is_replay(5)
    assert not session.is_replay(0)
    assert not session.is_replay(REPLAY_WINDOW + 2)
    assert not session.is_replay(4)
    assert session.is_replay(4)
    assert session.is_replay(2)  # too old to tell
    assert not session.is_replay(10 * REPLAY_WINDOW)
    assert session.is_replay(5)
    assert session.is_replay((1 << 64) - 1)
