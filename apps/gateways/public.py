"""The one public TCP port: the first bytes of a connection decide what it speaks (`firstbytes.py`).

gRPC goes to the gRPC server, with TLS or without it. Only gRPC clients are asked for a certificate, in TLS, and need
none: browsers would open a dialog. HTTP goes to the web process or, under `/k8s/`, to the Kubernetes proxy; HTTP/2 is
translated for them (`nodeagent/h2front`). Without TLS, HTTP is served on loopback only and redirected elsewhere.
Whoever gets a connection learns scheme, caller and certificate from the relay (`caller.py`), never from a header.
"""

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import ip_address

from cryptography import x509

from apps.gateways import firstbytes
from apps.gateways.firstbytes import Speaks, Start
from apps.gateways.upstream import Upstream
from nodeagent import h2front
from nodeagent.caller import Caller
from nodeagent.clienthello import NotTls
from nodeagent.dial import Stream, join
from nodeagent.quiet import Quiet

FIRST_BYTES_TIMEOUT = 10.0
"""Seconds a new connection has to say what it speaks, TLS handshake included."""

REQUEST_TIMEOUT = 60.0
"""Seconds until the first request on a connection; browsers open some ahead."""

HEAD_LIMIT = 64 * 1024
"""Bytes of a request's head that we read ourselves."""

CONNECTION_LIMIT = 20_000
"""Connections at once; more wait in the kernel's queue."""

KUBERNETES = b"/k8s/"
"""What the paths of the Kubernetes proxy begin with."""

TLS_BUFFER = 32 * 1024
"""Bytes that asyncio holds for each TLS connection, to receive into. Its own default is 256 kB."""

_METHOD_LIMIT = 20
"""Bytes of a method's name, all known ones and more."""

_WORD = re.compile(r"[!-~]+")
"""Visible ASCII: what may go back in a header."""

log = logging.getLogger(__name__)

sslproto.SSLProtocol.max_size = TLS_BUFFER


class PublicPort:
    """Listens on the public port and relays to the web process, the Kubernetes proxy and the gRPC server.

    `tls` makes a context with the port's own certificate; there is one for each protocol.
    """

    def __init__(self, tls: Callable[[], ssl.SSLContext], web: Upstream, grpc: Upstream, kubernetes: Upstream) -> None:
        self._tls, self._web, self._grpc, self._kubernetes = tls, web, grpc, kubernetes
        self._contexts = {Speaks.HTTP1: tls(), Speaks.HTTP2: tls()}
        self._contexts[Speaks.HTTP1].set_alpn_protocols(["http/1.1"])
        self._contexts[Speaks.HTTP2].set_alpn_protocols(["h2"])
        self.trust([])
        self._live: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(CONNECTION_LIMIT)
        self._quiet = Quiet()

    def trust(self, authorities: Iterable[bytes]) -> None:
        """Take client certificates of these authorities (PEM) from now on, and of no others."""
        context = self._tls()
        context.set_alpn_protocols(["h2"])
        context.verify_mode = ssl.CERT_OPTIONAL
        context.num_tickets = 0  # a resumed session would spare an expired certificate its check
        for authority in authorities:
            try:
                context.load_verify_locations(cadata=authority.decode())
            except (ssl.SSLError, ValueError) as error:
                log.error("an authority for client certificates cannot be read: %s", error)
        self._contexts[Speaks.GRPC] = context

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
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio knows only its own sockets as TCP
        try:
            async with asyncio.timeout(FIRST_BYTES_TIMEOUT):
                start = await firstbytes.read(connection)
                client = await self._open(connection, self._contexts[start.speaks] if start.secure else None)
        except (OSError, NotTls, TimeoutError) as error:
            connection.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                self._refused(address, error.verify_message)
            return
        caller = Caller("https" if start.secure else "http", address, port, _certificate(client[1]))
        with contextlib.suppress(OSError, TimeoutError):
            await self._serve(start, client, caller)
        client[1].close()

    async def _open(self, connection: socket.socket, tls: ssl.SSLContext | None) -> Stream:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=2**17, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _refused(self, address: str, reason: str) -> None:
        """The client learns nothing but the end of the connection: TLS 1.3 lets it believe that all went well."""
        left_out = self._quiet.left_out(f"{address} {reason}")
        if left_out is not None:
            more = f" ({left_out} more like this)" if left_out else ""
            log.info("a client certificate shown by %s is refused: %s%s", address, reason, more)

    async def _serve(self, start: Start, client: Stream, caller: Caller) -> None:
        if start.speaks is Speaks.GRPC:
            with contextlib.suppress(OSError):  # it starts: clients try again by themselves
                await join(client, await self._grpc(caller))
        elif start.speaks is Speaks.HTTP2:
            web, kubernetes = partial(self._web, caller), partial(self._kubernetes, caller)
            await h2front.serve(client, lambda target: kubernetes if target.startswith(KUBERNETES) else web)
        elif not start.secure and not ip_address(caller.address).is_loopback:
            await _redirect(*client)
        else:
            await self._relay(client, caller)

    async def _relay(self, client: Stream, caller: Caller) -> None:
        """The first request of a connection decides for all of them: from then on it is bytes."""
        data, kubernetes = await _first_words(client[0])
        try:
            upstream = await (self._kubernetes if kubernetes else self._web)(caller)
        except OSError:
            await _head(client[0], data)
            await _answer(client[1], "503 Service Unavailable", h2front.STARTING)
            return
        upstream[1].write(data)
        await join(client, upstream)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _certificate(writer: asyncio.StreamWriter) -> str:
    """The serial number of the client's certificate as 32 hex digits or more; empty without one."""
    tls = writer.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls else None
    return f"{x509.load_der_x509_certificate(der).serial_number:032x}" if der else ""


def _plain(address: str) -> str:
    """An address as people write it: without zone, and IPv4 that came over IPv6 as IPv4."""
    parsed = ip_address(address.partition("%")[0])
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


async def _first_words(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """What a connection says until it is known where its first request goes, and whether that is the Kubernetes proxy.

    Raises TimeoutError, and OSError when it closes first.
    """
    data = b""
    async with asyncio.timeout(REQUEST_TIMEOUT):
        while (kubernetes := is_for_kubernetes(data)) is None:
            more = await reader.read(HEAD_LIMIT)
            if not more:
                raise ConnectionResetError("closed before its first request")
            data += more
    return data, kubernetes


def is_for_kubernetes(request: bytes) -> bool | None:
    """Where a request goes that begins like this; None while that is not known."""
    method, space, path = request.partition(b" ")
    if not space:
        return None if len(method) < _METHOD_LIMIT and b"\n" not in method else False
    if len(path) < len(KUBERNETES) and KUBERNETES.startswith(path):
        return None
    return b"\n" not in method and path.startswith(KUBERNETES)


async def _head(reader: asyncio.StreamReader, data: bytes = b"") -> list[str]:
    """The lines of a request's head. It is read even for a fixed answer: closing unread data would reset that."""
    async with asyncio.timeout(FIRST_BYTES_TIMEOUT):
        while b"\r\n\r\n" not in data:
            more = await reader.read(HEAD_LIMIT)
            if not more or len(data) > HEAD_LIMIT:
                raise ConnectionResetError("a request without an end")
            data += more
    return data.decode("latin-1").split("\r\n")


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
