"""`dial` between processes: a byte stream to a machine, by way of the gateway that holds its link.

A connection is one JSON line (`{"address", "port"}`, and `"here": true` when the gateway shall not ask another one),
one JSON answer (`{}` or `{"error"}`), then the bytes of the connection both ways. Who may connect may reach every
machine: on one host that is a unix socket in a private folder, between hosts TLS with the internal certificate.
Between hosts `{"service"}` instead leads to what the gateway itself has for its like.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from nodeagent import internal
from nodeagent.internal import Handler, Stream

Dial = Callable[[str, int], Awaitable[Stream]]
"""Opens a connection to (overlay address, port). Raises OSError or TimeoutError."""


class NoWay(OSError):
    """The gateway was reached, and says why the machine is not."""


CHUNK = 256 * 1024
"""Bytes that are carried at once: more than a large message with what frames it, or each goes in two parts."""


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until EOF, then half-close the writer, or close it where that cannot be (TLS).

    Flow control is the writer's.
    """
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            del data  # a connection may be idle for days
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
    path.unlink(missing_ok=True)
    return await asyncio.start_unix_server(_answering(dial, dial, {}), path=str(path))


async def serve_internal(
    host: str,
    port: int,
    identity: internal.Identity,
    dial: Dial,
    here: Dial,
    services: Mapping[str, Handler] | None = None,
) -> asyncio.Server:
    """The same for our processes on other hosts; `here` opens what no other gateway may help with.

    `services` take connections that ask for one of them.
    """
    return await internal.listen(host, port, identity, _answering(dial, here, services or {}))


async def through(path: Path, address: str, port: int, timeout: float = 15) -> Stream:
    """A connection to a machine by way of the gateway's socket. Raises `NoWay`, or OSError when there is no gateway."""
    return await _ask(asyncio.open_unix_connection(str(path)), {"address": address, "port": port}, timeout)


async def through_host(
    gateway: tuple[str, int],
    identity: internal.Identity,
    address: str,
    port: int,
    here: bool = False,
    timeout: float = 15,
) -> Stream:
    """The same by way of a gateway on another host; `here` forbids it to ask a third one in turn."""
    request = {"address": address, "port": port, "here": here}
    return await _ask(internal.connect(*gateway, identity), request, timeout)


async def service_on_host(gateway: tuple[str, int], identity: internal.Identity, name: str, timeout: float) -> Stream:
    """A connection to a service of the gateway itself. Raises `NoWay`, OSError or TimeoutError."""
    return await _ask(internal.connect(*gateway, identity), {"service": name}, timeout)


def _answering(dial: Dial, here: Dial, services: Mapping[str, Handler]) -> Handler:
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
            if "service" in request:
                await serve(str(request["service"]), reader, writer)
                return
            way = here if request.get("here") else dial
            target = await way(str(request["address"]), int(request["port"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            with contextlib.suppress(OSError):
                writer.write(json.dumps({"error": text}).encode() + b"\n")
                await writer.drain()
            writer.close()
            return
        writer.write(b"{}\n")
        await join((reader, writer), target)

    async def serve(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if name not in services:
            raise OSError(f"this process has no service {name}")
        writer.write(b"{}\n")
        await services[name](reader, writer)

    return hold


async def _ask(connecting: Awaitable[Stream], request: dict[str, object], timeout: float) -> Stream:
    reader, writer = await asyncio.wait_for(connecting, timeout)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        answer = await asyncio.wait_for(reader.readline(), timeout)
        if not answer:
            raise OSError("the gateway closed the connection without an answer")
        error = json.loads(answer).get("error")
        if error:
            raise NoWay(error)
    except BaseException:
        writer.close()
        raise
    return reader, writer
