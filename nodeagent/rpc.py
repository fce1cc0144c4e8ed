"""gRPC calls to one server over a stream of our own.

grpcio cannot verify Talos' Ed25519 certificates, dials addresses instead of streams, and needs some 30 kB for every
open stream; a gateway has a dozen open to each of its machines. So this is the client half of gRPC over `http2`.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

import grpc

from nodeagent.http2 import STREAM_WINDOW, Connection, ErrorCode, Http2Error, Stream, encode_headers

Metadata = Sequence[tuple[bytes, bytes]]

DEADLINE_SLACK = 1.0
"""Seconds that the server is given beyond our own deadline."""

PING_AFTER, PING_TIMEOUT = 320.0, 60.0
"""Seconds of silence after which a sign of life is asked for, and those it may take."""

_BROKEN = {
    ErrorCode.REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: grpc.StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_HTTP_STATUS = {
    b"401": grpc.StatusCode.UNAUTHENTICATED,
    b"403": grpc.StatusCode.PERMISSION_DENIED,
    b"404": grpc.StatusCode.UNIMPLEMENTED,
    b"429": grpc.StatusCode.UNAVAILABLE,
    b"502": grpc.StatusCode.UNAVAILABLE,
    b"503": grpc.StatusCode.UNAVAILABLE,
    b"504": grpc.StatusCode.UNAVAILABLE,
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class Limits:
    """What a server may send: bytes of the largest message, and of those of one call that wait to be taken.

    Byte streams of machines come in frames of a kilobyte, resources are small.
    """

    message: int = 4 * 1024 * 1024
    window: int = STREAM_WINDOW


DEFAULT_LIMITS = Limits()


class RpcError(Exception):
    """A call ended with another status than OK. `cause` is what broke the connection, if that is why."""

    def __init__(self, code: grpc.StatusCode, details: str, cause: OSError | None = None) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code, self.details, self.cause = code, details, cause


@dataclass(frozen=True)
class Method:
    """A method of a service: its path, how requests are written and answers read."""

    path: bytes
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


class Methods:
    """Given to a generated stub instead of a channel, it makes the stub's attributes `Method`s."""

    def _method(
        self,
        path: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        **_: Any,
    ) -> Method:
        return Method(path.encode(), request_serializer, response_deserializer)

    unary_unary = unary_stream = stream_unary = stream_stream = _method


class Wire(Protocol):
    """A byte stream to the server, with TLS or without. At most one task reads."""

    async def read(self) -> bytes:
        """Some bytes, none at the end. Raises OSError."""

    def send(self, data: bytes) -> None:
        """Send without waiting. Raises OSError."""

    async def drain(self) -> None:
        """Wait while the other end is slow. Raises OSError."""

    def close(self) -> None:
        """End it."""


def _nobody() -> None:
    pass


class Call:
    """One call: what has arrived of its answer, and its status once it ended. One task may send while one receives."""

    __slots__ = (
        "_assembling", "_deadline", "_link", "_news", "_owed", "_stream", "answered", "messages", "method", "notify",
        "status",
    )  # fmt: skip

    def __init__(self, link: Link, method: Method) -> None:
        self.method = method
        self.messages: list[bytes] = []
        """What has arrived whole, the newest last; nearly always empty or one."""
        self.status: RpcError | None = None
        self.answered = False
        """The other end has reported a status, which is `status`, or None for OK."""
        self._assembling: bytearray | None = None  # the start of a message that has not arrived whole
        self._owed = 0  # bytes that the other end may not send again yet
        self._link = link
        self._stream: Stream | None = None
        self._news: asyncio.Event | None = None
        self.notify: Callable[[], None] = _nobody
        """Called when there is something new."""
        self._deadline: asyncio.TimerHandle | None = None

    def start(self, timeout: float | None, metadata: Metadata) -> None:
        """Open the stream, with the next flush."""
        self._stream = self._link.http2.request(self._link.headers(self.method.path, timeout, metadata), self)
        if timeout is not None:
            self._deadline = asyncio.get_running_loop().call_later(timeout, self._expire)

    def put(self, message: Any, end: bool) -> None:
        """Leave a request to be sent with the next flush."""
        assert self._stream is not None
        data = self.method.encode(message)
        self._link.http2.send(self._stream, struct.pack(">BI", 0, len(data)) + data, end)

    async def send(self, message: Any, end: bool) -> None:
        """Send a request, and wait while the other end does not take it. Nothing is sent on a call that is over."""
        assert self._stream is not None
        if self.over:
            return
        self.put(message, end)
        await self._link.flush()
        while self._stream.pending and not self.over:
            await self._wait()

    async def flush(self) -> None:
        """Send what there is, and wait while the other end is slow."""
        await self._link.flush()

    async def finish_sending(self) -> None:
        """No more requests."""
        assert self._stream is not None
        if not self.over:
            self._link.http2.send(self._stream, b"", True)
            await self._link.flush()

    async def receive(self) -> Any:
        """The next answer, or None at the end. Raises RpcError."""
        while not self.ready:
            await self._wait()
        return self.take()

    @property
    def ready(self) -> bool:
        """`take` has something to say."""
        return bool(self.messages) or self.over

    def take(self) -> Any:
        """What `receive` returns, of a call that is ready."""
        if not self.messages:
            if self.status is not None:
                raise self.status
            return None
        data = self.messages.pop(0)
        if not self.messages:
            self._repay()
            self._link.flush_soon()
        try:
            return self.method.decode(data)
        except Exception as error:
            raise RpcError(grpc.StatusCode.DATA_LOSS, f"an answer cannot be read: {error}") from error

    async def only(self) -> Any:
        """The one answer of a call that has one. Raises RpcError."""
        answer = await self.receive()
        if answer is None:
            raise RpcError(grpc.StatusCode.INTERNAL, f"{self._link.peer} sent no answer")
        await self.receive()  # its status
        return answer

    def close(self) -> None:
        """No more interest in it."""
        self._finish(RpcError(grpc.StatusCode.CANCELLED, "cancelled"), reset=True)
        self._stream = None  # it knows us: both, with their closed connection, would wait to be found as garbage

    @property
    def over(self) -> bool:
        """Its status is known."""
        return self.answered or self.status is not None

    async def _wait(self) -> None:
        if self._news is None:
            self._news = asyncio.Event()
            self.notify = self._news.set
        self._news.clear()  # the other task that waits here has been woken already if it was to be
        await self._news.wait()

    def _expire(self) -> None:
        self._finish(RpcError(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer in time"), reset=True)

    def _finish(self, status: RpcError | None, reset: bool = False) -> None:
        if self.over:
            return
        self.status, self.answered = status, status is None
        if self._deadline is not None:
            self._deadline.cancel()
        if reset and self._stream is not None:
            self._link.http2.cancel(self._stream)
            self._link.flush_soon()
        self.notify()

    # What HTTP/2 tells

    def headers(self, fields: list[tuple[bytes, bytes]]) -> None:
        found = dict(fields)
        if b"grpc-status" in found:
            text = unquote(found.get(b"grpc-message", b"").decode("latin-1"), errors="replace")
            number = found[b"grpc-status"]
            code = _CODES.get(int(number) if number.isdigit() else 2, grpc.StatusCode.UNKNOWN)
            self._finish(None if code is grpc.StatusCode.OK else RpcError(code, text))
        elif (status := found.get(b":status", b"200")) != b"200":
            code = _HTTP_STATUS.get(status, grpc.StatusCode.UNKNOWN)
            self._finish(RpcError(code, f"HTTP status {status.decode('latin-1')}"), reset=True)

    def data(self, data: bytes) -> None:
        self._owed += len(data)
        buffer: bytes | bytearray = data
        if self._assembling:
            self._assembling += data
            buffer = self._assembling
        offset = 0
        while len(buffer) - offset >= 5:
            compressed, length = struct.unpack_from(">BI", buffer, offset)
            if compressed or length > self._link.message_limit:
                what = "is compressed" if compressed else f"has {length} bytes"
                self._finish(RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"an answer {what}"), reset=True)
                return
            if len(buffer) - offset < 5 + length:
                break
            with memoryview(buffer) as view:
                self.messages.append(bytes(view[offset + 5 : offset + 5 + length]))
            offset += 5 + length
        if offset or buffer is data:
            self._assembling = bytearray(buffer[offset:]) if offset < len(buffer) else None
        if self.messages:
            self.notify()
        else:
            self._repay()

    def _repay(self) -> None:
        """Let the other end go on: nothing complete waits to be read."""
        assert self._stream is not None
        self._link.http2.consumed(self._stream, self._owed)
        self._owed = 0

    def ended(self) -> None:
        self._finish(RpcError(grpc.StatusCode.UNKNOWN, "the answer ended without a status"))

    def broken(self, code: int, text: str) -> None:
        meaning = _BROKEN.get(code, grpc.StatusCode.INTERNAL)  # type: ignore[call-overload]
        self._finish(RpcError(meaning, text, self._link.error))

    def drained(self) -> None:
        self.notify()


_SomeCall = TypeVar("_SomeCall", bound=Call)


class Link:
    """One connection of a channel, and the task that reads it."""

    def __init__(self, wire: Wire, peer: str, authority: bytes, scheme: bytes, limits: Limits) -> None:
        self.http2 = Connection(limits.window)
        self.message_limit = limits.message
        self.error: OSError | None = None
        """What broke it."""
        self.peer, self._authority, self._scheme = peer, authority, scheme
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._asked = False
        self._sign: asyncio.Future[None] | None = None  # of life, for those who wait for one
        self._watch: asyncio.TimerHandle | None = None
        self._wait_for_silence(PING_AFTER)
        self._task = asyncio.ensure_future(self._read())

    @property
    def usable(self) -> bool:
        return not self.http2.closing

    async def alive(self, fresh: float, timeout: float) -> bool:
        """Whether something was heard in the last `fresh` seconds, or is in the next `timeout` ones when asked."""
        if self.error is None and self._loop.time() - self._heard > fresh:
            if self._sign is None:
                self._sign = self._loop.create_future()
                self.http2.ping()
                self.flush_soon()
            await asyncio.wait([self._sign], timeout=timeout)
            return self.error is None and self._loop.time() - self._heard <= fresh + timeout
        return self.error is None

    def headers(self, path: bytes, timeout: float | None, metadata: Metadata) -> bytes:
        """The header block of a request."""
        fields = [
            (b":method", b"POST"),
            (b":scheme", self._scheme),
            (b":path", path),
            (b":authority", self._authority),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", b"omni"),
            *metadata,
        ]
        if timeout is not None:
            # Our own timer decides: a Go server whose timer runs out first only says that the call was cancelled.
            fields.append((b"grpc-timeout", _timeout(timeout + DEADLINE_SLACK)))
        return encode_headers(fields)

    async def flush(self) -> None:
        """Send what there is to send, and wait while the other end is slow."""
        self.flush_soon()
        try:
            await self._wire.drain()
        except OSError as error:
            self._break(error)

    def flush_soon(self) -> None:
        """Send what there is to send, without waiting."""
        if self.error is not None:
            return
        if data := self.http2.take():
            try:
                self._wire.send(data)
            except OSError as error:
                self._break(error)

    async def close(self) -> None:
        if self.error is None:
            self.http2.goodbye()
            self.flush_soon()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while data := await self._wire.read():
                self._heard = self._loop.time()
                if self._asked:
                    self._wait_for_silence(PING_AFTER)
                self._tell()
                self.http2.receive(data)
                del data  # the next may be long in coming
                await self._answer()
            raise ConnectionResetError(f"{self.peer} closed the connection")
        except OSError as error:  # of the connection, of TLS, of HTTP/2
            if isinstance(error, Http2Error):
                self.http2.goodbye(error.code)
                self.flush_soon()
            self._break(error)
        finally:
            if self._watch is not None:
                self._watch.cancel()
            self._break(ConnectionAbortedError("the connection was closed"))
            self._wire.close()

    async def _answer(self) -> None:
        """Send what was received makes necessary; mostly nothing."""
        if self.error is None and (data := self.http2.take()):
            self._wire.send(data)
            await self._wire.drain()

    def _wait_for_silence(self, seconds: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._asked = False
        self._watch = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """After a long silence ask for a sign of life."""
        silence = self._loop.time() - self._heard
        if silence < PING_AFTER:
            self._wait_for_silence(PING_AFTER - silence)
            return
        self._asked = True
        self._watch = self._loop.call_later(PING_TIMEOUT, self._give_up)
        self.http2.ping()
        self.flush_soon()

    def _give_up(self) -> None:
        self._break(TimeoutError(f"{self.peer} says nothing any more"))
        self._task.cancel()

    def _tell(self) -> None:
        """There is news for those who wait for a sign of life."""
        if self._sign is not None:
            self._sign.set_result(None)
            self._sign = None

    def _break(self, error: OSError) -> None:
        if self.error is None:
            self.error = error
            self.http2.break_all(str(error))
            self._tell()


def _timeout(seconds: float) -> bytes:
    """As gRPC writes it: a number of at most eight digits, and its unit."""
    milliseconds = int(seconds * 1000)
    return b"%dm" % milliseconds if milliseconds < 10**8 else b"%dS" % min(seconds, 10**8 - 1)


class Channel:
    """Calls to one server, over a connection that is made when it is needed and made again when it broke."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Wire]],
        peer: str = "the machine",
        authority: str = "machine",
        scheme: str = "https",
        limits: Limits = DEFAULT_LIMITS,
        metadata: Metadata = (),
    ) -> None:
        """`connect` opens a stream, TLS included, or raises OSError; `peer` is what errors call the server.

        `metadata` goes with every call but those of `duplex`, which have their own.
        """
        self._connect, self._peer = connect, peer
        self._limits, self._metadata = limits, metadata
        self._authority, self._scheme = authority.encode(), scheme.encode()
        self._links: list[Link] = []  # the last is for new calls; others may still carry old ones
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        """End the connection; calls on it end with UNAVAILABLE."""
        for link in self._links:
            await link.close()

    @property
    def broken(self) -> bool:
        """There is a connection that new calls cannot use any more."""
        return bool(self._links) and not self._links[-1].usable

    async def alive(self, fresh: float, timeout: float) -> bool:
        """Whether the connection's other end is there: something was heard of it in the last `fresh` seconds, or is in
        the next `timeout` ones when it is asked. A machine that lost its power closes no connection."""
        return bool(self._links) and await self._links[-1].alive(fresh, timeout)

    async def connect(self) -> None:
        """Connect unless we are. Raises RpcError."""
        await self._connected(None)

    async def unary(self, method: Method, request: Any, timeout: float | None) -> Any:
        """One request, one answer. Raises RpcError."""
        async with self._call(method, timeout, self._metadata) as call:
            await call.send(request, end=True)
            return await call.only()

    async def stream(self, method: Method, request: Any, timeout: float | None) -> AsyncGenerator[Any]:
        """One request, any number of answers. Raises RpcError."""
        async with self._call(method, timeout, self._metadata) as call:
            await call.send(request, end=True)
            while (answer := await call.receive()) is not None:
                yield answer

    async def upload(self, method: Method, requests: AsyncIterable[Any], timeout: float | None) -> Any:
        """Any number of requests, one answer. Raises RpcError."""
        async with self._call(method, timeout, self._metadata) as call:
            async for request in requests:
                await call.send(request, end=False)
                if call.over:
                    break  # the server has heard enough
            await call.finish_sending()
            return await call.only()

    @contextlib.asynccontextmanager
    async def duplex(self, method: Method, metadata: Metadata = ()) -> AsyncGenerator[Call]:
        """A call whose both directions go on until they end: `send`, `finish_sending`, `receive`. Leaving the block
        cancels what has not ended. Raises RpcError."""
        async with self._call(method, None, metadata) as call:
            await call.flush()
            yield call

    async def start(self, call: Callable[[Link], _SomeCall], timeout: float | None, metadata: Metadata) -> _SomeCall:
        """A call of another kind, begun; whoever asked for it closes it. Raises RpcError."""
        begun = call(await self._connected(timeout))
        begun.start(timeout, metadata)
        await begun.flush()
        return begun

    async def fan(self, method: Method, requests: Iterable[Any]) -> AsyncGenerator[tuple[int, Any]]:
        """Many calls of one method that follow something, as one: (index of the request, its next answer).

        A call that ends without error gives None last, one that ends with an error its RpcError. Much cheaper than a
        generator and a task for each. Raises RpcError when there is no connection.
        """
        link = await self._connected(None)
        news = asyncio.Event()
        calls = {}
        try:
            for index, request in enumerate(requests):
                call = calls[index] = Call(link, method)
                call.notify = news.set
                call.start(None, self._metadata)
                call.put(request, end=True)
            await link.flush()
            while calls:
                await news.wait()
                news.clear()
                for index, call in list(calls.items()):
                    while index in calls and call.ready:
                        answer = _taken(call)
                        if answer is None or isinstance(answer, RpcError):
                            call.close()
                            del calls[index]
                        yield index, answer
        finally:
            for call in calls.values():
                call.close()

    @contextlib.asynccontextmanager
    async def _call(self, method: Method, timeout: float | None, metadata: Metadata) -> AsyncGenerator[Call]:
        clock = asyncio.get_running_loop().time
        began = clock()
        call = Call(await self._connected(timeout), method)
        call.start(None if timeout is None else max(timeout - (clock() - began), 0.001), metadata)
        try:
            yield call
        finally:
            call.close()

    async def _connected(self, timeout: float | None) -> Link:
        try:
            async with asyncio.timeout(timeout):
                return await self._usable_link()
        except OSError as error:  # TimeoutError is one
            cause = error if str(error) else TimeoutError("no connection in time")
            raise RpcError(grpc.StatusCode.UNAVAILABLE, str(cause), cause) from error

    async def _usable_link(self) -> Link:
        async with self._connecting:
            self._links = [link for link in self._links if link.error is None]
            if not self._links or not self._links[-1].usable:
                wire = await self._connect()
                self._links.append(Link(wire, self._peer, self._authority, self._scheme, self._limits))
            return self._links[-1]


def _taken(call: Call) -> Any:
    try:
        return call.take()
    except RpcError as error:
        return error
