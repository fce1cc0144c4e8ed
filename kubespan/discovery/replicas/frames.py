"""What goes over a stream between two processes: a greeting, then frames.

The greeting is one line of JSON from each end, with a version. A frame is its length, its kind, and what that kind
holds; many go in one write. Whoever does not keep to it is not listened to any longer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

VERSION = 1
GREETING_LIMIT = 1024
"""Bytes of a greeting."""

FRAME_LIMIT = 4 * 1024 * 1024
"""Bytes of a frame. One affiliate takes less than 8 kB; slices of a copy are cut far below."""


class Kind(IntEnum):
    """What a frame holds."""

    STANDING = 1  # a process, then what it says of itself (`circle.Standing`)
    RECORD = 2  # `RecordHead`, then the affiliate as it is now
    REQUEST = 3  # `RequestHead`, then what the client sent, for the owner of the cluster
    ANSWER = 4  # `AnswerHead`, then a text: the request was refused, or changed nothing
    COPY = 5  # affiliates as they are here
    COPIED = 6  # that was all of them
    ALIVE = 7  # nothing; there is always something to hear


class ProtocolError(ValueError):
    """The other end does not speak this protocol."""


@dataclass(frozen=True)
class Greeting:
    """Who is at the other end, and whether clients are served there already."""

    id: int
    name: str
    serving: bool

    def encode(self) -> bytes:
        """The line that is sent."""
        said = {"omni-discovery": VERSION, "id": self.id, "name": self.name, "serving": self.serving}
        return json.dumps(said).encode() + b"\n"

    @staticmethod
    def decode(line: bytes) -> Greeting:
        """Read what `encode` gave. Raises ProtocolError."""
        try:
            said = json.loads(line)
            version, who = said["omni-discovery"], int(said["id"])
            name, serving = str(said["name"]), bool(said["serving"])
        except (ValueError, KeyError, TypeError) as error:
            raise ProtocolError("it does not greet as a discovery service does") from error
        if version != VERSION:
            raise ProtocolError(f"{name} speaks version {version} of the protocol between processes, not {VERSION}")
        if not 0 < who < 1 << 64:
            raise ProtocolError("it greets with a number that none can have")
        return Greeting(who, name, serving)


_FRAME = Struct(">IB")
STANDING_HEAD = Struct(">Q")
"""Whose it is."""
RECORD_HEAD = Struct(">BQQQQ")
"""Flags; who ordered it, and its number there; whose request it answers, and its number there (0 without one)."""
REQUEST_HEAD = Struct(">QQQB")
"""For whom, from whom, its number there, and whether it deletes."""
ANSWER_HEAD = Struct(">QQH")
"""For whom, the number of its request, and a gRPC status code."""


def frame(kind: Kind, *parts: bytes) -> bytes:
    """One frame."""
    return b"".join((_FRAME.pack(sum(map(len, parts)), kind), *parts))


class Splitter:
    """Makes frames of what arrives."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The frames that are whole now, to be taken all. Raises ProtocolError."""
        data = self._rest + data if self._rest else data
        at, size = 0, len(data)
        while size - at >= _FRAME.size:
            length, kind = _FRAME.unpack_from(data, at)
            if length > FRAME_LIMIT:
                raise ProtocolError(f"a frame of {length} bytes is too long")
            end = at + _FRAME.size + length
            if end > size:
                break
            try:
                yield Kind(kind), data[at + _FRAME.size : end]
            except ValueError:
                raise ProtocolError(f"there are no frames of kind {kind}") from None
            at = end
        self._rest = data[at:]
