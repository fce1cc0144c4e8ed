"""TCP ports of a machine: open on its overlay address, and on an address of this host if it has one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from nodeagent.wireguard.engine import Engine, Listener

log = logging.getLogger(__name__)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]
"""Serves one connection; the last argument is the caller's address."""


class Port:
    """One open port. Connections of a closed one are cut."""

    def __init__(self, number: int, handler: Handler) -> None:
        self.number = number
        self._handler = handler
        self._listener: Listener | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str | None = None
    ) -> None:
        """Serve one connection, whoever carries it."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._handler(reader, writer, source or writer.get_extra_info("peername")[0])
        except OSError as error:  # errors of TLS and refused certificates included
            log.debug("port %d: %s", self.number, error)
        except asyncio.CancelledError:
            pass  # the port was closed; asyncio would report the task it made for this connection
        finally:
            self._connections.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def open_on_host(self, address: str) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self.accept, address, self.number)

    async def open_on_overlay(self, engine: Engine | None) -> None:
        """On this engine instead of the one before."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if engine is not None:
            self._listener = await engine.serve(self.number, self.accept)

    def drop_connections(self) -> None:
        for connection in self._connections - {asyncio.current_task()}:
            connection.cancel()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.open_on_overlay(None)
        connections = list(self._connections)
        self.drop_connections()
        await asyncio.gather(*connections, return_exceptions=True)


class Ports:
    """All open ports of one boot."""

    def __init__(self, host_address: str | None) -> None:
        self._host_address = host_address
        self._engine: Engine | None = None
        self._open: dict[int, Port] = {}

    async def open(self, number: int, handler: Handler, *, on_host: bool = True) -> Port:
        """Open a port on the overlay as long as there is one, and on the host's address unless told otherwise.

        Opening it again keeps the first handler and only adds the host's address.
        """
        port = self._open.get(number)
        if port is None:
            port = self._open[number] = Port(number, handler)
            await port.open_on_overlay(self._engine)
        if on_host and self._host_address:
            await port.open_on_host(self._host_address)
        return port

    def find(self, number: int) -> Port | None:
        return self._open.get(number)

    async def close(self, number: int) -> None:
        if port := self._open.pop(number, None):
            await port.close()

    async def close_all(self) -> None:
        for number in list(self._open):
            await self.close(number)

    async def attach(self, engine: Engine | None) -> None:
        """The overlay is reached through this engine now."""
        self._engine = engine
        for port in list(self._open.values()):
            await port.open_on_overlay(engine)
