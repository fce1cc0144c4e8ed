"""Ends connections whose frames cost us much and carry little: resets, pings, settings, endless header blocks.

Looks at frames before they are parsed, as they come, and at nothing but their first nine bytes. Pure.
"""

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

PREFACE_SIZE = 24

FRAME_LIMIT = 16 * 1024
"""Bytes of a frame: the protocol's default, which we do not raise. h2 would keep longer ones whole before it looks."""

HEADER_LIMIT = 64 * 1024
"""Bytes of a header block, compressed or not."""

BURST = 2000.0
"""What a connection may cost at once."""

RATE = 200.0
"""What it may cost each second in the long run."""

EARNED_BYTES = 2048
"""Bytes sent to the client for which it may send another frame for free: it updates windows as it reads."""

SMALL = 128
"""Bytes of a DATA frame that is hardly worth its header."""

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _CONTINUATION = 0, 1, 3, 4, 6, 9
_FLAG_END_HEADERS = 0x4
_COSTS = {_HEADERS: 0.0, _RST_STREAM: 10.0, _SETTINGS: 10.0, _PING: 2.0, _CONTINUATION: 10.0}
"""Of frames that are not 1. A request costs nothing here: it is work that was asked for, and limited elsewhere."""


class Flood(ProtocolError):
    """More than anybody needs who wants something of us."""

    error_code = ErrorCodes.ENHANCE_YOUR_CALM


class Meter:
    """What one connection costs."""

    def __init__(self, now: float) -> None:
        self._credit, self._at = BURST, now
        self._header = bytearray()
        self._skip = PREFACE_SIZE  # bytes until the next frame's header
        self._block = 0  # bytes of the header block that has not ended

    def feed(self, data: bytes, now: float) -> None:
        """Look at bytes of the client, in order. Raises Flood."""
        self._credit = min(BURST, self._credit + (now - self._at) * RATE)
        self._at = now
        offset = 0
        while offset < len(data):
            if self._skip:
                step = min(self._skip, len(data) - offset)
                self._skip -= step
                offset += step
                continue
            missing = 9 - len(self._header)
            self._header += data[offset : offset + missing]
            offset += missing
            if len(self._header) == 9:
                self._skip = int.from_bytes(self._header[:3], "big")
                self._count(self._skip, self._header[3], self._header[4])
                self._header.clear()

    def sent(self, count: int) -> None:
        """So many bytes of bodies went to the client."""
        self._credit = min(BURST, self._credit + count / EARNED_BYTES)

    def _count(self, length: int, kind: int, flags: int) -> None:
        if length > FRAME_LIMIT:
            raise Flood(f"a frame of {length} bytes")
        if kind in (_HEADERS, _CONTINUATION):
            self._block += length
            if self._block > HEADER_LIMIT:
                raise Flood("a header block without end")
            if flags & _FLAG_END_HEADERS:
                self._block = 0
        if kind != _DATA or length < SMALL:
            self._pay(_COSTS.get(kind, 1.0), f"frames of type {kind}")

    def _pay(self, cost: float, what: str) -> None:
        self._credit -= cost
        if self._credit < 0:
            raise Flood(f"too many {what}")
