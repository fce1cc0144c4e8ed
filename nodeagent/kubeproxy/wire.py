"""HTTP/1.1 over a byte stream, one event after another, as either end."""

import asyncio
from typing import Protocol

import h11

HEAD_LIMIT = 64 * 1024
"""Bytes of a request's or answer's head, and of what a client sends ahead while its request is answered."""

CHUNK = 64 * 1024


class ByteStream(Protocol):
    """What both a connection and TLS over one are."""

    async def read(self) -> bytes:
        """Some bytes, none at the end. Raises OSError."""

    async def write(self, data: bytes) -> None:
        """Send, and wait while the other end is slow. Raises OSError."""

    def close(self) -> None:
        """Let what was sent get out, then end."""

    def abort(self) -> None:
        """End at once."""


class Plain:
    """A connection without TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        return await self._reader.read(CHUNK)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()


class Left(ConnectionError):
    """The other end closed the connection before it had said everything."""


class Wire:
    """One end of a connection. At most one task receives and one sends."""

    def __init__(self, stream: ByteStream, role: type[h11.CLIENT] | type[h11.SERVER]) -> None:
        self.stream = stream
        self.http = h11.Connection(role, max_incomplete_event_size=HEAD_LIMIT)

    async def receive(self) -> h11.Event:
        """The next event. Raises Left, OSError, h11.RemoteProtocolError."""
        while True:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                data = await self.stream.read()
                if not data and self.http.their_state is not h11.SEND_BODY:  # a body may go on until the end
                    raise Left("the connection was closed")
                self.http.receive_data(data)
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                raise Left("the connection was closed")
            else:
                assert not isinstance(event, type)
                return event

    def ready(self) -> list[h11.Event]:
        """The events that have come already, up to the end of the message. Raises h11.RemoteProtocolError."""
        events: list[h11.Event] = []
        while self.http.their_state is h11.SEND_BODY:
            event = self.http.next_event()
            if isinstance(event, type | h11.ConnectionClosed):
                break
            events.append(event)
        return events

    async def send(self, *events: h11.Event) -> None:
        """Send in one piece. Raises OSError, h11.LocalProtocolError."""
        await self.stream.write(b"".join(self.http.send(event) or b"" for event in events))

    async def left(self) -> None:
        """Wait, with nothing more to receive, until the other end closes the connection. Raises OSError."""
        ahead = len(self.http.trailing_data[0])
        while data := await self.stream.read():
            self.http.receive_data(data)
            ahead += len(data)
            if ahead > HEAD_LIMIT:
                await asyncio.Event().wait()  # it will not be noticed before its answer is written

    def next_cycle(self) -> bool:
        """Begin anew if both ends may."""
        if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
            return True
        return False


def what(error: Exception) -> str:
    """What was wrong, without what was sent: that may be long, or secret."""
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return str(error).partition(":")[0]


async def copy(source: Wire, target: Wire) -> None:
    """After both switched to another protocol: until the end of the source. Raises OSError."""
    data = source.http.trailing_data[0]
    while data or (data := await source.stream.read()):
        await target.stream.write(data)
        data = b""  # a connection may be idle for days
