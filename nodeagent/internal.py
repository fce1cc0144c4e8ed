"""Connections between our own processes on several hosts: TLS with certificates on both ends.

The installation's authority makes one internal certificate, which every process of it holds and nobody else. Its name
is what both ends check, never an address: processes come and go under any.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

NAME = "omni-internal"
"""The DNS name in the internal certificate."""

CONNECT_TIMEOUT = 5.0
"""Seconds until a process that does not answer is given up."""


@dataclass(frozen=True)
class Identity:
    """What our processes know each other by: PEM files. They are read at first use; errors are OSError."""

    authority: Path
    certificate: Path
    key: Path

    @cached_property
    def client(self) -> ssl.SSLContext:
        """For the end that connects."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    @cached_property
    def server(self) -> ssl.SSLContext:
        """For the end that listens."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _context(self, side: int) -> ssl.SSLContext:
        context = ssl.SSLContext(side)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.authority)
        context.load_cert_chain(self.certificate, self.key)
        return context


async def connect(host: str, port: int, identity: Identity) -> Stream:
    """A connection to another process of this installation. Raises OSError (TimeoutError, ssl.SSLError)."""
    async with asyncio.timeout(CONNECT_TIMEOUT):
        return await asyncio.open_connection(host, port, ssl=identity.client, server_hostname=NAME)


async def listen(host: str, port: int, identity: Identity, handler: Handler) -> asyncio.Server:
    """Take connections of this installation's processes, and of nobody else. Raises OSError."""

    async def admit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("peercert") or {}
        if ("DNS", NAME) in shown.get("subjectAltName", ()):
            await handler(reader, writer)
        else:
            writer.transport.abort()

    return await asyncio.start_server(admit, host, port, ssl=identity.server, ssl_handshake_timeout=CONNECT_TIMEOUT)
