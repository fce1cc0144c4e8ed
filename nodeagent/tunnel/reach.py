"""How an agent gets to its server: by TLS that is verified by system roots, an authority of ours, or a fingerprint, and
through the proxy that the environment names."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass

from nodeagent.dial import Stream
from nodeagent.rpc import Wire
from nodeagent.tls import CHUNK, TlsStream

CONNECT_TIMEOUT = 20.0
"""Seconds for all of it: proxy, TCP, TLS."""

PROXY_ANSWER_LIMIT = 16 * 1024

_PROXY_VARIABLES = {"https_proxy", "no_proxy"}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


_Connect = Callable[[], Awaitable[Stream]]


class Untrusted(ConnectionError):
    """What answers is not the server that was meant, or does not speak to agents."""


class PlainStream:
    """A reader and a writer as a `Wire`, without TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        return await self._reader.read(CHUNK)

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True)
class Address:
    """Where a server is: `https://host[:port]`, `grpc://host:port` without TLS, or `http://` of a loopback host."""

    host: str
    port: int
    secure: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises ValueError for anything else."""
        parts = urlsplit(url if "://" in url else f"https://{url}")
        try:
            port = parts.port
        except ValueError:
            raise ValueError(f"{_shown(url)!r} has no port from 0 to 65535") from None
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.username is not None:
            raise ValueError(f"{_shown(url)!r} is not a server's URL such as https://omni.example.com:8443")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError(f"http:// to {parts.hostname} would show the token to everybody on the way; use https://")
        if parts.scheme not in ("https", "http", "grpc"):
            raise ValueError(f"{parts.scheme}:// is not spoken here; use https://")
        secure = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if secure else 80), secure)

    @property
    def authority(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'grpc'}://{self.authority}"


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that lets connections through by CONNECT."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)  # value of the header, if it asks for one

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Read `http://[user:password@]host[:port]`. Raises ValueError."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"the proxy {_shown(url)!r} is not an http:// URL")
        authorization = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            authorization = "Basic " + base64.b64encode(pair).decode()
        return cls(parts.hostname, parts.port or 3128, authorization)

    async def connect(self, target: str) -> Stream:
        """A connection to `host:port` through it. Raises OSError."""
        name = f"the proxy {self.host}:{self.port}"
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port, limit=PROXY_ANSWER_LIMIT)
        except OSError as error:
            raise OSError(f"{name} cannot be reached: {words(error)}") from error
        try:
            head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
            if self.authorization:
                head += f"Proxy-Authorization: {self.authorization}\r\n"
            writer.write(head.encode() + b"\r\n")
            answer = await reader.readuntil(b"\r\n\r\n")
            status = answer.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 1)[-1]
            if not re.match(r"2\d\d\b", status):
                raise ConnectionRefusedError(f"{name} does not let us through to {target}: {status[:100]}")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.close()
            raise ConnectionResetError(f"{name} gave no answer that HTTP knows") from None
        except BaseException:
            writer.close()
            raise
        return reader, writer


def proxy_for(address: Address, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy that HTTPS_PROXY and NO_PROXY (names, suffixes, addresses, networks) tell to use, in either case.

    Raises ValueError for a proxy that cannot be used.
    """
    found = {key.lower(): value for key, value in sorted(environment.items()) if key.lower() in _PROXY_VARIABLES}
    url, no_proxy = found.get("https_proxy", ""), found.get("no_proxy", "")
    if not url or proxy_bypass(address.authority, {"no": no_proxy}):
        return None
    if _is_ip(address.host) and any(_holds(part.strip(), address.host) for part in no_proxy.split(",")):
        return None
    return Proxy.parse(url)


class Trust:
    """What proves the server: system roots, or `ca` (PEM) in their place, or a certificate of the chain it shows with
    the SHA-256 `fingerprint` (hexadecimal, colons allowed): its own, or that of the authority that issued it.

    Raises ValueError for what cannot be read.
    """

    def __init__(self, ca: str | None = None, fingerprint: str | None = None) -> None:
        if ca is not None and fingerprint is not None:
            raise ValueError("give an authority or a fingerprint, not both")
        self._pin = None
        if fingerprint is not None:
            self._pin = fingerprint.lower().removeprefix("sha256:").replace(":", "").strip()
            if not _FINGERPRINT.fullmatch(self._pin):
                raise ValueError("a fingerprint is SHA-256 in 64 hexadecimal digits")
        try:
            self._context = ssl.create_default_context(cadata=ca)
        except ssl.SSLError:
            raise ValueError("the file of the authority holds no certificate in PEM") from None
        if self._pin is not None:
            self._context = _context()
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        self._context.set_alpn_protocols(["h2"])

    async def secure(self, connect: _Connect, host: str) -> TlsStream:
        """TLS to a host. Raises OSError, with a text for people when the server is not trusted."""
        stream = await self._handshake(self._context, connect, host)
        if self._pin is None:
            return stream
        chain = stream.peer_chain()
        pinned = [der for der in chain if hashlib.sha256(der).hexdigest() == self._pin]
        if not pinned:
            stream.close()
            shown = ", ".join(hashlib.sha256(der).hexdigest() for der in chain)
            raise Untrusted(f"none of its certificates has the fingerprint given; it shows {shown}")
        if pinned[0] == chain[0]:
            return stream
        stream.close()  # the authority is known now: whether it issued what was shown is verified as usual
        context = _context()
        context.load_verify_locations(cadata=pinned[0])
        return await self._handshake(context, connect, host)

    async def _handshake(self, context: ssl.SSLContext, connect: _Connect, host: str) -> TlsStream:
        reader, writer = await connect()
        stream = TlsStream(reader, writer, context, server_hostname=host)
        try:
            await stream.handshake()
            if stream.protocol() != "h2":
                raise Untrusted("it does not speak HTTP/2, which gRPC needs; is something else in front of it?")
        except ssl.SSLCertVerificationError as error:
            writer.close()
            raise Untrusted(
                f"its certificate is not accepted: {error.verify_message.strip('.')}; "
                "for an authority of its own give --ca FILE or --fingerprint"
            ) from error
        except BaseException:
            writer.close()
            raise
        return stream


class Way:
    """Opens connections to one server."""

    def __init__(self, address: Address, trust: Trust, proxy: Proxy | None = None) -> None:
        self.address, self._trust, self._proxy = address, trust, proxy

    async def open(self) -> Wire:
        """A stream to the server that speaks HTTP/2. Raises OSError with a text for people."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                if self.address.secure:
                    return await self._trust.secure(self._dial, self.address.host)
                return PlainStream(*await self._dial())
        except TimeoutError as error:
            raise TimeoutError(str(error) or f"no connection within {CONNECT_TIMEOUT:.0f} s") from error

    async def _dial(self) -> Stream:
        if self._proxy is not None:
            return await self._proxy.connect(self.address.authority)
        return await asyncio.open_connection(self.address.host, self.address.port)


def words(error: OSError) -> str:
    """An error in words: the system's text without numbers and addresses, if it has one."""
    if error.errno and error.strerror and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno) if error.errno > 0 else error.strerror  # asyncio's own text repeats the address
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS: {error.reason.replace('_', ' ').lower()}"
    return str(error) or type(error).__name__


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority in the middle may be the one that is trusted
    context.set_alpn_protocols(["h2"])
    return context


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)


def _holds(network: str, address: str) -> bool:
    try:
        return ip_address(address) in ip_network(network, strict=False)
    except ValueError:
        return False


def _shown(url: str) -> str:
    """A URL without what may be a password."""
    return re.sub(r"//[^/@]*@", "//", url)[:200]
