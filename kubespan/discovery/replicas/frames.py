"""What goes over a stream between two processes: a greeting, then frames.

The greeting is one line of JSON from each end, with a version; then the end with the lesser id says whether the stream
is used, as two processes need only one. A frame is its length, its kind, and what that kind holds; many go in one
write. Whoever does not keep to it is not listened to any longer.
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

    RECORD = 1  # `RECORD_HEAD`, then an affiliate as it is after a write, as a record
    HAVE = 2  # `NUMBER`: records up to this one have taken effect here
    REQUEST = 3  # `REQUEST_HEAD`, then what the client sent, for the owner of the cluster
    ANSWER = 4  # `NUMBER` of the request, then nothing, or why it is refused: the name of a gRPC code and a text
    COPY = 5  # `TIME`, then records: affiliates as they are
    GRAVES = 6  # `TIME`, then records: affiliates that were deleted; their time to live is how long that counts
    COPIED = 7  # that was all there is
    SERVING = 8  # nothing: clients are served here from now on
    ALIVE = 9  # `TIME`; there is always something to hear


class ProtocolError(ValueError):
    """The other end does not speak this protocol."""


@dataclass(frozen=True)
class Greeting:
    """Who is at the other end, and whether clients are served there already. The id is drawn at each start."""

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
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ProtocolError("it does not greet as a discovery service does") from error
        if version != VERSION:
            raise ProtocolError(f"{name} speaks version {version} of the protocol between processes, not {VERSION}")
        if not 0 < who < 1 << 64:
            raise ProtocolError("it greets with a number that none can have")
        return Greeting(who, name, serving)


_FRAME = Struct(">IB")
NUMBER = Struct(">Q")
TIME = Struct(">d")
"""What the clock of this end says; times to live count from then on (`Link.when`)."""

RECORD_HEAD = Struct(">dQIBd")
"""The time, as `TIME`; its number at this end; what it follows (`merge.form` of the affiliate before); flags; and for
how many seconds a deletion counts."""

TELL = 1
"""Watchers are told in any case: it was no mere refresh."""

MERGED = 2
"""It is no write, but what came of two of them."""

CONFIRM = 4
"""Somebody waits until it has taken effect everywhere."""

REQUEST_HEAD = Struct(">QB")
"""Its number at this end, and whether it deletes."""


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
            if kind not in _KINDS:
                raise ProtocolError(f"there are no frames of kind {kind}")
            start = at + _FRAME.size
            end = start + length
            if end > size:
                break
            yield _KINDS[kind], data[start:end]
            at = end
        self._rest = data[at:]


_KINDS = {int(kind): kind for kind in Kind}
