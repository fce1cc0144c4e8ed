"""A connection that an agent carries, as the server uses it: an `asyncio.Transport` over one `Carry` call."""

from __future__ import annotations

import asyncio
from typing import Any

from nodeagent.dial import Stream
from nodeagent.tunnel.protocol import PIECE
from talos.gen.omni.agent_pb2 import Piece

READER_LIMIT = 64 * 1024
HIGH_WATER = 64 * 1024
"""Unsent bytes above which whoever writes is asked to pause."""


def open_carried(address: str, port: int) -> tuple[Carried, Stream]:
    """A connection for a `Carry` call to come, and the reader and writer for its user. One whose user lets go of both
    is aborted."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(READER_LIMIT, loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    carried = Carried(address, port, protocol)
    return carried, (reader, asyncio.StreamWriter(carried, protocol, reader, loop))


class Carried(asyncio.Transport):
    """Bytes written wait here until the call takes them (`outgoing`), bytes of the call go to the reader (`incoming`).

    It has no socket and no task of its own. `over` is done when nothing more is to come: its result is None when both
    sides said that they are through, else why the connection broke.
    """

    __slots__ = (
        "_closing", "_eof", "_heard_all", "_hungry", "_paused", "_peer", "_protocol", "_said_all", "_unsent", "_waiter",
        "_writing_paused", "over",
    )  # fmt: skip

    def __init__(self, address: str, port: int, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._peer = (address, port)
        self._unsent = bytearray()
        self._eof = self._closing = False  # of the user
        self._said_all = self._heard_all = False
        self._paused = self._writing_paused = False
        self._waiter: asyncio.Future[None] | None = None  # of `outgoing`
        self._hungry: asyncio.Future[None] | None = None  # of `incoming`
        self.over: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()
        self._protocol: Any = protocol
        protocol.connection_made(self)

    # -- what the call asks --------------------------------------------------------------------------------------------

    async def outgoing(self) -> Piece | None:
        """What is to be sent next; None when that was all."""
        while not self._said_all and not self.over.done():
            if self._unsent:
                data = bytes(self._unsent[:PIECE])
                del self._unsent[:PIECE]
                if self._writing_paused and len(self._unsent) <= HIGH_WATER // 4:
                    self._writing_paused = False
                    self._protocol.resume_writing()
                return Piece(data=data)
            if self._eof or self._closing:
                self._said_all = True
                return Piece(end=True)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return None

    def sent(self) -> None:
        """The piece that `outgoing` gave last is on its way."""
        if self._said_all and (self._closing or self._heard_all):
            self.end(None)

    async def incoming(self, piece: Piece) -> None:
        """Hand over what arrived; waits while the user does not read."""
        while self._paused and not self._closing and not self.over.done():
            self._hungry = asyncio.get_running_loop().create_future()
            await self._hungry
        if self.over.done() or self._heard_all:
            return
        if piece.data and not self._closing:
            self._protocol.data_received(piece.data)
        if piece.end:
            self._heard_all = True
            self._protocol.eof_received()
            if self._said_all:
                self.end(None)

    def hang_up(self) -> None:
        """No more pieces will come: what was not said to be all has broken."""
        if not self._heard_all:
            self.end(ConnectionResetError("the connection was reset at the other end"))

    def end(self, error: OSError | None) -> None:
        """Nothing more will come or go; with an error the connection broke."""
        self._finish(error, error)

    def _finish(self, error: OSError | None, told: OSError | None) -> None:
        """`told` is what the user learns."""
        if self.over.done():
            return
        self.over.set_result(error)
        self._closing = True
        self._unsent.clear()
        self._wake()
        self._protocol.connection_lost(told)

    def _wake(self) -> None:
        for waiter in (self._waiter, self._hungry):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    # -- asyncio.Transport ---------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`peername`: the address and port that the agent dialled."""
        return self._peer if name == "peername" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._wake()

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return HIGH_WATER // 4, HIGH_WATER

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or not data:
            return
        self._unsent += data
        self._wake()
        if len(self._unsent) > HIGH_WATER and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._eof = True
        self._wake()

    def close(self) -> None:
        """Send what is written, then end."""
        self._closing = True
        self._wake()

    def abort(self) -> None:
        """End now; the machine sees a reset."""
        self._finish(ConnectionAbortedError("the connection was aborted here"), None)
