"""SPDY/3.1 as a server, as far as Kubernetes uses it: streams that clients open, without flow control or push."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable

from nodeagent.simulator.kube.websocket import Incoming, Read, Write

_SYN_REPLY, _PING = 2, 6
_VERSION = 0x8003
_FIN = 0x01
_WAITING = 16
"""Pieces that a stream keeps for its reader before the connection is read no further."""

_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow"
    " authorization cache-control connection content-base content-encoding content-language content-length"
    " content-location content-md5 content-range content-type date etag expect expires from host if-match"
    " if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma"
    " proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade"
    " user-agent vary via warning www-authenticate method get status"
)
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203"
    " Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug"
    " Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8"
    "charset=iso-8859-1,utf-,*,enq=0."
)


def _counted(text: str) -> bytes:
    return struct.pack("!I", len(text)) + text.encode()


DICTIONARY = b"".join(
    [_counted(name) for name in _NAMES.split()]
    + [_counted("200 OK"), _counted("version"), _counted("HTTP/1.1"), _counted("url"), _counted("public")]
    + [_counted("set-cookie"), _counted("keep-alive"), _counted("origin"), _REST.encode()]
)
"""What headers are compressed against."""


class SpdyStream:
    """One stream. `headers` have lower-case names."""

    def __init__(self, session: Session, number: int, headers: dict[str, str]) -> None:
        self.headers = headers
        self._session, self._number = session, number
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        self._closed = self._at_end = False

    async def read(self) -> bytes:
        """Some bytes, none at the end."""
        if self._at_end:
            return b""
        data = await self._pieces.get()
        self._at_end = not data
        return data

    async def write(self, data: bytes) -> None:
        """Raises OSError."""
        for begin in range(0, len(data), 0xFFFF):
            await self._session.send(self._number, data[begin : begin + 0xFFFF])

    async def close(self) -> None:
        """Write no more. Raises OSError."""
        if not self._closed:
            self._closed = True
            await self._session.send(self._number, b"", _FIN)

    async def came(self, data: bytes, *, last: bool) -> None:
        """For the session: take what the client sent."""
        if data:
            await self._pieces.put(data)
        if last:
            await self._pieces.put(b"")


class Session:
    """One connection. `opened` is called for each stream that the client opens."""

    def __init__(self, read: Read, write: Write, early: bytes, opened: Callable[[SpdyStream], None]) -> None:
        self._incoming, self._write, self._opened = Incoming(read, early), write, opened
        self._streams: dict[int, SpdyStream] = {}
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    async def run(self) -> None:
        """Until the client ends it. Raises OSError."""
        try:
            while True:
                await self._frame(await self._incoming.exactly(8))
        except EOFError:
            for stream in self._streams.values():
                await stream.came(b"", last=True)

    async def send(self, number: int, data: bytes, flags: int = 0) -> None:
        """A data frame. Raises OSError."""
        await self._write(struct.pack("!II", number, flags << 24 | len(data)) + data)

    async def _frame(self, head: bytes) -> None:
        first, second = struct.unpack("!II", head)
        flags, payload = second >> 24, await self._incoming.exactly(second & 0xFFFFFF)
        if not first & 0x80000000:
            if stream := self._streams.get(first):
                await stream.came(payload, last=bool(flags & _FIN))
            return
        match first & 0xFFFF:
            case 1:  # SYN_STREAM
                (number,) = struct.unpack_from("!I", payload)
                stream = self._streams[number] = SpdyStream(self, number, self._headers(payload[10:]))
                if flags & _FIN:
                    await stream.came(b"", last=True)
                await self._control(_SYN_REPLY, struct.pack("!I", number) + self._no_headers())
                self._opened(stream)
            case 3:  # RST_STREAM
                (number,) = struct.unpack_from("!I", payload)
                if gone := self._streams.pop(number, None):
                    await gone.came(b"", last=True)
            case 6:  # PING
                await self._control(_PING, payload)

    async def _control(self, kind: int, payload: bytes) -> None:
        await self._write(struct.pack("!HHI", _VERSION, kind, len(payload)) + payload)

    def _headers(self, block: bytes) -> dict[str, str]:
        text = self._inflate.decompress(block)
        (count,), place, words = struct.unpack_from("!I", text), 4, []
        for _ in range(2 * count):
            (length,) = struct.unpack_from("!I", text, place)
            words.append(text[place + 4 : place + 4 + length].decode())
            place += 4 + length
        return dict(zip(words[::2], words[1::2], strict=True))

    def _no_headers(self) -> bytes:
        return self._deflate.compress(struct.pack("!I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
