"""The client half of one HTTP/2 connection (RFC 9113), as far as gRPC needs it. Pure: bytes in, bytes out.

A gateway keeps a connection to every machine with a dozen open streams each, so a stream is a small object here and
nothing else. Header blocks are sent without compression and decoded by hpack.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Protocol

from hpack import Decoder, HPACKError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

STREAM_WINDOW = 256 * 1024
"""Bytes of one stream that wait at most, unless told otherwise."""
CONNECTION_WINDOW = 4 * 1024 * 1024

FRAME_LIMIT = 16 * 1024
"""Bytes of the largest frame we take: the protocol's default, which we do not raise."""
HEADER_LIMIT = 64 * 1024

_DEFAULT_WINDOW = 65_535
_WINDOW_MAX = 2**31 - 1
_LAST_ID = 2**31 - 1

_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS, _PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = (
    range(10)
)
_END_STREAM = _ACK = 0x1
_END_HEADERS = 0x4
_PADDED = 0x8
_PRIORITY_FLAG = 0x20

_SETTING_INITIAL_WINDOW, _SETTING_FRAME_SIZE = 4, 5

_FRAME_HEAD = struct.Struct(">HBBBI")
"""Length (its 24 bits in two), kind, flags, stream."""


class ErrorCode(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Http2Error(ConnectionError):
    """The other end broke the protocol: the connection is of no use any more."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(f"HTTP/2: {text}")
        self.code = code


class Handler(Protocol):
    """What a stream tells its user."""

    def headers(self, fields: list[tuple[bytes, bytes]]) -> None:
        """A header block: of the answer, or its trailers."""

    def data(self, data: bytes) -> None:
        """Bytes of the body; they count as consumed when `Connection.consumed` is told so."""

    def ended(self) -> None:
        """The other end has said everything."""

    def broken(self, code: int, text: str) -> None:
        """The stream ended early, with an error code of HTTP/2."""

    def drained(self) -> None:
        """Everything given to `Connection.send` has been framed."""


class Stream:
    """One request and its answer."""

    __slots__ = ("handler", "id", "local_end", "pending", "receive_window", "send_window", "unacknowledged")

    def __init__(self, identifier: int, handler: Handler, send_window: int, receive_window: int) -> None:
        self.id, self.handler = identifier, handler
        self.send_window, self.receive_window = send_window, receive_window
        self.pending = b""
        self.local_end = False
        self.unacknowledged = 0


class Connection:
    """Streams over one connection. Whatever is called, `take` has the bytes to send afterwards.

    `stream_window` is how many bytes of a stream the other end may send before they are consumed.
    """

    def __init__(self, stream_window: int = STREAM_WINDOW) -> None:
        self._stream_window = stream_window
        self._streams: dict[int, Stream] = {}
        self._next_id = 1
        self._incoming = b""  # a part of a frame
        self._decoder = Decoder(max_header_list_size=HEADER_LIMIT)
        self._block: tuple[int, bytearray, bool] | None = None  # a header block that goes on: stream, bytes, end
        self._send_window = _DEFAULT_WINDOW
        self._initial_send_window = _DEFAULT_WINDOW
        self._frame_size = FRAME_LIMIT
        self._unacknowledged = 0
        self._pings = 0
        self.closing = False
        """No new streams: the other end is going away."""
        self._outgoing = bytearray(PREFACE)
        self._frame(_SETTINGS, 0, 0, struct.pack(">HIHI", 2, 0, _SETTING_INITIAL_WINDOW, stream_window))
        self._frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", CONNECTION_WINDOW - _DEFAULT_WINDOW))

    # Sending

    def take(self) -> bytes:
        """The bytes to send now."""
        if not self._outgoing:
            return b""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def request(self, header_block: bytes, handler: Handler) -> Stream:
        """Open a stream with an encoded header block (`encode_headers`)."""
        stream = Stream(self._next_id, handler, self._initial_send_window, self._stream_window)
        self._next_id += 2
        self.closing = self.closing or self._next_id > _LAST_ID
        self._streams[stream.id] = stream
        self._frame(_HEADERS, _END_HEADERS, stream.id, header_block)
        return stream

    def send(self, stream: Stream, data: bytes, end: bool) -> None:
        """Send a part of the body, as far and as soon as the other end lets us."""
        stream.pending += data
        stream.local_end = end
        self._pump(stream)

    def cancel(self, stream: Stream, code: ErrorCode = ErrorCode.CANCEL) -> None:
        """End a stream from our side. Nothing more is heard of it."""
        if self._streams.pop(stream.id, None) is not None:
            self._frame(_RST_STREAM, 0, stream.id, struct.pack(">I", code))

    def consumed(self, stream: Stream, count: int) -> None:
        """So many bytes of the stream need no memory any more: the other end may send as many again."""
        stream.unacknowledged += count
        if stream.unacknowledged >= self._stream_window // 2 and stream.id in self._streams:
            self._frame(_WINDOW_UPDATE, 0, stream.id, struct.pack(">I", stream.unacknowledged))
            stream.receive_window += stream.unacknowledged
            stream.unacknowledged = 0

    def ping(self) -> None:
        """Ask for a sign of life; whatever arrives next is one."""
        self._pings += 1
        self._frame(_PING, 0, 0, struct.pack(">Q", self._pings))

    def goodbye(self, code: ErrorCode = ErrorCode.NO_ERROR) -> None:
        """Tell the other end that we leave."""
        self._frame(_GOAWAY, 0, 0, struct.pack(">II", 0, code))

    def break_all(self, text: str) -> None:
        """The connection is lost: every stream ends."""
        self.closing = True
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.handler.broken(ErrorCode.REFUSED_STREAM, text)

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self._outgoing += struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload

    def _pump(self, stream: Stream) -> None:
        """Frame what windows allow of a stream's pending bytes."""
        while stream.pending or stream.local_end:
            room = min(self._send_window, stream.send_window, self._frame_size)
            piece = stream.pending[: max(room, 0)]
            if not piece and stream.pending:
                return
            stream.pending = stream.pending[len(piece) :]
            self._send_window -= len(piece)
            stream.send_window -= len(piece)
            last = stream.local_end and not stream.pending
            self._frame(_DATA, _END_STREAM if last else 0, stream.id, piece)
            if last:
                break
        if not stream.pending:
            stream.handler.drained()

    # Receiving

    def receive(self, data: bytes) -> None:
        """Take bytes of the other end. Raises Http2Error; the connection is to be closed then."""
        if self._incoming:
            data = self._incoming + data
        offset, end = 0, len(data)
        while end - offset >= 9:
            high, low, kind, flags, stream_id = _FRAME_HEAD.unpack_from(data, offset)
            length = high << 8 | low
            if length > FRAME_LIMIT:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            if end - offset < 9 + length:
                break
            payload = data[offset + 9 : offset + 9 + length]
            offset += 9 + length
            self._dispatch(kind, flags, stream_id & _LAST_ID, payload)
        self._incoming = data[offset:]

    def _dispatch(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and (kind != _CONTINUATION or stream_id != self._block[0]):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted")
        match kind:
            case 0:  # DATA
                self._on_data(flags, stream_id, payload)
            case 1:  # HEADERS
                self._block = (stream_id, bytearray(), bool(flags & _END_STREAM))
                self._on_header_part(flags, _unpadded(flags, payload, 5 if flags & _PRIORITY_FLAG else 0))
            case 9:  # CONTINUATION
                if self._block is None:
                    raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a header block that never began goes on")
                self._on_header_part(flags, payload)
            case 3:  # RST_STREAM
                stream = self._streams.pop(stream_id, None)
                if stream is not None:
                    stream.handler.broken(_unpack(">I", payload)[0], "the stream was reset")
            case 4:  # SETTINGS
                if not flags & _ACK:
                    self._on_settings(payload)
            case 5:  # PUSH_PROMISE
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a push, which we forbid")
            case 6:  # PING
                if not flags & _ACK:
                    self._frame(_PING, _ACK, 0, struct.pack(">Q", *_unpack(">Q", payload)))
            case 7:  # GOAWAY
                self._on_goaway(payload)
            case 8:  # WINDOW_UPDATE
                self._on_window_update(stream_id, _unpack(">I", payload)[0] & _LAST_ID)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._unacknowledged += len(payload)
        if self._unacknowledged >= CONNECTION_WINDOW // 2:
            self._frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._unacknowledged))
            self._unacknowledged = 0
        stream = self._streams.get(stream_id)
        if stream is None:
            return  # cancelled by us while it was on its way
        stream.receive_window -= len(payload)
        if stream.receive_window < 0:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "more data than we allowed on a stream")
        data = _unpadded(flags, payload, 0)
        if len(data) < len(payload):
            self.consumed(stream, len(payload) - len(data))
        if data:
            stream.handler.data(data)
        if flags & _END_STREAM:
            self._ended(stream)

    def _on_header_part(self, flags: int, part: bytes) -> None:
        assert self._block is not None
        stream_id, block, end = self._block
        block += part
        if len(block) > HEADER_LIMIT:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        if not flags & _END_HEADERS:
            return
        self._block = None
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(bytes(block), raw=True)]
        except HPACKError as error:
            raise Http2Error(ErrorCode.COMPRESSION_ERROR, f"headers that cannot be decoded: {error}") from error
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.handler.headers(fields)
            if end:
                self._ended(stream)

    def _ended(self, stream: Stream) -> None:
        """The other end is done; if we are not, what we still have to say interests nobody."""
        if self._streams.pop(stream.id, None) is None:
            return  # its handler cancelled it
        if not stream.local_end or stream.pending:
            self._frame(_RST_STREAM, 0, stream.id, struct.pack(">I", ErrorCode.CANCEL))
        stream.handler.ended()

    def _on_settings(self, payload: bytes) -> None:
        if len(payload) % 6:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "settings of odd length")
        for key, value in struct.iter_unpack(">HI", payload):
            if key == _SETTING_INITIAL_WINDOW:
                if value > _WINDOW_MAX:
                    raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
                change, self._initial_send_window = value - self._initial_send_window, value
                for stream in list(self._streams.values()):
                    stream.send_window += change
                    self._pump_waiting(stream)
            elif key == _SETTING_FRAME_SIZE:
                if not FRAME_LIMIT <= value < 2**24:
                    raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a frame size that is not allowed")
                self._frame_size = min(value, 4 * FRAME_LIMIT)
        self._frame(_SETTINGS, _ACK, 0, b"")

    def _on_window_update(self, stream_id: int, count: int) -> None:
        if count == 0:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a window update by nothing")
        if stream_id == 0:
            self._send_window += count
            if self._send_window > _WINDOW_MAX:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
            for stream in list(self._streams.values()):
                self._pump_waiting(stream)
        elif (found := self._streams.get(stream_id)) is not None:
            found.send_window += count
            self._pump_waiting(found)

    def _pump_waiting(self, stream: Stream) -> None:
        if stream.pending:
            self._pump(stream)

    def _on_goaway(self, payload: bytes) -> None:
        if len(payload) < 8:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a short goodbye")
        self.closing = True
        last, _ = struct.unpack_from(">II", payload)
        for stream_id in [known for known in self._streams if known > last & _LAST_ID]:
            self._streams.pop(stream_id).handler.broken(ErrorCode.REFUSED_STREAM, "the machine is going away")


def _unpack(form: str, payload: bytes) -> tuple[int, ...]:
    if len(payload) != struct.calcsize(form):
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a frame of the wrong length")
    return struct.unpack(form, payload)


def _unpadded(flags: int, payload: bytes, skip: int) -> bytes:
    """A payload without its padding, and without `skip` bytes of priority that follow the padding's length."""
    padding = 0
    if flags & _PADDED:
        if not payload:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "padding without a length")
        padding, payload = payload[0], payload[1:]
    if skip + padding > len(payload):
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return payload[skip : len(payload) - padding]


_STATIC_NAMES = {b":authority": 1, b":path": 4, b"content-type": 31, b"user-agent": 58}
"""Names of HPACK's static table that requests use."""

_STATIC_FIELDS = {(b":method", b"POST"): 0x83, (b":scheme", b"http"): 0x86, (b":scheme", b"https"): 0x87}


def encode_headers(fields: list[tuple[bytes, bytes]]) -> bytes:
    """A header block that leaves the other end's table alone: every field literal, nothing indexed."""
    block = bytearray()
    for name, value in fields:
        if whole := _STATIC_FIELDS.get((name, value)):
            block.append(whole)
            continue
        if index := _STATIC_NAMES.get(name):
            block += _integer(index, 4)
        else:
            block += b"\x00" + _integer(len(name), 7) + name
        block += _integer(len(value), 7) + value
    return bytes(block)


def _integer(value: int, prefix: int) -> bytes:
    """HPACK's integer, in a first byte whose higher bits are zero."""
    full = (1 << prefix) - 1
    if value < full:
        return bytes([value])
    rest, out = value - full, bytearray([full])
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
