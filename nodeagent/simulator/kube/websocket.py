"""A websocket as a server, after the switch of protocols (RFC 6455). Only binary messages are sent."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Awaitable, Callable

Read = Callable[[], Awaitable[bytes]]
"""Some bytes of a stream, none at its end."""
Write = Callable[[bytes], Awaitable[None]]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
MESSAGE_LIMIT = 1024 * 1024


class Incoming:
    """Bytes of a stream by count."""

    def __init__(self, read: Read, early: bytes = b"") -> None:
        self._read, self._buffer = read, bytearray(early)

    async def exactly(self, count: int) -> bytes:
        """Raises EOFError."""
        while len(self._buffer) < count:
            data = await self._read()
            if not data:
                raise EOFError
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def accept(key: str) -> str:
    """What a server answers to a client's `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


class WebSocket:
    """Messages over a stream."""

    def __init__(self, read: Read, write: Write, early: bytes) -> None:
        self._incoming, self._write = Incoming(read, early), write

    async def read(self) -> bytes:
        """The next message that is not empty; nothing when the client closes. Raises OSError."""
        message = b""
        try:
            while True:
                first, second = await self._incoming.exactly(2)
                opcode, length = first & 0x0F, second & 0x7F
                if length == 126:
                    (length,) = struct.unpack("!H", await self._incoming.exactly(2))
                elif length == 127:
                    (length,) = struct.unpack("!Q", await self._incoming.exactly(8))
                if length + len(message) > MESSAGE_LIMIT or not second & 0x80:  # clients mask what they send
                    return b""
                mask = await self._incoming.exactly(4)
                payload = _unmasked(await self._incoming.exactly(length), mask)
                if opcode == _CLOSE:
                    return b""
                if opcode == _PING:
                    await self._send(_PONG, payload)
                elif opcode in (_CONTINUATION, _TEXT, _BINARY):
                    message += payload
                    if first & 0x80 and message:
                        return message
        except EOFError:
            return b""

    async def write(self, data: bytes) -> None:
        """One message."""
        await self._send(_BINARY, data)

    async def close(self) -> None:
        """Say that all is well."""
        await self._send(_CLOSE, struct.pack("!H", 1000))

    async def _send(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, length)
        elif length < 0x10000:
            head = struct.pack("!BBH", 0x80 | opcode, 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, length)
        await self._write(head + payload)


def _unmasked(data: bytes, mask: bytes) -> bytes:
    count = len(data)
    repeated = (mask * (count // 4 + 1))[:count]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(count, "big")
