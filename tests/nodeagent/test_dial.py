"""Joining connections, and dialling by way of the gateway's socket."""

import asyncio
import contextlib
import gc
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nodeagent import dial
from nodeagent.dial import Stream

MACHINE = "fdae:41e4:649b:9303::42"


async def pair() -> tuple[Stream, Stream]:
    """Two ends of one connection."""
    one, other = socket.socketpair()
    return await asyncio.open_connection(sock=one), await asyncio.open_connection(sock=other)


async def joined() -> tuple[Stream, Stream, asyncio.Task[None]]:
    """Two ends with a join between them."""
    here, near = await pair()
    far, there = await pair()
    return here, there, asyncio.create_task(dial.join(near, far))


async def test_bytes_go_both_ways_and_each_way_ends_by_itself() -> None:
    here, there, task = await joined()
    here[1].write(b"question")
    here[1].write_eof()
    assert await there[0].read() == b"question"
    assert not task.done()
    there[1].write(b"answer" * 100_000)
    there[1].write_eof()
    assert await here[0].read() == b"answer" * 100_000
    await task
    here[1].close()
    there[1].close()


async def test_a_broken_end_breaks_the_other() -> None:
    here, there, task = await joined()
    here[1].write(b"x" * 10_000_000)  # more than all buffers hold
    there[1].transport.abort()
    with contextlib.suppress(ConnectionError):
        await here[0].read()
    await task
    here[1].close()


async def test_a_slow_reader_slows_the_writer() -> None:
    here, there, task = await joined()
    block = b"x" * 1_000_000
    here[1].write(block * 20)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(here[1].drain(), 0.2)
    received = 0
    while received < 20 * len(block):
        received += len(await there[0].read(1 << 20))
    await here[1].drain()
    here[1].close()
    there[1].close()
    await task


@contextlib.asynccontextmanager
async def gateway(tmp_path: Path) -> AsyncIterator[Path]:
    """A `dial` socket whose machines echo on port 7 and have no other."""

    async def connect(address: str, port: int) -> Stream:
        if address != MACHINE:
            raise OSError(113, "no machine has this address")
        if port == 8:
            raise TimeoutError
        if port != 7:
            raise ConnectionRefusedError(111, "refused")
        ours, theirs = await pair()
        tasks.append(asyncio.create_task(dial.pump(theirs[0], theirs[1])))
        return ours

    tasks: list[asyncio.Task[None]] = []
    server = await dial.serve(tmp_path / "g.sock", connect)
    yield tmp_path / "g.sock"
    server.close()
    await asyncio.gather(*tasks)


async def test_through_the_gateway(tmp_path: Path) -> None:
    async with gateway(tmp_path) as path:
        reader, writer = await dial.through(path, MACHINE, 7)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"hello"
        writer.close()


async def test_a_machine_may_answer_after_the_caller_has_said_everything(tmp_path: Path) -> None:
    ends: list[Stream] = []

    async def connect(address: str, port: int) -> Stream:
        ours, theirs = await pair()
        ends.append(theirs)
        return ours

    server = await dial.serve(tmp_path / "g.sock", connect)
    reader, writer = await dial.through(tmp_path / "g.sock", MACHINE, 7)
    writer.write_eof()
    await ends[0][0].read()
    gc.collect()
    ends[0][1].write(b"answer")
    ends[0][1].write_eof()
    assert await reader.read() == b"answer"
    writer.close()
    server.close()


@pytest.mark.parametrize(
    ("address", "port", "words"),
    [(MACHINE, 9, "refused"), (MACHINE, 8, "TimeoutError"), ("::1", 7, "no machine has this address")],
)
async def test_the_gateways_reason_is_told(tmp_path: Path, address: str, port: int, words: str) -> None:
    async with gateway(tmp_path) as path:
        with pytest.raises(OSError, match=words):
            await dial.through(path, address, port)


@pytest.mark.parametrize(
    "request_line",
    [b"\n", b"{}\n", b"[]\n", b"null\n", b"{", b"", b'{"address": "x", "port": "y"}\n', b"\xff\xfe\n", b"x" * 70_000],
)
async def test_what_is_no_request_is_answered_with_an_error(tmp_path: Path, request_line: bytes) -> None:
    async with gateway(tmp_path) as path:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(request_line)
        writer.write_eof()
        assert json.loads(await reader.readline())["error"]
        assert await reader.read() == b""
        writer.close()


async def test_without_a_gateway(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await dial.through(tmp_path / "none.sock", MACHINE, 7)


async def test_a_gateway_that_dies_before_it_answers(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    server = await asyncio.start_unix_server(hang_up, str(tmp_path / "g.sock"))
    with pytest.raises(OSError, match="without an answer"):
        await dial.through(tmp_path / "g.sock", MACHINE, 7)
    server.close()
