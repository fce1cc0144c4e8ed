"""Userspace engines against each other, over UDP on loopback and over tunnels in memory."""

import asyncio
import datetime
import errno
import os
import socket
import ssl
from contextlib import AsyncExitStack

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nodeagent.wireguard.engine import Engine, LinkTransport
from nodeagent.wireguard.packet import SYN, Route, Segment, encode_tcp
from nodeagent.wireguard.stack import Limits
from nodeagent.wireguard.userspace import UserspaceEngine

SERVER = "fdae:41e4:649b:9303::1"
LOOPBACK = ("127.0.0.1", 0)
TAG = "[fdae:41e4:649b:9304:1:2:3:4]:50889"


def machine_address(number: int) -> str:
    return f"fdae:41e4:649b:9303::1:{number:x}"


@pytest.fixture
async def engines():
    """Makes engines and closes them."""
    async with AsyncExitStack() as stack:

        def make(address: str, udp=LOOPBACK, **options) -> UserspaceEngine:
            engine = UserspaceEngine(os.urandom(32), address, udp, **options)
            stack.push_async_callback(engine.close)
            return engine

        yield make


async def link(server: Engine, machine: Engine) -> None:
    await server.add_peer(machine.public_key, machine.address)
    await machine.add_peer(server.public_key, server.address, server.udp_address)


@pytest.fixture
async def pair(engines):
    server, machine = engines(SERVER), engines(machine_address(1))
    await link(server, machine)
    return server, machine


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def until(condition):
    while not await condition():
        await asyncio.sleep(0.01)


async def test_machine_dials_and_both_ends_see_addresses(pair):
    server, machine = pair
    peers = []

    async def handler(reader, writer):
        peers.append(writer.get_extra_info("peername")[0])
        await echo(reader, writer)

    await server.serve(8090, handler)
    reader, writer = await machine.dial(SERVER, 8090)
    writer.write(b"hello")
    writer.write_eof()
    assert await reader.read() == b"hello"
    assert peers == [machine.address]
    assert writer.get_extra_info("peername")[:2] == (SERVER, 8090)
    assert writer.get_extra_info("sockname")[0] == machine.address
    writer.close()
    await writer.wait_closed()


async def test_server_dials_once_it_knows_the_machine_and_bulk_arrives(pair):
    server, machine = pair
    await machine.serve(50000, echo)
    reader, writer = await server.dial(machine.address, 50000)
    data = os.urandom(5 << 20)

    async def send():
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    _, received = await asyncio.gather(send(), reader.read())
    assert received == data
    writer.close()


async def test_peer_state(pair):
    server, machine = pair
    state = await server.peer(machine.public_key)
    assert (state.last_handshake, state.endpoint, state.transport) == (None, None, None)
    await machine.serve(1, echo)
    await server.dial(machine.address, 1)
    (state,) = await server.peers()
    assert state.public_key == machine.public_key
    assert state.address == machine.address
    assert state.endpoint == machine.udp_address
    assert state.transport is LinkTransport.UDP
    assert state.last_handshake is not None
    assert state.received > 0
    assert state.sent > 0
    assert (await server.peer(os.urandom(32))) is None
    assert (await server.counters()).handshakes == 1


async def test_restarted_server_with_the_last_endpoint_finds_its_machine_at_once(engines):
    machine = engines(machine_address(1))
    server = engines(SERVER)
    await machine.add_peer(server.public_key, SERVER)
    await machine.serve(50000, echo)
    await server.add_peer(machine.public_key, machine.address, machine.udp_address)
    reader, writer = await server.dial(machine.address, 50000)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"


async def test_refusals_name_what_failed(pair):
    server, machine = pair
    with pytest.raises(ConnectionRefusedError, match=r"fdae:41e4:649b:9303::1 refused .* port 9"):
        await machine.dial(SERVER, 9)
    with pytest.raises(OSError, match="No machine") as caught:
        await server.dial(machine_address(2), 50000)
    assert caught.value.errno == errno.EHOSTUNREACH
    with pytest.raises(ValueError, match="IPv6"):
        await server.dial("10.0.0.1", 50000)
    await server.listen(80, asyncio.Protocol)
    with pytest.raises(OSError, match="already") as caught:
        await server.listen(80, asyncio.Protocol)
    assert caught.value.errno == errno.EADDRINUSE


async def test_dial_times_out(engines):
    server = engines(SERVER)
    await server.add_peer(engines(machine_address(1)).public_key, machine_address(1))
    with pytest.raises(TimeoutError, match="did not answer"):
        await server.dial(machine_address(1), 50000, timeout=0.05)


async def test_bad_peers_are_refused(pair):
    server, machine = pair
    with pytest.raises(ValueError, match="32 bytes"):
        await server.add_peer(b"short", machine_address(2))
    with pytest.raises(ValueError, match="IPv6"):
        await server.add_peer(os.urandom(32), "machine-2")
    with pytest.raises(ValueError, match="another key"):
        await server.add_peer(os.urandom(32), machine.address)
    with pytest.raises(ValueError, match="another key"):
        await server.add_peer(os.urandom(32), SERVER)
    with pytest.raises(ValueError, match="numeric"):
        await server.add_peer(os.urandom(32), machine_address(3), ("machine.example", 1))
    with pytest.raises(ValueError, match="key"):
        await server.add_peer(bytes(32), machine_address(3))
    assert len(await server.peers()) == 1


async def test_known_peer_may_move_to_another_address(pair):
    server, machine = pair
    await server.add_peer(machine.public_key, machine_address(7))
    (state,) = await server.peers()
    assert state.address == machine_address(7)
    await server.add_peer(os.urandom(32), machine.address)


async def test_closed_listener_and_admission(pair):
    server, machine = pair
    listener = await server.serve(80, echo)
    await machine.dial(SERVER, 80)
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await machine.dial(SERVER, 80)
    admitted = set()
    await server.serve(80, echo, admit=admitted.__contains__)
    with pytest.raises(ConnectionRefusedError):
        await machine.dial(SERVER, 80)
    admitted.add(machine.address)
    await machine.dial(SERVER, 80)


async def test_removed_peer_loses_its_connections(pair):
    server, machine = pair
    await server.serve(80, echo)
    await machine.serve(50000, echo)
    from_machine, _ = await machine.dial(SERVER, 80)
    from_server, _ = await server.dial(machine.address, 50000)
    await server.remove_peer(machine.public_key)
    with pytest.raises(ConnectionAbortedError):
        await from_server.read()
    with pytest.raises(ConnectionResetError):
        await from_machine.read()
    with pytest.raises(OSError, match="No machine"):
        await server.dial(machine.address, 50000)
    await server.remove_peer(machine.public_key)


@pytest.mark.parametrize(
    ("source", "destination"),
    [(machine_address(2), SERVER), (machine_address(1), machine_address(2)), (SERVER, SERVER)],
)
async def test_machines_speak_for_themselves_and_to_the_server_only(engines, source, destination):
    server, machine, other = engines(SERVER), engines(machine_address(1)), engines(machine_address(2))
    await link(server, machine)
    await link(server, other)
    await server.serve(80, echo)
    _reader, _writer = await machine.dial(SERVER, 80)
    before = await server.counters()
    route = Route(*(packed(address) for address in (source, destination)))
    packet = encode_tcp(route, Segment(50000, 80, 1, 0, SYN, 1000))
    machine._device.peers[server.public_key].send(asyncio.get_running_loop().time(), packet)
    machine._wake()

    async def dropped():
        return (await server.counters()).dropped_policy == before.dropped_policy + 1

    await asyncio.wait_for(until(dropped), 5)
    assert [key[0] for key in server._stack.connections] == [packed(machine.address)]


def packed(address):
    return socket.inet_pton(socket.AF_INET6, address)


class Cable:
    """Two tunnel ends in memory."""

    def __init__(self, server, machine, tag=TAG):
        self.loop = asyncio.get_running_loop()
        self.server, self.machine, self.tag = server, machine, tag
        self.is_cut = False

    def to_machine(self, packet):
        if not self.is_cut:
            self.loop.call_soon(self.machine.feed, "server", packet)

    def to_server(self, packet):
        if not self.is_cut:
            self.loop.call_soon(self.server.feed, self.tag, packet)

    def plug(self):
        self.server.attach(self.tag, self.to_machine)
        self.machine.attach("server", self.to_server)

    def unplug(self):
        self.server.detach(self.tag, self.to_machine)


@pytest.fixture
async def tunnelled(engines):
    server, machine = engines(SERVER), engines(machine_address(1), udp=None)
    cable = Cable(server, machine)
    await server.add_peer(machine.public_key, machine.address, TAG)
    await machine.add_peer(server.public_key, SERVER, "server")
    await machine.serve(50000, echo)
    return server, machine, cable


async def ask(server, machine, timeout=5):
    reader, writer = await server.dial(machine.address, 50000, timeout)
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"ping"
    return reader, writer


async def test_tunnel(tunnelled):
    server, machine, cable = tunnelled
    with pytest.raises(TimeoutError):
        await server.dial(machine.address, 50000, timeout=0.01)
    cable.plug()
    await ask(server, machine)
    (state,) = await server.peers()
    assert state.endpoint == TAG
    assert state.transport is LinkTransport.TUNNEL
    assert machine.udp_address is None


async def test_connection_survives_a_new_stream_and_no_older_one_interferes(tunnelled):
    server, machine, cable = tunnelled
    cable.plug()
    reader, writer = await ask(server, machine)
    newer = Cable(server, machine)
    newer.plug()
    cable.is_cut = True
    cable.unplug()
    writer.write(b"again")
    assert await asyncio.wait_for(reader.readexactly(5), 5) == b"again"
    newer.unplug()
    (state,) = await server.peers()
    assert state.endpoint is None
    newer.plug()
    writer.write(b"and again")
    assert await asyncio.wait_for(reader.readexactly(9), 5) == b"and again"


async def test_peer_changes_between_udp_and_tunnels_without_losing_connections(engines):
    server, machine = engines(SERVER), engines(machine_address(1))
    await link(server, machine)
    await machine.serve(50000, echo)
    reader, writer = await ask(server, machine)
    for tag in (TAG, "another tag"):
        await server.add_peer(machine.public_key, machine.address, tag)
        assert (await server.peers())[0].endpoint is None
        Cable(server, machine, tag).plug()
        assert (await server.peers())[0].endpoint == tag
        writer.write(b"over the tunnel")
        assert await asyncio.wait_for(reader.readexactly(15), 5) == b"over the tunnel"
    await server.add_peer(machine.public_key, machine.address, machine.udp_address)
    assert (await server.peers())[0].endpoint == machine.udp_address


async def test_engine_without_socket_refuses_udp_endpoints(engines):
    machine = engines(machine_address(1), udp=None)
    with pytest.raises(ValueError, match="no UDP socket"):
        await machine.add_peer(engines(SERVER).public_key, SERVER, ("127.0.0.1", 1))


async def test_many_machines_in_one_process(engines):
    server = engines(SERVER)
    machines = []
    for number in range(100):
        machine = engines(machine_address(number + 1), udp=None)
        tag = f"machine {number}"
        await server.add_peer(machine.public_key, machine.address, tag)
        await machine.add_peer(server.public_key, SERVER, "server")
        await machine.serve(50000, echo)
        Cable(server, machine, tag).plug()
        machines.append(machine)
    await asyncio.gather(*(ask(server, machine) for machine in machines))


async def test_one_machine_cannot_take_all_connections(engines):
    server = engines(SERVER, limits=Limits(connections=5))
    greedy, modest = engines(machine_address(1)), engines(machine_address(2))
    await link(server, greedy)
    await link(server, modest)
    await server.serve(80, echo)
    held = [await greedy.dial(SERVER, 80) for _ in range(5)]
    with pytest.raises(TimeoutError):
        await greedy.dial(SERVER, 80, timeout=0.1)
    await modest.dial(SERVER, 80)
    _, writer = held.pop()
    writer.close()
    await writer.wait_closed()
    await greedy.dial(SERVER, 80)


async def test_ipv6_socket_takes_ipv4_too(engines):
    server, machine = engines(SERVER, udp=("::", 0)), engines(machine_address(1))
    await server.add_peer(machine.public_key, machine.address)
    await machine.add_peer(server.public_key, SERVER, ("127.0.0.1", server.udp_address[1]))
    await machine.serve(50000, echo)
    await ask(server, machine)
    (state,) = await server.peers()
    assert state.endpoint == machine.udp_address
    other = engines(machine_address(2))
    await other.add_peer(server.public_key, SERVER)
    await other.serve(50000, echo)
    await server.add_peer(other.public_key, other.address, other.udp_address)
    await ask(server, other)


def self_signed() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "machine")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("machine")]), False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


async def test_tls_over_the_link(pair, tmp_path):
    server, machine = pair
    certificate, private = self_signed()
    (tmp_path / "tls.pem").write_bytes(private + certificate)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(tmp_path / "tls.pem")
    theirs = ssl.create_default_context(cadata=certificate.decode())
    data = os.urandom(1 << 20)

    async def handler(reader, writer):
        await writer.start_tls(ours)
        writer.write(await reader.readexactly(len(data)))
        await writer.drain()
        writer.close()

    await machine.serve(50000, handler)
    reader, writer = await server.dial(machine.address, 50000)
    await writer.start_tls(theirs, server_hostname="machine")
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    writer.write(data)
    assert await reader.read() == data
    writer.close()


async def test_failing_protocol_costs_its_connection_only(pair, caplog):
    server, machine = pair

    class Failing(asyncio.Protocol):
        def data_received(self, data):
            raise RuntimeError("no")

    await server.listen(1, Failing)
    await server.listen(2, lambda: 1 // 0)
    await server.serve(3, echo)
    reader, writer = await machine.dial(SERVER, 1)
    writer.write(b"x")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    reader, _ = await machine.dial(SERVER, 2)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    reader, writer = await machine.dial(SERVER, 3)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    assert "RuntimeError" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_writer_to_a_broken_connection_is_told_even_when_it_does_not_read(pair):
    server, machine = pair
    opened = asyncio.get_running_loop().create_future()

    async def handler(reader, writer):
        opened.set_result(writer)

    await server.serve(80, handler)
    _, writer = await machine.dial(SERVER, 80)
    writer.transport.pause_reading()
    (await opened).write(b"unread")
    await asyncio.sleep(0.05)
    (await opened).transport.abort()

    async def write_on():
        while True:
            writer.write(bytes(10000))
            await writer.drain()

    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(write_on(), 5)


async def test_cancelled_dial_leaves_nothing(engines):
    server = engines(SERVER)
    await server.add_peer(engines(machine_address(1)).public_key, machine_address(1))
    dialling = asyncio.create_task(server.dial(machine_address(1), 50000))
    await asyncio.sleep(0.01)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    await asyncio.sleep(0.01)
    assert server._stack.connections == {}
    assert server._stack._usage == {}
