"""The HTTP/2 client: bytes of ours read by another implementation, bytes of others never trusted."""

import struct

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from nodeagent import http2
from nodeagent.http2 import Connection, ErrorCode, Http2Error, Stream, encode_headers


class Recorder:
    """A handler that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def headers(self, fields: list[tuple[bytes, bytes]]) -> None:
        self.told.append(("headers", *fields))

    def data(self, data: bytes) -> None:
        self.told.append(("data", data))

    def ended(self) -> None:
        self.told.append(("ended",))

    def broken(self, code: int, text: str) -> None:
        self.told.append(("broken", code))

    def drained(self) -> None:
        self.told.append(("drained",))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    found = []
    while data:
        length, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
        found.append((kind, flags, int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
        data = data[9 + length :]
    return found


@pytest.fixture
def connection() -> Connection:
    made = Connection()
    assert made.take().startswith(http2.PREFACE)
    return made


def opened(connection: Connection) -> tuple[Stream, Recorder]:
    recorder = Recorder()
    stream = connection.request(encode_headers([(b":path", b"/x")]), recorder)
    connection.take()
    return stream, recorder


_FIELD = st.binary(min_size=1, max_size=300)


@given(st.lists(st.tuples(_FIELD, _FIELD)))
def test_headers_are_read_by_another_implementation(fields: list[tuple[bytes, bytes]]) -> None:
    fields = [(b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/a"), (b"user-agent", b"o"), *fields]
    decoded = Decoder(max_header_list_size=10**6).decode(encode_headers(fields), raw=True)
    assert [(bytes(name), bytes(value)) for name, value in decoded] == fields


def test_an_answer_is_told_piece_by_piece(connection: Connection) -> None:
    stream, recorder = opened(connection)
    block = encode_headers([(b"grpc-status", b"0")])
    connection.receive(frame(1, 0, 1, block[:3]) + frame(9, 4, 1, block[3:]))
    whole = frame(0, 0x8, 1, b"\x02dataPP") + frame(1, 0x5, 1, block)
    for byte in whole:
        connection.receive(bytes([byte]))
    field = (b"grpc-status", b"0")
    assert recorder.told == [("headers", field), ("data", b"data"), ("headers", field), ("ended",)]
    assert frames(connection.take()) == [(3, 0, 1, struct.pack(">I", ErrorCode.CANCEL))]  # we had not finished
    connection.receive(frame(0, 0, 1, b"late"))
    assert stream.id == 1


def test_a_body_waits_for_windows(connection: Connection) -> None:
    stream, recorder = opened(connection)
    connection.send(stream, b"x" * 100_000, end=True)
    sent = frames(connection.take())
    assert sum(len(payload) for *_, payload in sent) == 65_535
    assert recorder.told == []
    connection.receive(frame(8, 0, 0, struct.pack(">I", 100_000)))
    assert connection.take() == b""  # the stream's own window is still closed
    connection.receive(frame(4, 0, 0, struct.pack(">HI", 4, 65_535 + 34_465)))
    *pieces, acknowledgement = frames(connection.take())
    assert acknowledgement == (4, 1, 0, b"")
    assert sum(len(payload) for *_, payload in pieces) == 34_465
    assert pieces[-1][1] == 1  # the end of the stream
    assert recorder.told == [("drained",)]


def test_windows_open_again_as_data_is_consumed(connection: Connection) -> None:
    stream, _ = opened(connection)
    connection.consumed(stream, http2.STREAM_WINDOW // 2 - 1)
    assert connection.take() == b""
    connection.consumed(stream, 1)
    assert frames(connection.take()) == [(8, 0, 1, struct.pack(">I", http2.STREAM_WINDOW // 2))]


def test_pings_and_settings_are_acknowledged(connection: Connection) -> None:
    connection.receive(frame(6, 0, 0, b"12345678") + frame(4, 0, 0) + frame(6, 1, 0, b"12345678"))
    assert frames(connection.take()) == [(6, 1, 0, b"12345678"), (4, 1, 0, b"")]


def test_a_goodbye_ends_only_the_streams_that_were_not_seen(connection: Connection) -> None:
    (_, first), (_, second) = opened(connection), opened(connection)
    connection.receive(frame(7, 0, 0, struct.pack(">II", 1, 0)))
    assert (first.told, second.told) == ([], [("broken", ErrorCode.REFUSED_STREAM)])
    assert connection.closing


def test_resets_and_lost_connections_are_told_once(connection: Connection) -> None:
    (_, first), (stream, second) = opened(connection), opened(connection)
    connection.receive(frame(3, 0, 1, struct.pack(">I", 2)))
    connection.cancel(stream)
    connection.cancel(stream)
    assert frames(connection.take()) == [(3, 0, 3, struct.pack(">I", ErrorCode.CANCEL))]
    connection.break_all("lost")
    assert (first.told, second.told) == ([("broken", 2)], [])


@pytest.mark.parametrize(
    "data",
    [
        frame(0, 0, 1)[:3].replace(b"\0\0\0", b"\xff\xff\xff") + b"\0" * 6,
        frame(5, 4, 1, b"\0\0\0\2"),
        frame(9, 4, 1),
        frame(1, 0, 1, b"\x82") + frame(6, 0, 0, b"12345678"),
        frame(1, 4, 1, b"\xff\xff\xff\xff\xff\xff"),
        frame(4, 0, 0, b"12345"),
        frame(4, 0, 0, struct.pack(">HI", 4, 2**31)),
        frame(4, 0, 0, struct.pack(">HI", 5, 1)),
        frame(6, 0, 0, b"123"),
        frame(7, 0, 0, b"123"),
        frame(8, 0, 0, struct.pack(">I", 0)),
        frame(8, 0, 0, struct.pack(">I", 2**31 - 1)),
        frame(0, 8, 1, b"\x09x"),
        frame(0, 8, 1),
        frame(1, 0, 1, b"\0" * 16_000) + frame(9, 0, 1, b"\0" * 16_000) * 4,
    ],
)
def test_broken_rules_end_the_connection(connection: Connection, data: bytes) -> None:
    opened(connection)
    with pytest.raises(Http2Error, match="HTTP/2: "):
        connection.receive(data)


def test_more_data_than_allowed_ends_the_connection(connection: Connection) -> None:
    stream, recorder = opened(connection)
    connection.receive(frame(0, 0, 1, b"x" * 16_384) * 16)
    with pytest.raises(Http2Error, match="more data than we allowed"):
        connection.receive(frame(0, 0, 1, b"x"))
    assert stream.unacknowledged == 0
    assert len(recorder.told) == 16


_FRAME = st.builds(frame, st.integers(0, 12), st.integers(0, 255), st.sampled_from([0, 1, 3]), st.binary(max_size=40))


@given(st.lists(_FRAME, max_size=12))
def test_nothing_else_comes_out_of_any_frames(sent: list[bytes]) -> None:
    connection = Connection()
    stream, _ = opened(connection)
    connection.send(stream, b"x" * 70_000, end=True)
    try:
        for one in sent:
            connection.receive(one)
    except Http2Error as error:
        assert isinstance(error.code, ErrorCode)  # noqa: PT017
    frames(connection.take())
