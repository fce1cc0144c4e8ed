"""The HTTP/1.1 side: connections to servers, kept for the next request of the same client."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable

import h11

from nodeagent.dial import CHUNK, Stream

Open = Callable[[], Awaitable[Stream]]
"""Opens a connection to a server in the name of the client. Raises OSError."""

HEAD_LIMIT = 64 * 1024
"""Bytes of an answer's head."""

REST = 3.0
"""Seconds that an idle connection is kept: shorter than servers do, who must not close what we are about to use."""

RESTING = 8
"""Idle connections to one server."""


class Ended(Exception):
    """The server closed its connection, or said what is no HTTP/1.1, before the answer was complete."""


class Upstream:
    """A connection that carries one request after the other."""

    def __init__(self, stream: Stream) -> None:
        self._reader, self._writer = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)

    async def send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        """Send a part of a request, and wait while the server is slow. Raises Ended."""
        try:
            if data := self._http.send(event):
                self._writer.write(data)
                await self._writer.drain()
        except OSError as error:
            raise Ended from error

    def said(self) -> h11.Event | None:
        """What the server said next; None when that was not read yet. Raises Ended."""
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise Ended from error
        return event if isinstance(event, h11.Event) else None

    async def read(self) -> None:
        """Read more. Raises Ended."""
        try:
            self._http.receive_data(await self._reader.read(CHUNK))
        except OSError as error:
            raise Ended from error

    def finished(self) -> bool:
        """Whether request and answer ended so that another request may follow; then it may."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return self._http.trailing_data == (b"", False)

    def ended(self) -> bool:
        """Whether the server closed the connection."""
        return self._reader.at_eof()

    async def rest(self) -> None:
        """Return when an idle connection is of no use any more: it ended, or spoke unasked, or grew old."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(REST):
                await self._reader.read(1)

    def close(self) -> None:
        """Close at once, whatever was not sent."""
        self._writer.transport.abort()


class Pool:
    """The upstream connections of one client."""

    def __init__(self) -> None:
        self._resting: defaultdict[Open, dict[Upstream, asyncio.Task[None]]] = defaultdict(dict)

    async def take(self, opening: Open) -> Upstream:
        """A connection that nobody uses. Raises OSError."""
        resting = self._resting[opening]
        while resting:
            upstream, rest = resting.popitem()
            rest.cancel()
            await asyncio.wait({rest})
            if rest.cancelled() and not upstream.ended():
                return upstream
            upstream.close()
        return Upstream(await opening())

    def give(self, opening: Open, upstream: Upstream) -> None:
        """Keep a connection for the next request, if one may follow."""
        resting = self._resting[opening]
        if not upstream.finished() or len(resting) >= RESTING:
            upstream.close()
            return

        def rested(rest: asyncio.Task[None]) -> None:
            if not rest.cancelled() and upstream in resting:
                del resting[upstream]
                upstream.close()

        resting[upstream] = asyncio.create_task(upstream.rest())
        resting[upstream].add_done_callback(rested)

    def close(self) -> None:
        """Close what rests."""
        for resting in self._resting.values():
            for upstream, rest in resting.items():
                rest.cancel()
                upstream.close()
            resting.clear()
