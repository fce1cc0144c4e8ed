"""One request of a client and its answer."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

import h11
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from nodeagent.h2front import messages
from nodeagent.h2front.client import Client
from nodeagent.h2front.messages import Field, Refused
from nodeagent.h2front.upstream import Ended, Open, Pool, Upstream

Route = Callable[[bytes], Open]
"""Which server a request goes to, by its target (path and query)."""

HEAR_OUT = 1.0
"""Seconds in which a client may complete a request that was answered before."""

STARTING = "The process that answers here is starting. Try again shortly.\n"


class Exchange:
    """A stream, from its header block on."""

    def __init__(self, client: Client, stream: int, fields: Iterable[Field], ended: bool) -> None:
        self._client, self._stream, self._fields = client, stream, list(fields)
        self._bodiless = ended
        self._answered = False
        self._complete = asyncio.Event()
        if ended:
            self._complete.set()
        self._parts: asyncio.Queue[tuple[bytes, int] | None] = asyncio.Queue()  # as many as the window allows
        self.opened = asyncio.Event()
        """Set when the client may have opened the stream's window."""

    def data(self, data: bytes, size: int) -> None:
        """A part of the request, which takes `size` bytes of the window."""
        self._parts.put_nowait((data, size))

    def end(self) -> None:
        """The request is complete."""
        self._complete.set()
        self._parts.put_nowait(None)

    async def run(self, route: Route, pool: Pool) -> None:
        """Answer. Cancelled when the client does not want the answer any more."""
        with contextlib.suppress(OSError, ProtocolError):  # the client is gone
            await self._answer(route, pool)
            await self._client.flush()
            await self._hear_out()

    def leave(self) -> None:
        """Give back what nobody read of the request; nothing more may arrive."""
        left = [self._parts.get_nowait() for _ in range(self._parts.qsize())]
        self._client.consumed(self._stream, sum(part[1] for part in left if part))

    async def _answer(self, route: Route, pool: Pool) -> None:
        try:
            request = messages.request(self._fields, self._bodiless)
        except Refused as refused:
            return await self._say(refused.status, f"{refused.text}\n")
        opening = route(request.target)
        try:
            upstream = await pool.take(opening)
        except OSError:
            return await self._say(503, STARTING)
        try:
            await self._pass(request, upstream)
        except Ended:
            upstream.close()
            if not self._answered:
                return await self._say(502, "The process that answers here ended before it did. Try again.\n")
            self._client.reset(self._stream, ErrorCodes.INTERNAL_ERROR)
            self.end()
        except BaseException:
            upstream.close()
            raise
        else:
            self._client.end(self._stream)
            pool.give(opening, upstream)

    async def _pass(self, request: h11.Request, upstream: Upstream) -> None:
        if self._bodiless:
            await self._send(request, upstream)
            return await self._receive(upstream)
        sending = asyncio.create_task(self._send(request, upstream))
        try:
            await self._receive(upstream)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, request: h11.Request, upstream: Upstream) -> None:
        with contextlib.suppress(Ended):  # the answer may have come before, and says why
            await upstream.send(request)
            while not self._complete.is_set() or not self._parts.empty():
                if part := await self._parts.get():
                    await upstream.send(h11.Data(part[0]))
                    self._client.consumed(self._stream, part[1])
            await upstream.send(h11.EndOfMessage())

    async def _receive(self, upstream: Upstream) -> None:
        while True:
            event = upstream.said()
            if event is None:
                await self._client.flush()
                await upstream.read()
            elif isinstance(event, h11.InformationalResponse | h11.Response):
                self._answered = isinstance(event, h11.Response)
                self._client.head(self._stream, messages.answer(event))
            elif isinstance(event, h11.Data):
                await self._client.body(self._stream, bytes(event.data), self.opened)
            else:
                return

    async def _hear_out(self) -> None:
        """The answer is complete and needs no more of the request; ending that at once would look like a failure."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEAR_OUT):
                await self._complete.wait()
        if not self._complete.is_set():
            self._client.reset(self._stream, ErrorCodes.NO_ERROR)
            await self._client.flush()

    async def _say(self, status: int, text: str) -> None:
        body = text.encode()
        fields = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        self._client.head(self._stream, [(b":status", b"%d" % status), *fields])
        if (b":method", b"HEAD") not in self._fields:
            await self._client.body(self._stream, body, self.opened)
        self._client.end(self._stream)
