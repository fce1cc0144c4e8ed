"""A few pages over HTTP/1.1: each request is answered from memory, and the connection closed."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

SECONDS = 10.0
"""For a request to arrive, and for its answer to be taken."""

CONNECTIONS = 256
"""At a time; who comes then is not answered."""

HEAD_BYTES = 16 * 1024

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    503: "Service Unavailable",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Page:
    """An answer."""

    body: bytes
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def text(body: str, status: int = 200) -> Page:
    """A page of plain text."""
    return Page(body.encode(), "text/plain; charset=utf-8", status)


Query = Mapping[str, str]
Routes = Mapping[str, Callable[[Query], Page]]
"""What makes the page of each path."""


async def serve(host: str, port: int, routes: Routes) -> asyncio.Server:
    """Answer on an address; all of the host's when it is empty. Raises OSError."""
    room = asyncio.Semaphore(CONNECTIONS)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if room.locked():
                return
            async with room, asyncio.timeout(SECONDS):
                await _answer(reader, writer, routes)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            writer.close()

    return await asyncio.start_server(accept, host or None, port, limit=HEAD_BYTES)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, routes: Routes) -> None:
    with_body = True
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, protocol = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        address = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        if not protocol.startswith("HTTP/1."):
            raise ValueError
    except (ValueError, asyncio.LimitOverrunError):
        page = text("this is no request of HTTP/1.1\n", 400)
    else:
        with_body = method != "HEAD"
        page = _page(method, address.path, query, routes)
    lines = [
        f"HTTP/1.1 {page.status} {_REASONS[page.status]}",
        f"Content-Type: {page.kind}",
        f"Content-Length: {len(page.body)}",
        "Connection: close",
        "X-Content-Type-Options: nosniff",
        *(f"{name}: {value}" for name, value in page.headers.items()),
    ]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (page.body if with_body else b""))
    await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
        await reader.read(HEAD_BYTES)  # what the client has still sent would reset the connection under the answer


def _page(method: str, path: str, query: Query, routes: Routes) -> Page:
    make = routes.get(path)
    if make is None:
        return text("there is no such page\n", 404)
    if method not in ("GET", "HEAD"):
        return text("pages are only read\n", 405)
    return make(query)
