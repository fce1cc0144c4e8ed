"""A stream to one other process: what is said at about the same time goes out in one write.

Nobody here waits for the other end. What it does not take is held up to a limit; then the stream is broken, and both
ends begin anew with a copy of everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from kubespan.discovery.limits import Refused
from kubespan.discovery.replicas.frames import (
    GREETING_LIMIT,
    NUMBER,
    REQUEST_HEAD,
    Greeting,
    Kind,
    ProtocolError,
    Splitter,
    frame,
)

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_CHOSEN = b"chosen\n"

GREETING_SECONDS = 5.0
"""Until an end that does not greet is given up."""

HELD = 16 * 1024 * 1024
"""Bytes that wait for a slow process before it is given up."""

GATHER_SECONDS = 0.002
"""Between writes: what follows closely waits for more to go with it, so that both ends are woken less often."""

DRIFT = 0.001
"""Seconds by which the clocks of two processes may part in a second."""

CHUNK = 256 * 1024
"""Bytes that are read at once."""

log = logging.getLogger(__name__)


class Spread:
    """A record that others have still to confirm; `done` is called when none is left."""

    __slots__ = ("done", "left", "number", "since")

    def __init__(self, number: int, done: Callable[[], object]) -> None:
        self.number, self.done = number, done
        self.left = 1  # it has to be sent at all
        self.since = time.monotonic()

    def confirmed(self) -> None:
        """One more has it, or is gone."""
        self.left -= 1
        if not self.left:
            self.done()


class Link:
    """One stream, greeted. It is `copied` when all that the other end had has arrived, and `settled` then or when it
    has ended."""

    def __init__(self, stream: Stream, theirs: Greeting, mine: Greeting) -> None:
        self.id, self.name, self.serving = theirs.id, theirs.name, theirs.serving
        self.teaches = theirs.serving and not mine.serving  # this process starts, and the other one knows better
        self.starts = not theirs.serving  # all that it had were its files
        self.copied, self.settled = False, asyncio.Event()
        self.heard_at = time.monotonic()
        self._reader, self._writer = stream
        self._waiting: list[bytes] = []
        self._flushing = False
        self._gather_until = 0.0
        self._have = 0  # number of the last record that took effect here, until that is said
        self._spread: deque[Spread] = deque()
        self._asked: dict[int, asyncio.Future[bool]] = {}
        self._questions = 0
        self._behind = inf  # what has to be added to a time of the other end to have ours

    # Saying.

    def send(self, data: bytes) -> None:
        """Send a frame, soon."""
        self._waiting.append(data)
        self._flush_soon()

    def have(self, number: int) -> None:
        """Say, soon, that the other end's records up to this one have taken effect."""
        self._have = number
        self._flush_soon()

    async def send_copy(self, slices: Iterable[tuple[Kind, bytes]]) -> None:
        """Send everything, as fast as it is taken, with other frames between. Raises OSError."""
        for kind, records in slices:
            self.send(frame(kind, records))
            self._flush()
            await asyncio.sleep(0)  # others have their turn
            await self._writer.drain()
        self.send(frame(Kind.COPIED))

    # Time.

    def when(self, said: float, now: float) -> float:
        """The time here at which the other end said something, by its clock.

        What came fastest was on its way for next to no time. So a record that had to wait lives no longer for it, and
        of two that came by different ways the later one can be told.
        """
        self._behind = min(self._behind, now - said)
        return said + self._behind

    def drift(self) -> None:
        """A second is over."""
        self._behind += DRIFT

    # Asking, and being answered.

    def ask(self, deletes: bool, request: bytes) -> asyncio.Future[bool]:
        """Have the other end order a write. Gives True when it did, False when it is gone before; raises Refused."""
        self._questions += 1
        asked = self._asked[self._questions] = asyncio.get_running_loop().create_future()
        self.send(frame(Kind.REQUEST, REQUEST_HEAD.pack(self._questions, deletes), request))
        return asked

    def answered(self, number: int, refusal: str) -> None:
        """The other end has answered a request."""
        asked = self._asked.pop(number, None)
        if asked is None or asked.done():  # the client did not wait
            return
        if refusal:
            code, _, text = refusal.partition(" ")
            asked.set_exception(Refused(code, text))
        else:
            asked.set_result(True)

    def spread(self, spread: Spread) -> None:
        """A record that was sent is to be confirmed by the other end."""
        spread.left += 1
        self._spread.append(spread)

    def unconfirmed_since(self, now: float) -> float:
        """Since when the other end is waited for."""
        return self._spread[0].since if self._spread else now

    def confirmed(self, number: int) -> None:
        """The other end has all records up to this one."""
        while self._spread and self._spread[0].number <= number:
            self._spread.popleft().confirmed()

    # Its life.

    async def run(self, hear: Callable[[Link, Kind, bytes], None]) -> None:
        """Give each frame that arrives to `hear`, until the stream ends. Raises OSError, ValueError."""
        splitter = Splitter()
        while data := await self._reader.read(CHUNK):
            self.heard_at = time.monotonic()
            try:
                for kind, payload in splitter.feed(data):
                    hear(self, kind, payload)
            except struct.error as error:
                raise ProtocolError("a frame is too short") from error

    def end(self) -> None:
        """Count the other end as gone: nobody waits for it any more."""
        self._writer.transport.abort()
        self.settled.set()
        while self._spread:
            self._spread.popleft().confirmed()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_result(False)
        self._asked.clear()

    async def close(self, timeout: float) -> None:
        """End the stream when what was said is on its way, or after so many seconds."""
        self._flush()
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), timeout)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            loop = asyncio.get_running_loop()
            if loop.time() < self._gather_until:
                loop.call_at(self._gather_until, self._flush)
            else:
                loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._have:
            self._waiting.append(frame(Kind.HAVE, NUMBER.pack(self._have)))
            self._have = 0
        data, self._waiting = b"".join(self._waiting), []
        if not data or self._writer.is_closing():
            return
        self._gather_until = asyncio.get_running_loop().time() + GATHER_SECONDS
        self._writer.write(data)
        transport: Any = self._writer.transport
        if transport.get_write_buffer_size() > HELD:
            log.warning("discovery service %s does not take what it is told, and %d MB wait", self.name, HELD >> 20)
            self._writer.transport.abort()


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


def choose(stream: Stream) -> None:
    """Say that this stream is used."""
    stream[1].write(_CHOSEN)


async def chosen(stream: Stream) -> bool:
    """Whether the other end says so. Raises OSError."""
    async with asyncio.timeout(GREETING_SECONDS):
        try:
            return await stream[0].readexactly(len(_CHOSEN)) == _CHOSEN
        except asyncio.IncompleteReadError:
            return False
