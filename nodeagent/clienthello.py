"""What a TLS client offers in its first message, read before anything is answered (RFC 8446 4.1.2). Pure.

A server that asks only some clients for a certificate has to know which before the handshake begins.
"""

from dataclasses import dataclass

LIMIT = 16 * 1024
"""Bytes of the longest message that is read, record headers included; browsers and Go send less than 4 kB."""

RECORDS = 64
"""Records that the message may span; most clients use one."""

RECORD = 0x16
"""First byte of every TLS connection: a record of the handshake."""

_CLIENT_HELLO = 1
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4
_SERVER_NAME, _PROTOCOLS = 0, 16  # extensions
_HOST_NAME = 0


class NotTls(ValueError):
    """These bytes begin no TLS connection."""


@dataclass(frozen=True)
class ClientHello:
    """The server name that the client asked for, empty without one, and its application protocols, liked best first."""

    server_name: str
    protocols: tuple[str, ...]


def parse(data: bytes) -> ClientHello | None:
    """The message at the start of a connection; None while a part of it is missing. Raises NotTls."""
    message = _message(data)
    if message is None:
        if len(data) >= LIMIT:
            raise NotTls(f"a first message of more than {LIMIT} bytes")
        return None
    rest = _Fields(message)
    rest.take(2 + 32)  # version, random
    rest.vector(1)  # session
    rest.vector(2)  # cipher suites
    rest.vector(1)  # compression methods
    server_name = ""
    protocols: tuple[str, ...] = ()
    extensions = _Fields(rest.vector(2) if rest else b"")
    while extensions:
        kind, body = extensions.number(2), _Fields(extensions.vector(2))
        if kind == _SERVER_NAME:
            server_name = _server_name(_Fields(body.vector(2)))
        elif kind == _PROTOCOLS:
            protocols = tuple(_protocols(_Fields(body.vector(2))))
    return ClientHello(server_name, protocols)


def _message(data: bytes) -> bytes | None:
    """The body of the first handshake message, which may span records."""
    message, offset = b"", 0
    for _ in range(RECORDS):
        header = data[offset : offset + _RECORD_HEADER]
        if header and (header[0] != RECORD or header[1:2] not in (b"", b"\3")):
            raise NotTls("no record of a handshake")
        size = int.from_bytes(header[3:], "big")
        if len(header) == _RECORD_HEADER and not 0 < size <= 2**14:
            raise NotTls(f"a record of {size} bytes")
        record = data[offset + _RECORD_HEADER : offset + _RECORD_HEADER + size]
        if len(header) < _RECORD_HEADER or len(record) < size:
            return None
        message += record
        offset += _RECORD_HEADER + size
        if message[0] != _CLIENT_HELLO:
            raise NotTls(f"the first message is of type {message[0]}")
        if len(message) >= _MESSAGE_HEADER:
            end = _MESSAGE_HEADER + int.from_bytes(message[1:_MESSAGE_HEADER], "big")
            if end > LIMIT:
                raise NotTls(f"a first message of {end} bytes")
            if len(message) >= end:
                return message[_MESSAGE_HEADER:end]
    raise NotTls(f"a first message in more than {RECORDS} records")


def _server_name(names: "_Fields") -> str:
    while names:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            return name.decode("latin-1")
    return ""


def _protocols(names: "_Fields") -> list[str]:
    found = []
    while names:
        found.append(names.vector(1).decode("latin-1"))
    return found


class _Fields:
    """Bytes that are taken from the front. Raises NotTls when there are too few."""

    def __init__(self, data: bytes) -> None:
        self._data, self._offset = data, 0

    def __bool__(self) -> bool:
        return self._offset < len(self._data)

    def take(self, count: int) -> bytes:
        taken = self._data[self._offset : self._offset + count]
        if len(taken) < count:
            raise NotTls("a field is cut short")
        self._offset += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """A field after its length, which takes `size` bytes."""
        return self.take(self.number(size))
