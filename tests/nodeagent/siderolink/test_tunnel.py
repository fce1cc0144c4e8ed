"""WireGuard over gRPC: packets both ways, and which status ends a stream."""

import asyncio
from typing import Any

import grpc
import pytest

from nodeagent.siderolink import tunnel
from nodeagent.siderolink.tunnel import QUEUE, _Stream, parse_tag
from talos.gen.sidero import link_pb2, link_pb2_grpc
from tests.nodeagent.siderolink.world import Ports, World, link, world

TAG = "[fdae:41e4:649b:9304::7]:50889"


def open_stream(here: World, *values: str) -> Any:
    metadata = [(tunnel.ADDRESS_KEY, value) for value in values]
    return link_pb2_grpc.WireGuardOverGRPCServiceStub(here.api).CreateStream(metadata=metadata)


async def send(here: World, stream: Any, data: bytes) -> tuple[str, bytes]:
    await stream.write(link_pb2.PeerPacket(Data=data))
    return await here.engine.fed.get()


async def status(stream: Any) -> tuple[grpc.StatusCode, str]:
    return await stream.code(), await stream.details()


def tunnelled() -> Ports:
    return Ports(stored=[link(virtual=TAG)])


async def test_packets_travel_both_ways() -> None:
    async with world(tunnelled()) as here:
        stream = open_stream(here, TAG)
        assert await send(here, stream, b"up") == (TAG, b"up")
        here.engine.emits[TAG](b"down")
        assert (await stream.read()).Data == b"down"
        assert here.server._tunnels.alive(TAG)
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK
        assert (here.engine.emits, here.server._tunnels.alive(TAG)) == ({}, False)


async def test_the_address_counts_and_not_its_spelling_nor_the_port() -> None:
    async with world(tunnelled()) as here:
        stream = open_stream(here, "[FDAE:41e4:649b:9304:0::7]:1")
        assert await send(here, stream, b"x") == (TAG, b"x")
        stream.cancel()


@pytest.mark.parametrize("values", [(), (TAG, TAG), ("fdae::1",), ("[fdae::1]",), ("[x]:1",), ("[::1]:port",)])
async def test_a_stream_must_name_itself(values: tuple[str, ...]) -> None:
    async with world(tunnelled()) as here:
        assert (await status(open_stream(here, *values)))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_name_may_come_back_and_a_removed_one_not() -> None:
    async with world(tunnelled()) as here:
        assert (await status(open_stream(here, "[fdae:41e4:649b:9304::8]:50889")))[0] is grpc.StatusCode.UNAVAILABLE
        stream = open_stream(here, TAG)
        await send(here, stream, b"x")
        await here.server.forget(link(virtual=TAG))
        denied = (grpc.StatusCode.PERMISSION_DENIED, "peer not allowed")
        assert await status(stream) == denied
        assert await status(open_stream(here, TAG)) == denied


async def test_a_newer_stream_replaces_the_older() -> None:
    async with world(tunnelled()) as here:
        older, newer = open_stream(here, TAG), None
        await send(here, older, b"1")
        newer = open_stream(here, TAG)
        await send(here, newer, b"2")
        assert await status(older) == (grpc.StatusCode.ABORTED, "peer replaced")
        here.engine.emits[TAG](b"down")
        assert (await newer.read()).Data == b"down"
        newer.cancel()


async def test_a_new_virtual_address_ends_the_old_stream_softly() -> None:
    async with world(tunnelled()) as here:
        stream = open_stream(here, TAG)
        await send(here, stream, b"x")
        await here.server._peers.apply(link(virtual="[fdae:41e4:649b:9304::9]:50889"))
        assert (await status(stream))[0] is grpc.StatusCode.UNAVAILABLE


async def test_a_stopping_server_lets_machines_come_back() -> None:
    async with world(tunnelled()) as here:
        stream = open_stream(here, TAG)
        await send(here, stream, b"x")
        await here.server.stop()
        assert (await status(stream))[0] is grpc.StatusCode.UNAVAILABLE


async def test_packets_no_link_carries_are_dropped() -> None:
    async with world(tunnelled()) as here:
        stream = open_stream(here, TAG)
        await stream.write(link_pb2.PeerPacket(Data=b"x" * 5000))
        assert await send(here, stream, b"small") == (TAG, b"small")
        stream.cancel()


async def test_a_silent_stream_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tunnelled()) as here:
        stream = open_stream(here, TAG)
        await send(here, stream, b"x")
        monkeypatch.setattr(tunnel, "SILENCE", -1.0)
        assert not here.server._tunnels.alive(TAG)
        stream.cancel()


async def test_a_slow_machine_loses_the_oldest_packets() -> None:
    stream = _Stream(TAG, asyncio.get_running_loop().create_future(), 0.0)
    for number in range(QUEUE + 5):
        stream.emit(bytes([number]))
    assert (len(stream.packets), stream.packets[0]) == (QUEUE, bytes([5]))


def test_a_tag_is_an_address_in_brackets_and_a_port() -> None:
    assert str(parse_tag(TAG)) == "fdae:41e4:649b:9304::7"
    with pytest.raises(ValueError, match="is not"):
        parse_tag("fdae::1:50889")


async def test_a_name_that_another_server_gave_is_looked_up() -> None:
    async with world(Ports(elsewhere=[link(virtual=TAG)])) as here:
        stream = open_stream(here, TAG)
        assert await send(here, stream, b"x") == (TAG, b"x")
        stream.cancel()


async def test_a_link_that_another_server_carries_is_quiet_and_may_come_back() -> None:
    async with world(tunnelled()) as here:
        stream = open_stream(here, TAG)
        await send(here, stream, b"x")
        await here.server.quiet(link(virtual=TAG))
        assert (here.engine.emits, here.server._tunnels.alive(TAG)) == ({}, False)
        assert (await status(stream))[0] is grpc.StatusCode.UNAVAILABLE  # so that any Talos opens another
        assert len(here.engine.peers) == 1
        again = open_stream(here, TAG)
        assert await send(here, again, b"y") == (TAG, b"y")
        again.cancel()
