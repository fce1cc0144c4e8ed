"""A machine in maintenance mode whose methods do what tests of a proxy need; grpcio behind TLS."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from nodeagent import tls
from nodeagent.dial import Stream
from nodeagent.sockets import new_socket_path
from talos.gen import common_pb2
from talos.gen.cosi import state_pb2_grpc
from talos.resources import types
from tests.nodeagent.fakenode import FakeNode, maintenance_identity, resource

DEBUG = "/machine.DebugService/"
"""Answered with bytes as they are; what each method does is a method below."""
MACHINE = "/machine.MachineService/"

FRAME = common_pb2.Data(bytes=bytes(64_000)).SerializeToString()

DETAILS = common_pb2.Status(code=9, message="not yet").SerializeToString()


class Node(grpc.GenericRpcHandler):
    """`way` is how it is reached while it listens."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.called: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.changed = asyncio.Condition()
        self.metadata: list[tuple[str, Any]] = []
        self.time_left: float | None = None
        self.sent = 0
        self.connections: set[asyncio.Task[None]] = set()
        self.tls: list[tls.TlsStream] = []
        self.way: Callable[[], Awaitable[Stream]] = self._unreachable

    async def _unreachable(self) -> Stream:
        raise ConnectionRefusedError(111, "Connection refused")

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        prefix, _, name = details.method.rpartition("/")
        if f"{prefix}/" not in (DEBUG, MACHINE):
            return None
        method = getattr(self, name)

        async def handle(_: Any, context: Any) -> None:
            self.metadata, self.time_left = list(details.invocation_metadata), context.time_remaining()
            self.called[name] += 1
            self.open[name] += 1
            await self.notify()
            try:
                await method(context)
            finally:
                self.open[name] -= 1
                await asyncio.shield(asyncio.ensure_future(self.notify()))

        return grpc.stream_stream_rpc_method_handler(handle)

    async def notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(holds)

    # What its methods do

    async def Echo(self, context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            await context.write(message)

    async def Hostname(self, context: Any) -> None:
        assert await context.read() is not grpc.aio.EOF
        await context.write(b"\x0a\x04\x12\x02me")

    async def Memory(self, context: Any) -> None:
        """Nothing at all: of no use to who joins answers."""

    async def Large(self, context: Any) -> None:
        size = int(await context.read())
        await context.write(bytes(size))

    async def Dmesg(self, context: Any) -> None:
        """As much as anybody takes."""
        while True:
            await context.write(FRAME)
            self.sent += len(FRAME)

    Flood = Dmesg

    async def Hang(self, context: Any) -> None:
        await asyncio.Event().wait()

    async def Logs(self, context: Any) -> None:
        """A frame, then nothing for as long as anybody waits."""
        await context.write(b"\x12\x05hello")
        await asyncio.Event().wait()

    async def Swallow(self, context: Any) -> None:
        """Take nothing of what it is sent."""
        await asyncio.Event().wait()

    async def Fail(self, context: Any) -> None:
        await context.send_initial_metadata((("first", "1"), ("raw-bin", b"\x00\xff")))
        await context.write(b"before")
        trailing = (("last", "2"), ("grpc-status-details-bin", DETAILS), ("tail-bin", b"\xfe"))
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not yet, 50 % für now", trailing)

    async def Announce(self, context: Any) -> None:
        """Initial metadata long before the first message."""
        await context.send_initial_metadata((("first", "1"),))
        await context.read()
        await context.write(b"after")
        context.set_trailing_metadata((("last", "2"),))

    # How it is reached

    def freeze(self) -> None:
        """Say nothing any more on the connections there are."""
        for stream in self.tls:
            stream.send = lambda data: None  # type: ignore[method-assign]

    def kill(self) -> None:
        """Cut every connection."""
        for task in self.connections:
            task.cancel()


@contextlib.asynccontextmanager
async def node(uuid: str) -> AsyncIterator[Node]:
    """A running one."""
    made, path = Node(uuid), new_socket_path()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    about = FakeNode(resources=[resource(types.SYSTEM_INFORMATION, {"uuid": uuid})])
    state_pb2_grpc.add_StateServicer_to_server(about, server)
    server.add_generic_rpc_handlers((made,))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    context = tls.server_context(maintenance_identity())

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        made.connections.add(task)
        stream = tls.TlsStream(reader, writer, context, server_side=True)
        made.tls.append(stream)
        try:
            await stream.handshake()
            await tls.relay(await asyncio.open_unix_connection(str(path)), stream)
        except OSError:
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            made.connections.discard(task)
            await made.notify()

    front = await asyncio.start_server(accept, "127.0.0.1", 0)
    made.way = lambda: asyncio.open_connection(*front.sockets[0].getsockname())
    try:
        yield made
    finally:
        front.close()
        made.kill()
        await server.stop(None)
        path.unlink(missing_ok=True)
