"""A front with servers behind it whose every byte a test decides, and a client made of h2."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import h11
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from nodeagent import h2front
from nodeagent.dial import Stream

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Fields = list[tuple[str, str]]


def fields(method: str = "GET", path: str = "/", *more: tuple[str, str]) -> Fields:
    return [(":method", method), (":scheme", "https"), (":authority", "omni.example.com"), (":path", path), *more]


@dataclass
class Answer:
    """What a client heard on one stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    told: list[int] = field(default_factory=list)  # statuses before the answer
    body: bytearray = field(default_factory=bytearray)
    trailers: bool = False
    reset: int | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def told_request(self) -> dict[str, Any]:
        """The request as the echoing server saw it."""
        told: dict[str, Any] = json.loads(self.body)
        return told


class Client:
    """Speaks HTTP/2; what it says may be wrong."""

    def __init__(self, stream: Stream, reads: bool = True) -> None:
        self.reader, self.writer = stream
        checks = {"validate_outbound_headers": False, "normalize_outbound_headers": False}
        self.http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8", **checks))
        self.http.initiate_connection()
        self.push()
        self.reads = reads  # whether windows are opened again
        self.answers: dict[int, Answer] = {}
        self.ended: int | None = None  # the code of GOAWAY
        self.closed = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    def push(self) -> None:
        self.writer.write(self.http.data_to_send())

    def begin(self, said: Fields, end: bool = True) -> tuple[int, Answer]:
        stream = self.http.get_next_available_stream_id()
        answer = self.answers[stream] = Answer()
        self.http.send_headers(stream, said, end_stream=end)
        self.push()
        return stream, answer

    async def send(self, stream: int, data: bytes, end: bool = False) -> None:
        """A part of a body, as the front takes it."""
        while data:
            room = min(self.http.local_flow_control_window(stream), self.http.max_outbound_frame_size)
            if room:
                self.http.send_data(stream, data[:room])
                data = data[room:]
                self.push()
            await asyncio.sleep(0 if room else 0.005)
        if end:
            self.http.end_stream(stream)
            self.push()

    async def ask(self, *said: Any, body: bytes | None = None) -> Answer:
        """A request and its whole answer."""
        stream, answer = self.begin(fields(*said), end=body is None)
        if body is not None:
            await self.send(stream, body, end=True)
        await asyncio.wait_for(answer.over.wait(), 20)
        return answer

    async def close(self) -> None:
        self.writer.close()
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self.reader.read(65536):
                for event in self.http.receive_data(data):
                    self._take(event)
                self.push()
        self.closed.set()
        for answer in self.answers.values():
            answer.over.set()

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self.ended = event.error_code
        answer = self.answers.get(getattr(event, "stream_id", None) or 0)
        if answer is None:
            return
        if isinstance(event, InformationalResponseReceived):
            answer.told.append(int(dict(event.headers)[":status"]))
        elif isinstance(event, ResponseReceived):
            answer.headers = dict(event.headers)
            answer.status = int(answer.headers.pop(":status"))
        elif isinstance(event, TrailersReceived):
            answer.trailers = True
        elif isinstance(event, DataReceived):
            answer.body += event.data
            if self.reads:
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            answer.over.set()
        elif isinstance(event, StreamReset):
            answer.reset = event.error_code
            answer.over.set()
        answer.changed.set()


@dataclass
class Lab:
    """The front and how often its server was connected to."""

    port: int
    connections: int = 0
    open: int = 0
    clients: list[Client] = field(default_factory=list)

    async def client(self, reads: bool = True) -> Client:
        made = Client(await asyncio.open_connection("127.0.0.1", self.port), reads)
        self.clients.append(made)
        return made


@contextlib.asynccontextmanager
async def opened(behaviour: Behaviour, **others: Behaviour) -> AsyncIterator[Lab]:
    """A front; paths that begin with the name of another server go there, the rest to the first one."""
    lab = Lab(0)

    def opening(serve: Behaviour) -> h2front.Open:
        async def connect() -> Stream:
            return await asyncio.open_connection("127.0.0.1", ports[serve])

        return connect

    def counted(serve: Behaviour) -> Behaviour:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            lab.connections += 1
            lab.open += 1
            try:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await serve(reader, writer)
            finally:
                lab.open -= 1
                writer.close()

        return take

    servers = {
        serve: await asyncio.start_server(counted(serve), "127.0.0.1") for serve in (behaviour, *others.values())
    }
    ports = {serve: server.sockets[0].getsockname()[1] for serve, server in servers.items()}
    ways = {name: opening(serve) for name, serve in others.items()}
    default = opening(behaviour)

    def route(target: bytes) -> h2front.Open:
        return ways.get(target.decode().split("/")[1], default)

    live: set[asyncio.Task[None]] = set()

    async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        task = asyncio.ensure_future(h2front.serve((reader, writer), route))
        live.add(task)
        try:
            await asyncio.wait({task})
        finally:
            writer.close()

    served = await asyncio.start_server(front, "127.0.0.1")
    lab.port = served.sockets[0].getsockname()[1]
    try:
        yield lab
    finally:
        for client in lab.clients:
            await client.close()
        for server in (served, *servers.values()):
            server.close()
        for task in live:
            task.cancel()
        for ended in await asyncio.gather(*live, return_exceptions=True):
            assert ended is None or isinstance(ended, asyncio.CancelledError), ended


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request with what it said, as JSON."""
    http = h11.Connection(h11.SERVER)
    while True:
        request, body = None, b""
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.ConnectionClosed):
                return
        assert request is not None
        told = {
            "method": request.method.decode(),
            "target": request.target.decode(),
            "headers": [[name.decode(), value.decode("latin-1")] for name, value in request.headers],
            "body": body.decode("latin-1"),
        }
        said = json.dumps(told).encode()
        head = h11.Response(status_code=200, headers=[("content-length", str(len(said)))])
        writer.write((http.send(head) or b"") + (http.send(h11.Data(said)) or b""))
        http.send(h11.EndOfMessage())
        await writer.drain()
        http.start_next_cycle()


def says(answer: bytes, close: bool = False) -> Behaviour:
    """Reads a request's head, then says these bytes; afterwards it waits for the other end, or closes."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if close:
                return

    return behave


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.005)
