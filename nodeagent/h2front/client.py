"""What is said to a client, by many exchanges on one connection."""

import asyncio
import contextlib
from collections.abc import Iterable

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from nodeagent.h2front.floods import FRAME_LIMIT, Meter
from nodeagent.h2front.messages import Field


class Client:
    """The sending half of a connection. What is said is on its way after `push`, or when `flush` returns."""

    def __init__(self, http: H2Connection, writer: asyncio.StreamWriter, meter: Meter) -> None:
        self._http, self._writer, self._meter = http, writer, meter
        self._turn = asyncio.Lock()

    def push(self) -> None:
        """Send without waiting."""
        data = self._http.data_to_send()
        if data and not self._writer.is_closing():
            self._writer.write(data)

    async def flush(self) -> None:
        """Send, and wait while the client is slow. Raises OSError."""
        self.push()
        await self._writer.drain()

    def head(self, stream: int, fields: Iterable[Field]) -> None:
        """Begin an answer, or tell something on the way to it (1xx)."""
        self._http.send_headers(stream, fields)

    async def body(self, stream: int, data: bytes, opened: asyncio.Event) -> None:
        """Send a part of an answer as its window allows; `opened` is set whenever that may have changed.

        Raises OSError.
        """
        while data:
            async with self._turn:  # each waits for a slow client before it adds a frame, one after the other
                await self._writer.drain()
                room = min(self._http.local_flow_control_window(stream), FRAME_LIMIT)
                if room > 0:
                    self._http.send_data(stream, data[:room])
                    self._meter.sent(min(room, len(data)))
                    data = data[room:]
            if data:
                self.push()
            if room <= 0:
                opened.clear()
                await opened.wait()

    def end(self, stream: int) -> None:
        """The answer is complete."""
        self._http.end_stream(stream)

    def reset(self, stream: int, code: ErrorCodes) -> None:
        """End a stream early, unless it ended by itself."""
        with contextlib.suppress(ProtocolError):
            self._http.reset_stream(stream, code)

    def consumed(self, stream: int, size: int) -> None:
        """So many bytes of a request need no memory any more: as many may follow."""
        if size:
            self._http.acknowledge_received_data(size, stream)
            self.push()
