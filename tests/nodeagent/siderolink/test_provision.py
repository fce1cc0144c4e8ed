"""The Provision call over real gRPC: what is refused, what is answered, what the engine is told before."""

import asyncio
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.caller import Caller
from nodeagent.dial import join
from nodeagent.ports import ProvisionRefused
from nodeagent.siderolink.peers import Peers
from nodeagent.siderolink.provision import InvalidRequest, read_request
from nodeagent.siderolink.tunnel import Tunnels
from talos.gen.sidero import link_pb2, link_pb2_grpc
from tests.nodeagent.siderolink.world import ENDPOINT, MACHINE, SERVER, UUID, FakeEngine, Ports, World, link, world

VIRTUAL = "[fdae:41e4:649b:9304::7]:50889"


def request(**fields: Any) -> link_pb2.ProvisionRequest:
    return link_pb2.ProvisionRequest(**{"node_uuid": UUID, "node_public_key": link().public_key} | fields)


async def provision(where: World, message: link_pb2.ProvisionRequest | None = None) -> link_pb2.ProvisionResponse:
    return await link_pb2_grpc.ProvisionServiceStub(where.api).Provision(message or request())


async def refusal(where: World, message: link_pb2.ProvisionRequest | None = None) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await provision(where, message)
    return error.value.code(), error.value.details() or ""


async def test_a_machine_over_udp_is_told_where_to_go() -> None:
    async with world(Ports(answer=link())) as here:
        answer = await provision(here, request(join_token="t", node_unique_token="", talos_version="v1.14.1"))
        assert list(answer.server_endpoint) == [ENDPOINT]
        assert answer.node_address_prefix == f"{MACHINE}/64"
        assert (answer.server_address, answer.grpc_peer_addr_port) == (SERVER, "")
        assert here.engine.log == [("add", b"\x01", MACHINE, None)]
        asked = here.ports.provisions[0]
        assert (asked.join_token, asked.unique_token, asked.wants_tunnel) == ("t", None, False)


async def test_a_machine_in_a_tunnel_is_known_by_its_virtual_address() -> None:
    async with world(Ports(answer=link(virtual=VIRTUAL))) as here:
        answer = await provision(here, request(wireguard_over_grpc=True))
        assert (list(answer.server_endpoint), answer.grpc_peer_addr_port) == ([VIRTUAL], VIRTUAL)
        assert here.engine.peers[b"\x01" * 32] == (MACHINE, VIRTUAL)
        assert here.ports.alive == [False]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"node_uuid": "x"}, "node_uuid 'x' is not a UUID"),
        ({"node_public_key": "AAAA"}, "node_public_key is not a WireGuard key"),
        ({"node_public_key": "?" * 44}, "node_public_key is not a WireGuard key"),
        ({"join_token": "x" * 10_000}, "join_token has more than"),
        ({"talos_version": "v" * 100}, "talos_version has more than"),
    ],
)
async def test_fields_no_machine_sends_are_named(fields: dict[str, str], text: str) -> None:
    async with world() as here:
        code, details = await refusal(here, request(**fields))
        assert (code, text in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        assert here.ports.provisions == []


async def test_bytes_that_are_no_request_are_the_callers_fault() -> None:
    async with world() as here:
        raw = here.api.unary_unary("/sidero.link.ProvisionService/Provision")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await raw(b"\xff\xff")
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_invalid(data: bytes) -> None:
    try:
        read = read_request(data, "")
    except InvalidRequest:
        return
    assert len(read.public_key) == 44


async def test_a_refusal_keeps_its_code_and_text() -> None:
    async with world(Ports(answer=ProvisionRefused("RESOURCE_EXHAUSTED", "too many"))) as here:
        assert await refusal(here) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many")
        assert here.engine.log == []


async def test_our_own_failures_tell_nothing_outside() -> None:
    async with world(Ports(answer=RuntimeError("password=hunter2"))) as here:
        assert await refusal(here) == (grpc.StatusCode.INTERNAL, "internal server error")


async def test_the_relayed_callers_address_reaches_the_registry() -> None:
    async with world(Ports(answer=link())) as here:

        async def public(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            relayed = await Caller("https", "2001:db8::9", 4242).connect(here.socket)
            await join((reader, writer), await asyncio.open_unix_connection(sock=relayed))

        server = await asyncio.start_server(public, "127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as channel:
            await link_pb2_grpc.ProvisionServiceStub(channel).Provision(request())
        server.close()
        assert here.ports.provisions[0].source == "2001:db8::9"


async def test_stored_links_are_peers_before_anything_listens() -> None:
    stored = [
        link("a", 1, f"{MACHINE}1", last="203.0.113.5:9999"),
        link("b", 2, f"{MACHINE}2", last="[2001:db8::1]:77"),
        link("c", 3, f"{MACHINE}3", virtual=VIRTUAL),
    ]
    async with world(Ports(stored=stored)) as here:
        assert [entry[3] for entry in here.engine.log] == [("203.0.113.5", 9999), ("2001:db8::1", 77), VIRTUAL]


# --- peers --------------------------------------------------------------------------------------------------------


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def peers(engine: FakeEngine) -> Peers:
    async def unknown(name: str) -> None:
        """Nobody knows more."""

    return Peers(engine, Tunnels(engine, unknown))  # type: ignore[arg-type]


async def test_a_new_key_takes_the_address_of_the_old(engine: FakeEngine, peers: Peers) -> None:
    await peers.apply(link(key=1))
    await peers.apply(link(key=2))
    assert engine.peers == {b"\x02" * 32: (MACHINE, None)}


async def test_another_link_with_the_same_key_or_address_gives_way(engine: FakeEngine, peers: Peers) -> None:
    await peers.apply(link("pending", key=1, address=f"{MACHINE}1"))
    await peers.apply(link("registered", key=1, address=f"{MACHINE}2"))
    assert engine.peers == {b"\x01" * 32: (f"{MACHINE}2", None)}
    assert ("remove", b"\x01") not in engine.log  # its session goes on
    await peers.apply(link("other", key=2, address=f"{MACHINE}2"))
    assert engine.peers == {b"\x02" * 32: (f"{MACHINE}2", None)}


async def test_a_change_between_udp_and_tunnel_makes_a_new_peer(engine: FakeEngine, peers: Peers) -> None:
    await peers.apply(link(last="203.0.113.5:1"), ("203.0.113.5", 1))
    await peers.apply(link(virtual=VIRTUAL))
    assert engine.log[1:] == [("remove", b"\x01"), ("add", b"\x01", MACHINE, VIRTUAL)]
    await peers.apply(link())
    assert engine.peers == {b"\x01" * 32: (MACHINE, None)}


async def test_the_same_answer_again_disturbs_nothing(engine: FakeEngine, peers: Peers) -> None:
    await peers.apply(link())
    await peers.apply(link())
    assert [entry[0] for entry in engine.log] == ["add", "add"]


async def test_a_forgotten_link_leaves(engine: FakeEngine, peers: Peers) -> None:
    await peers.apply(link())
    await peers.forget(link())
    await peers.forget(link())
    assert engine.peers == {}
