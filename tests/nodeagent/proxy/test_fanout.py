"""One call to several machines, of which some do not answer as they should."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from nodeagent.dial import Stream
from nodeagent.proxy import fanout
from talos.gen import common_pb2
from talos.gen.machine import files_pb2, machine_pb2_grpc
from tests.nodeagent.proxy.lab import Lab, at, lab
from tests.nodeagent.proxy.node import MACHINE, Node, node

PATIENCE = 20


async def dead() -> Stream:
    raise ConnectionRefusedError(111, "Connection refused")


@contextlib.asynccontextmanager
async def two_and_a_dead_one() -> AsyncIterator[tuple[Lab, Node, Node]]:
    """Nodes `a` and `b`, and `dead`."""
    async with node("a" * 36) as a, node("b" * 36) as b, lab() as made, asyncio.timeout(PATIENCE * 2):
        made.node("a", a.way, uuid=a.uuid)
        made.node("b", b.way, uuid=b.uuid)
        made.node("dead", dead, uuid="d" * 36)
        yield made, a, b


UNREACHED = "node dead cannot be reached: Connection refused. See whether it runs and is connected, then try again"


async def test_a_dead_node_is_an_entry_among_the_others() -> None:
    async with two_and_a_dead_one() as (made, _, _):
        stub = machine_pb2_grpc.MachineServiceStub(made.channel)
        answer = await stub.Hostname(Empty(), metadata=at("a", "dead", "b", style="nodes"))
        by_name = {message.metadata.hostname: message for message in answer.messages}
        assert sorted(by_name) == ["a", "b", "dead"]
        assert by_name["a"].hostname == by_name["b"].hostname == "me"
        assert by_name["dead"].metadata.error == f"rpc error: code = Unavailable desc = {UNREACHED}"
        assert by_name["dead"].metadata.status == common_pb2.Status(code=14, message=UNREACHED)
        assert made.gate.ticket.outcomes == ["OK"]


async def test_all_dead_is_an_answer_too() -> None:
    async with two_and_a_dead_one() as (made, _, _):
        stub = machine_pb2_grpc.MachineServiceStub(made.channel)
        answer = await stub.Hostname(Empty(), metadata=at("dead", style="nodes"))
        assert [message.metadata.status.code for message in answer.messages] == [14]


async def test_an_answer_without_a_message_is_a_failure_of_its_node() -> None:
    async with two_and_a_dead_one() as (made, _, _):
        stub = machine_pb2_grpc.MachineServiceStub(made.channel)
        answer = await stub.Memory(Empty(), metadata=at("a", style="nodes"))
        assert answer.messages[0].metadata.status.code == 13
        assert "cannot be joined" in answer.messages[0].metadata.error


async def test_streams_go_on_when_one_node_dies() -> None:
    async with two_and_a_dead_one() as (made, a, b):
        stub = machine_pb2_grpc.MachineServiceStub(made.channel)
        logs = stub.Logs(files_pb2.LogsRequest(), metadata=at("a", "b", "dead", style="nodes"))
        frames = [await logs.read() for _ in range(3)]
        told = {frame.metadata.hostname: frame for frame in frames}
        assert told["a"].bytes == told["b"].bytes == b"hello"
        assert told["dead"].metadata.error.endswith(UNREACHED)
        a.kill()
        broken = await logs.read()
        assert broken.metadata.hostname == "a"
        assert broken.metadata.status.code == 14
        assert broken.metadata.status.message.startswith("the connection to node a broke: ")
        assert b.open["Logs"] == 1
        logs.cancel()
        await b.until(lambda: b.open["Logs"] == 0)
        async with asyncio.timeout(PATIENCE):
            await made.gate.ticket.ended.wait()
        assert made.gate.ticket.outcomes == ["CANCELLED"]


async def test_a_slow_reader_stops_all_nodes() -> None:
    async with two_and_a_dead_one() as (made, a, b):
        flood = made.channel.unary_stream(MACHINE + "Dmesg")(b"", metadata=at("a", "b", style="nodes"))
        await flood.read()
        before = -1
        while before != a.sent + b.sent:
            before = a.sent + b.sent
            await asyncio.sleep(0.3)  # nothing happens: that is what is looked for
        assert 0 < before < 24 * 1024 * 1024
        flood.cancel()
        await a.until(lambda: a.open["Dmesg"] == 0)
        await b.until(lambda: b.open["Dmesg"] == 0)


async def test_a_withdrawn_ticket_ends_all() -> None:
    async with two_and_a_dead_one() as (made, a, b):
        stub = machine_pb2_grpc.MachineServiceStub(made.channel)
        logs = stub.Logs(files_pb2.LogsRequest(), metadata=at("a", "b", style="nodes"))
        await logs.read()
        await logs.read()
        made.gate.ticket.withdrawn.set_result("the machine went to another organisation")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await logs.read()
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert caught.value.details() == "the machine went to another organisation"
        await a.until(lambda: a.open["Logs"] == 0)
        await b.until(lambda: b.open["Logs"] == 0)
        assert made.gate.ticket.outcomes == ["PERMISSION_DENIED"]


async def test_one_node_of_a_method_without_room_for_names() -> None:
    """A `nodes` of one is carried as a call to it: clients that always say `nodes` reach newer methods, too."""
    async with two_and_a_dead_one() as (made, _, _):
        call = made.channel.stream_stream("/machine.DebugService/Echo")(metadata=at("a", style="nodes"))
        await call.write(b"x")
        assert await call.read() == b"x"
        call.cancel()


async def test_answers_that_are_too_many_together_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "MESSAGE_LIMIT", 100)
    async with two_and_a_dead_one() as (made, _, _):
        stub = machine_pb2_grpc.MachineServiceStub(made.channel)
        with pytest.raises(grpc.aio.AioRpcError, match="call fewer at once") as refused:
            await stub.Hostname(Empty(), metadata=at(*"abababababab", style="nodes"))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert made.proxy._machines.held.bytes == 0
