"""What a connection costs, counted from frames however they are cut."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.h2front.floods import BURST, FRAME_LIMIT, HEADER_LIMIT, PREFACE_SIZE, RATE, Flood, Meter

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_HEADERS = 0x4


def frame(kind: int, length: int = 0, flags: int = 0, stream: int = 1) -> bytes:
    return length.to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + bytes(length)


def meter() -> Meter:
    made = Meter(0)
    made.feed(bytes(PREFACE_SIZE), 0)
    return made


@pytest.mark.parametrize(
    ("one", "most"),
    [
        (frame(RST_STREAM, 4), 200),
        (frame(SETTINGS), 200),
        (frame(SETTINGS, flags=1), 200),
        (frame(CONTINUATION), 200),
        (frame(PING, 8), 1000),
        (frame(WINDOW_UPDATE, 4), 2000),
        (frame(PRIORITY, 5), 2000),
        (frame(DATA), 2000),
        (frame(DATA, 1), 2000),
        (frame(200), 2000),
    ],
)
def test_what_carries_little_may_come_so_often(one: bytes, most: int) -> None:
    costs = meter()
    costs.feed(one * most, 0)
    with pytest.raises(Flood):
        costs.feed(one, 0)


def test_requests_and_bodies_are_no_flood() -> None:
    costs = meter()
    for _ in range(10_000):
        costs.feed(frame(HEADERS, 60, END_HEADERS) + frame(DATA, 1000), 0)


def test_time_makes_up_for_it() -> None:
    costs = meter()
    pings = int(RATE / 2)
    for second in range(100):
        costs.feed(frame(PING, 8) * pings, float(second))
    costs.feed(frame(PING, 8) * int(BURST / 2), 1e6)  # but no more than the burst is saved
    with pytest.raises(Flood):
        costs.feed(frame(PING, 8), 1e6)


def test_who_reads_may_open_windows() -> None:
    costs = meter()
    for _ in range(10_000):
        costs.sent(4096)
        costs.feed(frame(WINDOW_UPDATE, 4) * 2, 0)


def test_who_reads_byte_by_byte_may_not() -> None:
    costs = meter()
    for _ in range(2000):
        costs.sent(1)
        costs.feed(frame(WINDOW_UPDATE, 4), 0)
    with pytest.raises(Flood):
        costs.feed(frame(WINDOW_UPDATE, 4) * 2, 0)


def test_a_frame_that_is_too_large_ends_before_it_arrives() -> None:
    costs = meter()
    costs.feed(frame(DATA, FRAME_LIMIT), 0)
    with pytest.raises(Flood):
        costs.feed(frame(DATA, FRAME_LIMIT + 1)[:9], 0)


def test_a_header_block_has_an_end() -> None:
    costs = meter()
    for _ in range(10):  # each of the largest size that is allowed
        costs.feed(frame(HEADERS, FRAME_LIMIT) + frame(CONTINUATION, FRAME_LIMIT) * 2, 0)
        costs.feed(frame(CONTINUATION, HEADER_LIMIT - 3 * FRAME_LIMIT, END_HEADERS), 0)
    with pytest.raises(Flood):
        costs.feed(frame(HEADERS, FRAME_LIMIT) + frame(CONTINUATION, FRAME_LIMIT) * 4, 0)


@given(cuts=st.lists(st.integers(1, 40), max_size=200))
def test_pieces_count_as_the_whole(cuts: list[int]) -> None:
    data = frame(HEADERS, 20, END_HEADERS) + frame(DATA, 300) + frame(PING, 8) * 3 + frame(RST_STREAM, 4) * 2
    whole, pieces = meter(), meter()
    whole.feed(data, 0)
    for cut in cuts:
        pieces.feed(data[:cut], 0)
        data = data[cut:]
    pieces.feed(data, 0)
    assert vars(whole) == vars(pieces)
