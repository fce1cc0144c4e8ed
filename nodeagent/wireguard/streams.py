"""What every engine's connections have in common: readers and writers over them, and how one that fails is told."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from contextlib import contextmanager

from nodeagent.wireguard.engine import Admit, Engine, Listener, StreamHandler

READER_LIMIT = 64 << 10
"""Bytes a reader keeps before the other end is slowed."""


async def dial(
    engine: Engine, address: str, port: int, timeout: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """`Engine.create_connection` as a reader and a writer."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(READER_LIMIT, loop)
    transport, protocol = await engine.create_connection(
        lambda: asyncio.StreamReaderProtocol(reader, loop=loop), address, port, timeout
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def serve(engine: Engine, port: int, handler: StreamHandler, admit: Admit | None) -> Listener:
    """`Engine.listen` for a coroutine that takes a reader and a writer."""
    loop = asyncio.get_running_loop()

    def factory() -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(READER_LIMIT, loop), handler, loop=loop)

    return await engine.listen(port, factory, admit)


@contextmanager
def told(address: str, port: int, timeout: float) -> Iterator[None]:
    """Name the machine in the errors of a connection that is being opened."""
    try:
        yield
    except ConnectionRefusedError:
        raise ConnectionRefusedError(errno.ECONNREFUSED, f"{address} refused to connect on port {port}") from None
    except TimeoutError:
        raise TimeoutError(errno.ETIMEDOUT, f"{address} port {port} did not answer in {timeout:g} s") from None
