"""A stream to one other process: what is said in one turn of the loop goes out in one write.

Nobody here waits for the other end. What it does not take is held up to a limit; then the stream is broken, and both
ends begin anew with a copy of everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable

from kubespan.discovery.replicas.frames import GREETING_LIMIT, Greeting, Kind, ProtocolError, Splitter, frame

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

GREETING_SECONDS = 5.0
"""Until an end that does not greet is given up."""

HELD = 16 * 1024 * 1024
"""Bytes that wait for a slow process before it is given up."""

CHUNK = 256 * 1024
"""Bytes that are read at once."""

log = logging.getLogger(__name__)


class Link:
    """One stream, greeted. `copied` is set when all that the other end had has arrived."""

    def __init__(self, stream: Stream, greeting: Greeting, dialled: bool) -> None:
        """`dialled` says which end opened the stream: this one, or the other."""
        self.id, self.name, self.serving, self.dialled = greeting.id, greeting.name, greeting.serving, dialled
        self.copied = asyncio.Event()
        self.heard_at = time.monotonic()
        self._reader, self._writer = stream
        self._waiting: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Send a frame, soon."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(data)

    async def send_copy(self, slices: Iterable[bytes]) -> None:
        """Send everything, as fast as it is taken, with other frames between. Raises OSError."""
        for records in slices:
            self.send(frame(Kind.COPY, records))
            await asyncio.sleep(0)  # it goes out, and others have their turn
            await self._writer.drain()
        self.send(frame(Kind.COPIED))

    async def run(self, heard: Callable[[Kind, bytes], None]) -> None:
        """Give each frame that arrives to `heard`, until the stream ends. Raises OSError, ValueError."""
        splitter = Splitter()
        while data := await self._reader.read(CHUNK):
            self.heard_at = time.monotonic()
            for kind, payload in splitter.feed(data):
                heard(kind, payload)

    def drop(self, why: str) -> None:
        """Break the stream."""
        if not self._writer.is_closing():
            log.warning("the stream to %s is broken: %s", self.name, why)
        self._writer.transport.abort()

    async def close(self, timeout: float) -> None:
        """End the stream when what was said is on its way, or after so many seconds."""
        self._flush()
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), timeout)

    def _flush(self) -> None:
        data, self._waiting = b"".join(self._waiting), []
        if not data or self._writer.is_closing():
            return
        self._writer.write(data)
        if self._writer.transport.get_write_buffer_size() > HELD:
            self.drop(f"it does not take what it is told, and {HELD >> 20} MB wait")


async def greet(stream: Stream, mine: Greeting) -> Greeting:
    """Say who we are and hear who is there. Raises ProtocolError, OSError."""
    reader, writer = stream
    writer.write(mine.encode())
    async with asyncio.timeout(GREETING_SECONDS):
        try:
            line = await reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ProtocolError("it does not greet as a discovery service does") from error
    if len(line) > GREETING_LIMIT:
        raise ProtocolError("its greeting is too long")
    return Greeting.decode(line)
