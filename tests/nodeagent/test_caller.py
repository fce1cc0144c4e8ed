"""Who calls is told whole, by a socket's name and by a first line."""

import asyncio
from pathlib import Path

import pytest

from nodeagent.caller import Caller, announce, announced, caller_of

CALLERS = [
    Caller("http", "192.0.2.7", 1),
    Caller("https", "2001:db8:1111:2222:3333:4444:5555:6666", 65535, "f" * 32),  # the longest there is
]


@pytest.mark.parametrize("caller", CALLERS)
async def test_by_the_name_of_a_socket(caller: Caller, tmp_path: Path) -> None:
    told: asyncio.Queue[Caller | None] = asyncio.Queue()
    server = await asyncio.start_unix_server(
        lambda reader, writer: told.put_nowait(caller_of(writer.get_extra_info("peername"))), str(tmp_path / "socket")
    )
    async with server:
        for _ in range(2):
            connection = await caller.connect(tmp_path / "socket")
            assert await asyncio.wait_for(told.get(), 5) == caller
            connection.close()


@pytest.mark.parametrize("caller", CALLERS)
async def test_by_a_first_line(caller: Caller, tmp_path: Path) -> None:
    told: asyncio.Queue[Caller] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.put_nowait(await announced(reader))
        writer.close()

    async with await asyncio.start_unix_server(take, str(tmp_path / "socket")):
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
        await announce(caller, writer)
        assert await asyncio.wait_for(told.get(), 5) == caller
        writer.close()
