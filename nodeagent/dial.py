"""`dial` between processes: a byte stream to a machine, by way of the gateway that holds its link.

On a unix socket, a connection is one JSON line (`{"address", "port"}`), one JSON answer (`{}` or `{"error"}`), then the
bytes of the connection both ways. Who may open the socket may reach every machine, so it lies in a private folder.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[str, int], Awaitable[Stream]]
"""Opens a connection to (overlay address, port). Raises OSError or TimeoutError."""

CHUNK = 64 * 1024


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until EOF, then half-close the writer, or close it where that cannot be (TLS).

    Flow control is the writer's.
    """
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()
    except (OSError, RuntimeError):
        writer.transport.abort()


async def join(one: Stream, other: Stream) -> None:
    """Carry bytes both ways between two connections until both directions ended, then close both."""
    try:
        await asyncio.gather(pump(one[0], other[1]), pump(other[0], one[1]))
    finally:
        for _, writer in (one, other):
            writer.close()


async def serve(path: Path, dial: Dial) -> asyncio.Server:
    """Answer `dial` requests on a unix socket with connections that `dial` opens."""
    live: set[asyncio.Task[None] | None] = set()  # else a connection that ended one way may be collected as garbage

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        live.add(task)
        try:
            await answer(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # we are stopping; asyncio would log this as an error of the handler
        finally:
            live.discard(task)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await asyncio.wait_for(reader.readline(), 10))
            target = await dial(str(request["address"]), int(request["port"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            with contextlib.suppress(OSError):
                writer.write(json.dumps({"error": text}).encode() + b"\n")
                await writer.drain()
            writer.close()
            return
        writer.write(b"{}\n")
        await join((reader, writer), target)

    path.unlink(missing_ok=True)
    return await asyncio.start_unix_server(hold, path=str(path))


async def through(path: Path, address: str, port: int, timeout: float = 15) -> Stream:
    """A connection to a machine by way of the gateway's socket. Raises OSError with the gateway's reason."""
    reader, writer = await asyncio.wait_for(asyncio.open_unix_connection(str(path)), timeout)
    try:
        writer.write(json.dumps({"address": address, "port": port}).encode() + b"\n")
        answer = await asyncio.wait_for(reader.readline(), timeout)
        if not answer:
            raise OSError("the gateway closed the connection without an answer")
        error = json.loads(answer).get("error")
        if error:
            raise OSError(error)
    except BaseException:
        writer.close()
        raise
    return reader, writer
