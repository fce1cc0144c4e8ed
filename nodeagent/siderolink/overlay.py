"""gRPC services on the overlay: connections of the WireGuard engine, relayed to a grpcio server of our own."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from nodeagent.caller import Caller, caller_of
from nodeagent.dial import join
from nodeagent.sockets import new_socket_path
from nodeagent.tls import TlsStream, relay
from nodeagent.wireguard.engine import Engine, Listener

HANDSHAKE_TIMEOUT = 10.0

TlsFor = Callable[[str], Awaitable[ssl.SSLContext]]
"""The context for the machine at an address. Raises LookupError or PermissionError for one that has none."""

log = logging.getLogger(__name__)


def machine_address(context: Any) -> str:
    """The overlay address of the machine that calls. WireGuard has proved it."""
    caller = caller_of(context.peer())
    if caller is None:
        raise LookupError("the call did not come over the overlay")
    return caller.address


class OverlayService:
    """A grpcio server on one overlay port: in plain text, or inside TLS that is chosen for each machine."""

    def __init__(self, engine: Engine, port: int, server: grpc.aio.Server, tls_for: TlsFor | None = None) -> None:
        self._engine, self._port, self._server, self._tls_for = engine, port, server, tls_for
        self._path = new_socket_path()
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Open the port. Raises OSError when it is taken."""
        self._server.add_insecure_port(f"unix:{self._path}")
        await self._server.start()
        self._listener = await self._engine.serve(self._port, self._accept)

    async def retire(self, grace: float) -> None:
        """Send clients elsewhere; calls under way may end within so many seconds."""
        await self._server.stop(grace)

    async def stop(self) -> None:
        """Close the port and break its connections."""
        if self._listener is not None:
            self._listener.close()
        await self._server.stop(None)
        self._path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, port = writer.get_extra_info("peername")[:2]
        try:
            if self._tls_for is None:
                await join((reader, writer), await self._connect(address, port))
            else:
                async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                    stream = TlsStream(reader, writer, await self._tls_for(address), server_side=True)
                    await stream.handshake()
                await relay(await self._connect(address, port), stream)
        except asyncio.CancelledError:
            writer.transport.abort()  # we are stopping; asyncio would log this as an error of the handler
        except (LookupError, PermissionError) as error:
            log.info("no service for %s on port %d: %s", address, self._port, error)
        except OSError as error:
            log.debug("connection of %s to port %d broke: %s", address, self._port, error)
        finally:
            writer.close()

    async def _connect(self, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = await Caller("overlay", address, port).connect(self._path)
        return await asyncio.open_unix_connection(sock=connection)
