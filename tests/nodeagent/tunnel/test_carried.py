"""A carried connection as a transport: whatever its user and its call do, in any order, bytes and ends keep theirs."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.dial import Stream
from nodeagent.tunnel.carried import HIGH_WATER, Carried, open_carried
from nodeagent.tunnel.protocol import PIECE
from talos.gen.omni.agent_pb2 import Piece

blocks = st.lists(st.integers(0, 3 * PIECE), max_size=8).map(
    lambda sizes: [bytes([number + 1]) * size for number, size in enumerate(sizes)]
)
pauses = st.lists(st.integers(0, 3), min_size=1, max_size=8)


def run(body: Callable[[Carried, Stream], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with asyncio.timeout(10):
            await body(*open_carried("10.0.0.1", 50000))

    asyncio.run(inside())


async def rest(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@given(written=blocks, arriving=blocks, writing=pauses, taking=pauses, giving=pauses, reading=pauses)
def test_bytes_keep_their_order_and_each_way_its_end(
    written: list[bytes],
    arriving: list[bytes],
    writing: list[int],
    taking: list[int],
    giving: list[int],
    reading: list[int],
) -> None:
    """Four tasks at drawn paces: the user writes and reads, the call takes and gives."""
    taken: list[Piece] = []
    read = bytearray()

    async def body(carried: Carried, stream: Stream) -> None:
        reader, writer = stream

        async def write() -> None:
            for number, block in enumerate(written):
                writer.write(block)
                await writer.drain()
                assert writer.transport.get_write_buffer_size() <= HIGH_WATER  # type: ignore[attr-defined]
                await rest(writing[number % len(writing)])
            writer.write_eof()

        async def take() -> None:
            while (piece := await carried.outgoing()) is not None:
                taken.append(piece)
                await rest(taking[len(taken) % len(taking)])
                carried.sent()

        async def give() -> None:
            for number, block in enumerate(arriving):
                await carried.incoming(Piece(data=block))
                await rest(giving[number % len(giving)])
            await carried.incoming(Piece(end=True))

        async def collect() -> None:
            while data := await reader.read(PIECE):
                read.extend(data)
                await rest(reading[len(read) % len(reading)])

        await asyncio.gather(write(), take(), give(), collect())
        assert await carried.over is None

    run(body)
    assert b"".join(piece.data for piece in taken) == b"".join(written)
    assert all(len(piece.data) <= PIECE for piece in taken)
    assert [piece.end for piece in taken] == [False] * (len(taken) - 1) + [True]
    assert bytes(read) == b"".join(arriving)


@given(st.lists(st.sampled_from(["write", "eof", "close", "abort", "take", "data", "end", "hang up", "break"])))
def test_any_order_of_things_ends_once(steps: list[str]) -> None:
    """No order of calls raises anything but what a socket raises, and after the end nothing comes or goes."""

    async def body(carried: Carried, stream: Stream) -> None:
        reader, writer = stream
        for step in steps:
            over = carried.over.done()
            match step:
                case "write":
                    if not carried._eof:
                        writer.write(b"x")
                case "eof":
                    writer.write_eof()
                case "close":
                    writer.close()
                case "abort":
                    carried.abort()
                case "take":
                    if carried._unsent or carried._eof or carried._closing:
                        piece = await carried.outgoing()
                        assert piece is None or not over
                        carried.sent()
                case "data":
                    await carried.incoming(Piece(data=b"y"))
                case "end":
                    await carried.incoming(Piece(end=True))
                case "hang up":
                    carried.hang_up()
                case "break":
                    carried.end(ConnectionResetError("broken"))
            assert not over or carried.is_closing()
            assert not over or carried.get_write_buffer_size() == 0
        carried.abort()
        assert carried.over.done()
        assert await carried.outgoing() is None
        if reader.exception() is None:
            assert set(await reader.read()) <= set(b"y")

    run(body)


def test_a_user_that_waits_to_write_hears_of_the_end() -> None:
    async def body(carried: Carried, stream: Stream) -> None:
        _, writer = stream
        writer.write(b"x" * (HIGH_WATER + 1))
        draining = asyncio.ensure_future(writer.drain())
        await rest(3)
        assert not draining.done()
        carried.end(ConnectionResetError("the agent is gone"))
        with pytest.raises(ConnectionResetError):
            await draining

    run(body)


def test_a_call_that_waits_to_give_hears_of_the_end() -> None:
    async def body(carried: Carried, stream: Stream) -> None:
        for _ in range(20):  # nobody reads
            giving = asyncio.ensure_future(carried.incoming(Piece(data=b"x" * PIECE)))
            await rest(3)
        assert not giving.done()
        stream[1].close()
        await giving

    run(body)


def test_who_is_at_the_other_end() -> None:
    async def body(carried: Carried, stream: Stream) -> None:
        assert stream[1].get_extra_info("peername") == ("10.0.0.1", 50000)
        assert stream[1].get_extra_info("socket") is None

    run(body)
