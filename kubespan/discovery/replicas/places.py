"""Where the other processes are, and how they are reached."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubespan.discovery.replicas.link import Stream

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CONNECT_SECONDS = 5.0

log = logging.getLogger(__name__)


class Neighbours(Protocol):
    """Who else serves the same clusters. Streams are only to and from those who may."""

    async def listen(self, accept: Accept) -> None:
        """Have streams that others open taken by `accept`. Raises OSError."""

    async def places(self) -> Collection[str]:
        """Where others may be, as far as is known now; this process may be among them."""

    async def connect(self, place: str) -> Stream:
        """Open a stream. Raises OSError (TimeoutError)."""

    async def close(self) -> None:
        """Take no more streams."""


@dataclass(frozen=True)
class Identity:
    """By what processes know each other: PEM files. Whoever shows a certificate of the authority is one of them, so it
    is an authority of their own."""

    authority: Path
    certificate: Path
    key: Path

    def context(self, side: int) -> ssl.SSLContext:
        """TLS of one side. Raises OSError, of TLS itself too."""
        context = ssl.SSLContext(side)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # processes come and go under any address
        context.verify_mode = ssl.CERT_REQUIRED
        self.load(context)
        return context

    def load(self, context: ssl.SSLContext) -> None:
        """Read the files, maybe anew. Raises OSError, of TLS itself too."""
        for path in (self.authority, self.certificate, self.key):
            path.open("rb").close()  # what `ssl` says of a file that is not there does not name it
        context.load_verify_locations(self.authority)
        context.load_cert_chain(self.certificate, self.key)

    def changed(self) -> float:
        """When one of the files changed last; 0 while one is not there."""
        try:
            return max(path.stat().st_mtime for path in (self.authority, self.certificate, self.key))
        except OSError:
            return 0.0


class Addresses:
    """Neighbours by HOST:PORT; a name stands for all addresses that it has whenever it is looked up."""

    def __init__(self, listen: str, peers: Collection[str], identity: Identity | None, *, plain: bool = False) -> None:
        """Without an identity streams are plain: on loopback, or anywhere with `plain`. Raises ValueError."""
        self._listen, self._peers = split(listen), [split(peer) for peer in peers]
        self._identity = identity
        self._loopback_only = identity is None and not plain
        self._server: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None
        self._loaded = 0.0
        if self._loopback_only and not _is_loopback(self._listen[0]):
            raise ValueError(f"{listen} is not on loopback: between hosts, processes know each other by certificates")

    async def listen(self, accept: Accept) -> None:
        """Listen. Raises OSError."""
        if self._identity is not None:
            self._loaded, self._tls = self._identity.changed(), self._identity.context(ssl.PROTOCOL_TLS_SERVER)
        host, port = self._listen
        timeout = CONNECT_SECONDS if self._tls else None
        try:
            self._server = await asyncio.start_server(accept, host, port, ssl=self._tls, ssl_handshake_timeout=timeout)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OSError(error.errno, f"cannot listen for other processes on {host}:{port}: {reason}") from None

    async def places(self) -> Collection[str]:
        """All addresses of all peers. It is asked often, so the files are looked at, too."""
        self._renew()
        found = await asyncio.gather(*(self._addresses(host, port) for host, port in self._peers))
        return {place for places in found for place in places}

    async def connect(self, place: str) -> Stream:
        """Open a stream. Raises OSError."""
        host, port = split(place)
        if self._loopback_only and not _is_loopback(host):
            raise OSError(f"{place} is not on loopback: between hosts, processes know each other by certificates")
        async with asyncio.timeout(CONNECT_SECONDS):
            if self._identity is None:
                return await asyncio.open_connection(host, port)
            return await asyncio.open_connection(host, port, ssl=self._identity.context(ssl.PROTOCOL_TLS_CLIENT))

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    def _renew(self) -> None:
        """Use files that have changed from the next stream on; those that do not fit leave the former ones."""
        if self._identity is None or self._tls is None or (changed := self._identity.changed()) in (0.0, self._loaded):
            return
        self._loaded = changed
        try:
            self._identity.load(self._tls)
        except OSError as error:
            log.error("the certificate for other processes cannot be used, the former one stays: %s", error)

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            log.debug("%s has no address now", host)
            return []
        addresses = [str(address[0]) for *_, address in found]
        return [f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in addresses]


def split(address: str) -> tuple[str, int]:
    """HOST:PORT, with brackets around an IPv6 address; without a host all of this machine. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{address!r} is no HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
