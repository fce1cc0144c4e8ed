"""TLS over any byte stream, as either end, and the contexts that talk to Talos machines.

asyncio's own TLS needs a socket transport, grpcio's cannot verify Ed25519: so this is `ssl` over memory buffers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

from talos.pem import CertKey

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Opens a byte stream to one port of one machine. Raises OSError."""

MAINTENANCE_NAME = "maintenance-service.talos.dev"
"""Common name of the certificate that a Talos machine without configuration makes for itself; others give none."""

CHUNK = 64 * 1024

PIECE = 4 * 1024
"""Bytes given to TLS at once: OpenSSL keeps a buffer as large as the most it ever held, for each connection. More of
them is faster."""

CONNECT_TIMEOUT = 15.0
"""Seconds for opening the stream to a machine and the TLS handshake together."""

_NOTHING = memoryview(b"")


@dataclass(frozen=True)
class Credentials:
    """What proves us to a configured machine, and the machine to us."""

    ca: bytes
    """The cluster's Talos CA, PEM; several certificates during its rotation."""
    client: CertKey


class NotInMaintenance(ssl.SSLError):
    """The machine shows another certificate than one without configuration would: somebody configured it."""

    def __str__(self) -> str:
        return str(self.args[0])  # SSLError shows a lone argument as a tuple


def load_identity(context: ssl.SSLContext, identity: CertKey) -> None:
    """Give a context a certificate and its key. Raises PEMError or ssl.SSLError."""
    # `ssl` reads keys from files only: this one is private and gone at once.
    with tempfile.NamedTemporaryFile() as file:
        file.write(identity.crt + identity.standard_key)
        file.flush()
        context.load_cert_chain(file.name)


@lru_cache(maxsize=64)
def client_context(credentials: Credentials | None, check_name: bool) -> ssl.SSLContext:
    """A context for a machine's API; `check_name` compares the server's name or address, the issuer always counts.

    Without credentials nothing is verified: a machine in maintenance has no certificate that could be. Raises PEMError
    or ssl.SSLError for material that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    if credentials is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.check_hostname = check_name
        context.load_verify_locations(cadata=credentials.ca.decode())
        load_identity(context, credentials.client)
    return context


def server_context(identity: CertKey, client_ca: bytes | None = None) -> ssl.SSLContext:
    """A TLS 1.3 context for a gRPC server; with `client_ca` callers must show a certificate it issued."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    load_identity(context, identity)
    if client_ca is not None:
        context.load_verify_locations(cadata=client_ca.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class TlsStream:
    """TLS on top of a reader and a writer. At most one task reads and one writes."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        piece: int = PIECE,
    ) -> None:
        self._reader, self._writer, self._piece = reader, writer, piece
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unread = _NOTHING  # received, not yet given to TLS
        self._failure: ssl.SSLError | None = None
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )

    async def handshake(self) -> None:
        """Raises ssl.SSLError when the two ends do not agree, ConnectionError when the other one leaves."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            except ssl.SSLError:
                await self._flush()  # the alert tells the other end why
                raise
            else:
                await self._flush()
                return

    def peer_certificate(self) -> x509.Certificate | None:
        """What the other end showed, verified if the context says so."""
        der = self._tls.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(der) if der else None

    def peer_chain(self) -> list[bytes]:
        """The certificates that the other end sent, its own first, DER; verified or not."""
        if sys.version_info >= (3, 13):
            return list(self._tls.get_unverified_chain())
        # Older Pythons have it below their public interface only, and encode when they are asked to.
        shown = self._tls._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
        return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in shown]

    def protocol(self) -> str | None:
        """What ALPN chose."""
        return self._tls.selected_alpn_protocol()

    async def read(self) -> bytes:
        """Some bytes, none at the end. Raises ssl.SSLError, an alert of the other end included, or OSError."""
        if self._failure is not None:
            raise self._failure
        while True:
            try:
                data = self._tls.read(CHUNK)
                return self._with_more(data) if self._incoming.pending else data
            except ssl.SSLWantReadError:
                await self._flush()  # answers of TLS itself
                try:
                    await self._receive()
                except ConnectionError:
                    return b""
            except ssl.SSLZeroReturnError:
                return b""

    def _with_more(self, data: bytes) -> bytes:
        """Some bytes and those of the records after them that are here already: TLS gives one record at a time."""
        parts = [data]
        try:
            while self._incoming.pending and parts[-1]:
                parts.append(self._tls.read(CHUNK))
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        except ssl.SSLError as error:
            self._failure = error  # after what came before it
        return b"".join(parts)

    async def write(self, data: bytes) -> None:
        """Send, and wait while the other end is slow."""
        self.send(data)
        await self.drain()

    def send(self, data: bytes) -> None:
        """Send without waiting. Raises ssl.SSLError."""
        self._tls.write(data)
        if sealed := self._outgoing.read():
            self._writer.write(sealed)

    async def drain(self) -> None:
        """Wait while the other end is slow. Raises OSError."""
        await self._writer.drain()

    def close(self) -> None:
        """Say goodbye if that needs no waiting, and close the stream below."""
        with contextlib.suppress(ssl.SSLError, ValueError):  # no goodbye yet from there, or no handshake
            self._tls.unwrap()
        if goodbye := self._outgoing.read():
            self._writer.write(goodbye)
        self._writer.close()

    def abort(self) -> None:
        """Close the stream below at once, with what was not sent yet."""
        self._writer.transport.abort()

    async def _receive(self) -> None:
        data = self._unread or memoryview(await self._reader.read(CHUNK))
        if not data:
            raise ConnectionResetError("the connection was closed during TLS")
        self._incoming.write(data[: self._piece])
        self._unread = data[self._piece :] if len(data) > self._piece else _NOTHING

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            self._writer.write(data)
            await self._writer.drain()


def to_machine(
    connect: Connect, credentials: Credentials | None, server_name: str | None = None, piece: int = PIECE
) -> Callable[[], Awaitable[TlsStream]]:
    """How streams to a machine's API are opened. Without credentials it must be in maintenance mode.

    What is returned raises OSError: of the stream, TimeoutError, ssl.SSLError. Raises PEMError or ssl.SSLError for
    credentials that cannot be used.
    """
    context = client_context(credentials, server_name is not None)

    async def handshake() -> TlsStream:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                reader, writer = await connect()
                try:
                    stream = TlsStream(reader, writer, context, server_hostname=server_name, piece=piece)
                    await stream.handshake()
                    if credentials is None:
                        require_maintenance(stream)
                except BaseException:
                    writer.close()
                    raise
        except TimeoutError as error:
            raise TimeoutError(str(error) or "the machine did not answer in time") from error
        return stream

    return handshake


async def relay(plain: tuple[asyncio.StreamReader, asyncio.StreamWriter], tls: TlsStream) -> None:
    """Carry bytes between a plain connection and a TLS stream until either ends, then close both.

    Raises the error that ended it: ssl.SSLError or OSError of the TLS side; the plain side just ends.
    """
    reader, writer = plain

    async def outwards() -> None:
        while data := await reader.read(CHUNK):
            await tls.write(data)

    async def inwards() -> None:
        while data := await tls.read():
            writer.write(data)
            await writer.drain()

    tasks = [asyncio.ensure_future(outwards()), asyncio.ensure_future(inwards())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        tls.close()
        writer.close()
    for result in results:
        if isinstance(result, ssl.SSLError | OSError):
            raise result


def require_maintenance(tls: TlsStream) -> None:
    """Raises NotInMaintenance when the certificate shown is not that of a machine without configuration: issued by an
    authority without a name, made for this boot alone. That of a configured machine comes from its cluster's."""
    certificate = tls.peer_certificate()
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME) if certificate else []
    known = all(name.value == MAINTENANCE_NAME for name in names)
    if certificate is None or list(certificate.issuer) or not known:
        shown = certificate.subject.rfc4514_string() if certificate else "no certificate"
        raise NotInMaintenance(f"expected a machine without configuration, but it shows {shown!r}")
