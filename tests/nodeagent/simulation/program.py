"""The programs at both ends of a simulated connection, which check everything they see."""

from __future__ import annotations

import asyncio
import enum
from typing import cast

from nodeagent.wireguard.transport import TcpTransport
from tests.nodeagent.simulation.world import SimulationFailure, World


class Ending(enum.Enum):
    """How a program leaves."""

    ORDERLY = "sends all, reads to the end, closes"
    CLOSE = "closes as soon as it has written all"
    ABORT = "aborts at some point"
    VANISH = "its machine loses power at some point"


class Program(asyncio.Protocol):
    """Sends `outgoing`, expects `incoming`, in pieces and with pauses that its world decides."""

    def __init__(self, world: World, name: str, outgoing: bytes, incoming: bytes, ending: Ending) -> None:
        self.world, self.name = world, name
        self.outgoing, self.incoming, self.ending = outgoing, incoming, ending
        self.written = self.received = 0
        self.transport: TcpTransport | None = None
        self.eof = self.lost = False
        self.error: Exception | None = None
        self.may_write = True
        self.is_reading = True
        self.peer: Program | None = None
        self._is_writing = False
        rng = world.random
        self._largest_write = rng.choice((1, 300, 5000, 70000)) if len(outgoing) < 3000 else rng.choice((900, 70000))
        self._pause_writing = rng.choice((0, 0, 0.1))
        self._pause_reading = rng.choice((0, 0, 0.05, 0.5))
        self._longest_pause = rng.choice((0.001, 0.05, 3.0))
        self._buffered = rng.random() < 0.2

    def fail(self, what: str) -> None:
        raise SimulationFailure(f"{self.name}: {what} (wrote {self.written}, read {self.received})")

    def expect(self, condition: bool, what: str) -> None:
        if not condition:
            self.fail(what)

    # -- writing -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.expect(self.transport is None, "connection_made twice")
        self.transport = cast(TcpTransport, transport)
        if self._buffered:
            self.transport.set_write_buffer_limits(2000)
        if self.ending is Ending.ABORT:
            self.world.after(self.world.random.random() ** 3 * 20, self._abort)
        self.write_on()

    def _abort(self) -> None:
        if self.transport is not None and not self.lost:
            self.transport.abort()

    def pause_writing(self) -> None:
        self.expect(self.may_write, "pause_writing twice")
        self.may_write = False

    def resume_writing(self) -> None:
        self.expect(not self.may_write and not self.lost, "resume_writing out of turn")
        self.may_write = True
        self.write_on()

    def write_on(self) -> None:
        if self._is_writing:
            return
        self._is_writing = True
        transport, rng = self.transport, self.world.random
        assert transport is not None
        while self.may_write and not transport.is_closing() and self.written < len(self.outgoing):
            size = rng.randrange(self._largest_write) + 1
            piece = self.outgoing[self.written : self.written + size]
            self.written += len(piece)
            transport.write(piece)
            if self._pause_writing and rng.random() < self._pause_writing:
                self.world.after(rng.random() * self._longest_pause, self._resume)
                return
        self._is_writing = False
        if self.written == len(self.outgoing) and not transport.is_closing():
            if self.ending is Ending.CLOSE:
                transport.close()
            else:
                transport.write_eof()
                self.leave_when_done()

    def _resume(self) -> None:
        self._is_writing = False
        if not self.lost:
            self.write_on()

    # -- reading -------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.expect(self.is_reading, "data while paused")
        self.expect(not self.eof and not self.lost, "data after the end")
        self.expect(bool(data), "no data")
        expected = self.incoming[self.received : self.received + len(data)]
        self.expect(data == expected, "wrong data")
        self.received += len(data)
        if self._pause_reading and self.world.chance(self._pause_reading):
            assert self.transport is not None
            self.transport.pause_reading()
            self.is_reading = False
            self.world.after(self.world.random.random() * self._longest_pause, self._resume_reading)

    def _resume_reading(self) -> None:
        self.is_reading = True
        if self.transport is not None and not self.lost:
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        self.expect(self.is_reading, "end while paused")
        self.expect(not self.eof and not self.lost, "end twice or after the end")
        self.expect(self.received == len(self.incoming), "end before the last byte")
        self.eof = True
        self.leave_when_done()
        return self.world.chance(0.5) or self.written < len(self.outgoing)

    def leave_when_done(self) -> None:
        if self.eof and self.written == len(self.outgoing) and self.transport is not None:
            self.transport.close()

    # -- the end -------------------------------------------------------------------------------------------------

    def connection_lost(self, error: Exception | None) -> None:
        self.expect(self.transport is not None, "lost before it was made")
        self.expect(not self.lost, "lost twice")
        self.lost = True
        self.error = error

    def judge(self) -> None:
        """After everything: was the end as it should be?"""
        assert self.peer is not None
        if self.ending is Ending.VANISH:
            return
        other = self.peer.ending
        if self.transport is None:
            self.expect(other is not Ending.ORDERLY and other is not Ending.CLOSE, "never connected")
            return
        self.expect(self.lost, "never ended")
        if self.ending is Ending.ORDERLY and other is Ending.ORDERLY:
            self.expect(self.error is None, f"ended with {self.error!r} without cause")
            self.expect(self.eof, "no end of stream")
            self.expect(self.received == len(self.incoming), "data missing")
        if self.eof:
            self.expect(self.received == len(self.incoming), "data missing before the end")
        if self.error is None and self.ending is Ending.ORDERLY:
            self.expect(self.eof, "ended without error and without end of stream")
        if self.error is not None and other in (Ending.ORDERLY, Ending.CLOSE):
            expected = ConnectionResetError if self.ending is not Ending.VANISH else OSError
            self.expect(isinstance(self.error, expected), f"ended with {self.error!r}")
