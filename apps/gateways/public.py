"""The one public TCP port: the first bytes of a connection decide what it speaks.

TLS (then ALPN: `h2` alone is gRPC, anything else HTTP), `PRI ` is gRPC without TLS, everything else HTTP. Plain HTTP
is relayed only on loopback and redirected to TLS elsewhere. The web process learns scheme and caller from the relay
(`caller.py`), never from a header.
"""

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from ipaddress import ip_address

from apps.gateways.upstream import Upstream
from nodeagent.caller import Caller
from nodeagent.dial import Stream, join

FIRST_BYTES_TIMEOUT = 10.0
"""Seconds a new connection has to say what it speaks."""

CONNECTION_LIMIT = 20_000
"""Connections at once; more wait in the kernel's queue."""

_TLS_HANDSHAKE = 0x16
_GRPC_PREFACE = b"PRI "
_WORD = re.compile(r"[!-~]+")
"""Visible ASCII: what may go back in a header."""

log = logging.getLogger(__name__)


class PublicPort:
    """Listens on the public port and relays to the web process and to the gRPC server."""

    def __init__(self, tls: ssl.SSLContext, web: Upstream, grpc: Upstream) -> None:
        self._tls, self._web, self._grpc = tls, web, grpc
        self._tls.set_alpn_protocols(["http/1.1", "h2"])  # who offers both is a browser
        self._live: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(CONNECTION_LIMIT)

    async def serve(self, host: str, port: int) -> None:
        """Open the port and accept until cancelled. Raises OSError when it is taken."""
        listener = socket.create_server(
            (host, port),
            family=_family(host),
            backlog=1024,
            dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
        )
        listener.setblocking(False)
        with listener:
            try:
                await self._accept(listener)
            finally:
                for task in self._live:
                    task.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:  # out of file descriptors: those who are connected go on
                self._room.release()
                log.warning("public port cannot accept: %s", error)
                await asyncio.sleep(0.1)
                continue
            task = loop.create_task(self._handle(connection, _plain(address[0]), address[1]))
            self._live.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._live.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()):
            log.error("public port: %r", error)

    async def _handle(self, connection: socket.socket, address: str, port: int) -> None:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(FIRST_BYTES_TIMEOUT):
                head = await _peek(connection)
                secure = head[:1] == bytes([_TLS_HANDSHAKE])
                reader, writer = await self._open(connection, self._tls if secure else None)
        except (OSError, TimeoutError):
            connection.close()
            return
        grpc = writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2" if secure else head == _GRPC_PREFACE
        caller = Caller("https" if secure else "http", address, port)
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            if not grpc and not secure and not ip_address(address).is_loopback:
                await _redirect(reader, writer)
            else:
                await self._relay((reader, writer), self._grpc if grpc else self._web, caller, answer=not grpc)
        writer.close()

    async def _open(self, connection: socket.socket, tls: ssl.SSLContext | None) -> Stream:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=2**17, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _relay(self, client: Stream, target: Upstream, caller: Caller, answer: bool) -> None:
        try:
            upstream = await target(caller)
        except OSError:
            if answer:
                await _head(client[0])
                await _answer(client[1], "503 Service Unavailable", "The web process is starting. Try again shortly.\n")
            return
        await join(client, upstream)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def _peek(connection: socket.socket) -> bytes:
    """The first bytes of a connection, left in place: one of TLS, else four. Raises OSError when it closes first."""
    while True:
        await _readable(connection)
        head = connection.recv(4, socket.MSG_PEEK)
        if not head:
            raise ConnectionResetError("closed before it said anything")
        if head[0] == _TLS_HANDSHAKE or len(head) == 4:
            return head
        await asyncio.sleep(0.02)  # the rest of a split first packet; there is no event for "more than before"


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def is_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, is_ready)
    try:
        await ready
    finally:
        loop.remove_reader(connection)


def _plain(address: str) -> str:
    """An address as people write it: without zone, and IPv4 that came over IPv6 as IPv4."""
    parsed = ip_address(address.partition("%")[0])
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


async def _head(reader: asyncio.StreamReader) -> list[str]:
    """The lines of a request's head. It is read even for a fixed answer: closing unread data would reset that."""
    async with asyncio.timeout(FIRST_BYTES_TIMEOUT):
        return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")


async def _redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    lines = await _head(reader)
    path = [*lines[0].split(" "), "", ""][1]
    host = next((line[5:].strip() for line in lines if line.lower().startswith("host:")), "")
    if _WORD.fullmatch(host) and _WORD.fullmatch(path) and path.startswith("/"):
        await _answer(writer, "308 Permanent Redirect", "", f"Location: https://{host}{path}\r\n")
    else:
        await _answer(writer, "400 Bad Request", "This port speaks HTTPS.\n")


async def _answer(writer: asyncio.StreamWriter, status: str, text: str, headers: str = "") -> None:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode("latin-1") + b"Connection: close\r\n\r\n" + body)
    await writer.drain()
