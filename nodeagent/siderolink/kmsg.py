"""The kernel log receiver: machines send one JSON object a line over TCP and never read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re

from nodeagent.ports import LogSink
from nodeagent.sockets import reset

LINE_LIMIT = 16 * 1024
"""Bytes of a line that are kept; the rest of a longer one is dropped."""

CHUNK = 64 * 1024

_JOIN_TOKEN = re.compile(rb"(jointoken=)[^&\s\"\\]+")
"""A kernel says its command line at boot, and with it the token that the machine joined by."""

CONNECTIONS_PER_MACHINE = 2
"""A machine keeps one; a second may overlap when the first broke. With a third the oldest is closed."""

log = logging.getLogger(__name__)


class LineSplitter:
    """Cuts a byte stream into lines, with bounded memory whatever is sent."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in these bytes, without their ends; empty ones are left out."""
        *ended, rest = data.split(b"\n")
        lines = []
        for piece in ended:
            self._add(piece)
            lines.append(bytes(self._rest).rstrip(b"\r"))
            self._rest.clear()
            self._skipping = False
        self._add(rest)
        return [line for line in lines if line]

    def _add(self, piece: bytes) -> None:
        if self._skipping:
            return
        self._rest += piece[: LINE_LIMIT - len(self._rest)]
        self._skipping = len(self._rest) == LINE_LIMIT


class KernelLogReceiver:
    """Hands lines to a sink; its slowness slows the machine, by TCP."""

    def __init__(self, sink: LogSink) -> None:
        self._sink = sink
        self._open: dict[str, list[asyncio.StreamWriter]] = {}

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a machine, until it ends."""
        address = writer.get_extra_info("peername")[0]
        writers = self._open.setdefault(address, [])
        writers.append(writer)
        if len(writers) > CONNECTIONS_PER_MACHINE:
            reset(writers[0].transport)
        try:
            if await self._sink.known(address):
                with contextlib.suppress(OSError):
                    await self._read(address, reader)
        finally:
            writers.remove(writer)
            if not writers:
                self._open.pop(address, None)
            reset(writer.transport)  # the machine never reads, so a polite end would go unnoticed

    async def _read(self, address: str, reader: asyncio.StreamReader) -> None:
        splitter = LineSplitter()
        while data := await reader.read(CHUNK):
            if lines := splitter.feed(data):
                await self._sink.lines(address, [_JOIN_TOKEN.sub("\\1●●●●●●".encode(), line) for line in lines])
