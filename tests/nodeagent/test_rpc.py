"""gRPC calls of our own against a grpcio server: sizes, limits, ends, reconnection."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from nodeagent import rpc, tls
from nodeagent.http2 import Connection
from nodeagent.rpc import Channel, Methods, RpcError
from nodeagent.sockets import new_socket_path
from talos.gen import common_pb2
from talos.gen.machine import machine_pb2, machine_pb2_grpc
from tests.nodeagent.fakenode import maintenance_identity

NODE = machine_pb2_grpc.MachineServiceStub(Methods())


class Server(machine_pb2_grpc.MachineServiceServicer):
    """Echoes sizes."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.deadline: float | None = None

    async def ApplyConfiguration(self, request: Any, context: Any) -> Any:
        details = str(len(request.data))
        return machine_pb2.ApplyConfigurationResponse(messages=[machine_pb2.ApplyConfiguration(mode_details=details)])

    async def Read(self, request: Any, context: Any) -> AsyncIterator[common_pb2.Data]:
        count, size = map(int, request.path.split("x"))
        for _ in range(count):
            yield common_pb2.Data(bytes=b"x" * size)

    async def EtcdRecover(self, frames: Any, context: Any) -> Any:
        size = 0
        async for frame in frames:
            size += len(frame.bytes)
            if frame.bytes == b"stop":
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not ready für this %")
        return machine_pb2.EtcdRecoverResponse(messages=[machine_pb2.EtcdRecover()] * (size // 1_000_000))

    async def Dmesg(self, request: Any, context: Any) -> AsyncIterator[common_pb2.Data]:
        self.deadline = context.time_remaining()
        try:
            yield common_pb2.Data(bytes=b"first")
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


class Running:
    """A server that can be stopped and started again, and a channel to it."""

    def __init__(self) -> None:
        self.path = new_socket_path()
        self.service = Server()
        self.connections = 0
        self.context = tls.server_context(maintenance_identity())
        self.channel = Channel(tls.to_machine(self.connect, None))

    async def start(self) -> None:
        self.server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
        machine_pb2_grpc.add_MachineServiceServicer_to_server(self.service, self.server)
        self.server.add_insecure_port(f"unix:{self.path}")
        await self.server.start()
        self.front = await asyncio.start_server(self.accept, "127.0.0.1", 0)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = tls.TlsStream(reader, writer, self.context, server_side=True)
        try:
            await stream.handshake()
            await tls.relay(await asyncio.open_unix_connection(str(self.path)), stream)
        except OSError:
            writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.connections += 1
        return await asyncio.open_connection("127.0.0.1", self.front.sockets[0].getsockname()[1])

    async def stop(self, grace: float | None = None) -> None:
        self.front.close()
        await self.server.stop(grace)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    running = Running()
    await running.start()
    yield running
    await running.channel.close()
    await running.stop()


def read(path: str) -> machine_pb2.ReadRequest:
    return machine_pb2.ReadRequest(path=path)


async def collect(channel: Channel, path: str) -> list[int]:
    return [len(data.bytes) async for data in channel.stream(NODE.Read, read(path), 30)]


async def test_requests_larger_than_windows_get_through(running: Running) -> None:
    request = machine_pb2.ApplyConfigurationRequest(data=b"x" * 10_000_000)
    answer = await running.channel.unary(NODE.ApplyConfiguration, request, 30)
    assert answer.messages[0].mode_details == "10000000"


async def test_answers_larger_than_windows_get_through(running: Running) -> None:
    assert await collect(running.channel, "2000x1024") == [1024] * 2000
    assert await collect(running.channel, "3x3000000") == [3_000_000] * 3
    assert await collect(running.channel, "0x0") == []
    assert running.connections == 1


async def test_calls_share_a_connection_without_waiting_for_each_other(running: Running) -> None:
    slow = running.channel.stream(NODE.Read, read("10000x1024"), 30)
    await anext(slow)  # and no more: its window fills up
    assert await collect(running.channel, "3000x1024") == [1024] * 3000
    await slow.aclose()
    assert running.connections == 1


async def test_an_answer_without_end_is_refused(running: Running) -> None:
    with pytest.raises(RpcError, match="has 5000005 bytes") as error:
        await collect(running.channel, "1x5000000")
    assert error.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_uploads_are_paced_by_the_server(running: Running) -> None:
    async def pieces() -> AsyncIterator[common_pb2.Data]:
        for _ in range(5):
            yield common_pb2.Data(bytes=b"x" * 1_000_000)

    answer = await running.channel.upload(NODE.EtcdRecover, pieces(), 30)
    assert len(answer.messages) == 5


async def test_a_server_may_refuse_in_the_middle_of_an_upload(running: Running) -> None:
    async def pieces() -> AsyncIterator[common_pb2.Data]:
        yield common_pb2.Data(bytes=b"stop")
        while True:
            yield common_pb2.Data(bytes=b"x" * 100_000)

    with pytest.raises(RpcError) as error:
        await running.channel.upload(NODE.EtcdRecover, pieces(), 30)
    assert (error.value.code, error.value.details) == (grpc.StatusCode.FAILED_PRECONDITION, "not ready für this %")


async def test_a_call_that_nobody_wants_any_more_is_cancelled_there(running: Running) -> None:
    stream = running.channel.stream(NODE.Dmesg, machine_pb2.DmesgRequest(), 1000)
    assert (await anext(stream)).bytes == b"first"
    assert running.service.deadline is not None
    assert 900 < running.service.deadline <= 1000 + rpc.DEADLINE_SLACK
    await stream.aclose()
    await running.service.cancelled.wait()


async def test_a_deadline_ends_a_stream(running: Running) -> None:
    stream = running.channel.stream(NODE.Dmesg, machine_pb2.DmesgRequest(), 1)
    assert (await anext(stream)).bytes == b"first"
    with pytest.raises(RpcError) as error:
        await anext(stream)
    assert error.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await running.service.cancelled.wait()


async def test_many_followed_calls_are_one(running: Running) -> None:
    paths = ["2x1", "0x0", "bad", "1x7"]
    answers: dict[int, list[object]] = {}
    async for index, answer in running.channel.fan(NODE.Read, [read(path) for path in paths]):
        told = answer.code if isinstance(answer, RpcError) else answer and len(answer.bytes)
        answers.setdefault(index, []).append(told)
    assert answers == {0: [1, 1, None], 1: [None], 2: [grpc.StatusCode.UNKNOWN], 3: [7, None]}


async def test_a_broken_connection_is_made_again(running: Running) -> None:
    follow = running.channel.stream(NODE.Dmesg, machine_pb2.DmesgRequest(), None)
    await anext(follow)
    await running.stop()
    with pytest.raises(RpcError) as error:
        await anext(follow)
    assert error.value.code is grpc.StatusCode.UNAVAILABLE
    await running.start()
    assert await collect(running.channel, "1x1") == [1]
    assert running.connections == 2


async def test_a_silent_machine_is_given_up(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    pinged, ping = asyncio.Semaphore(0), Connection.ping

    def counted(connection: Connection) -> None:
        ping(connection)
        pinged.release()

    monkeypatch.setattr(Connection, "ping", counted)
    monkeypatch.setattr(rpc, "PING_AFTER", 0.02)
    follow = running.channel.stream(NODE.Dmesg, machine_pb2.DmesgRequest(), None)
    await anext(follow)
    for _ in range(3):
        await pinged.acquire()
    assert await collect(running.channel, "1x1") == [1]  # they were answered
    monkeypatch.setattr(rpc, "PING_TIMEOUT", -1.0)
    with pytest.raises(RpcError) as error:
        await anext(follow)
    assert isinstance(error.value.cause, TimeoutError)


async def test_no_connection_is_a_failure_with_its_cause() -> None:
    async def refused() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(RpcError) as error:
        await Channel(tls.to_machine(refused, None)).unary(
            NODE.ApplyConfiguration, machine_pb2.ApplyConfigurationRequest(), 5
        )
    assert isinstance(error.value.cause, ConnectionRefusedError)


async def test_a_dial_without_end_stops_at_the_deadline() -> None:
    async def hanging() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(RpcError, match="no connection in time") as error:
        await Channel(tls.to_machine(hanging, None)).unary(
            NODE.ApplyConfiguration, machine_pb2.ApplyConfigurationRequest(), 0.05
        )
    assert error.value.code is grpc.StatusCode.UNAVAILABLE


async def test_something_else_than_tls_is_an_error_of_tls() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")
        await writer.drain()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    channel = Channel(tls.to_machine(lambda: asyncio.open_connection(*server.sockets[0].getsockname()), None))
    with pytest.raises(RpcError) as error:
        await channel.unary(NODE.ApplyConfiguration, machine_pb2.ApplyConfigurationRequest(), 5)
    assert isinstance(error.value.cause, ssl.SSLError)
    server.close()


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.0015, b"1m"), (99_999.5, b"99999500m"), (100_000, b"100000S"), (1e12, b"99999999S")]
)
def test_a_deadline_has_eight_digits_at_most(seconds: float, written: bytes) -> None:
    assert rpc._timeout(seconds) == written
