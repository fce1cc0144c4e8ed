"""TCP ports of a machine: open on its overlay address, and on addresses of this host if it has any."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from nodeagent.ending import end
from nodeagent.wireguard.engine import Engine, Listener

log = logging.getLogger(__name__)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]
"""Serves one connection; the last argument is the caller's address."""


class Port:
    """One open port. Connections of a closed one are cut."""

    def __init__(self, number: int, handler: Handler) -> None:
        self.number = number
        self.on_host = False
        self._handler = handler
        self._listener: Listener | None = None
        self._servers: dict[str, asyncio.Server] = {}
        self._connections: dict[asyncio.Task[None], str] = {}  # to the address of ours that was called

    async def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str | None = None
    ) -> None:
        """Serve one connection, whoever carries it."""
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = str((writer.get_extra_info("sockname") or ("",))[0])
        try:
            await self._handler(reader, writer, source or writer.get_extra_info("peername")[0])
        except OSError as error:  # errors of TLS and refused certificates included
            log.debug("port %d: %s", self.number, error)
        except asyncio.CancelledError:
            pass  # the port was closed; asyncio would report the task it made for this connection
        finally:
            self._connections.pop(task, None)
            with contextlib.suppress(OSError):
                writer.close()

    async def open_on_host(self, address: str) -> None:
        if address not in self._servers:
            self._servers[address] = await asyncio.start_server(self.accept, address, self.number)

    def close_on_host(self, address: str) -> None:
        """The address is another machine's from now on: connections to it are cut."""
        if server := self._servers.pop(address, None):
            server.close()
        for connection, called in list(self._connections.items()):
            if called == address:
                connection.cancel()

    async def open_on_overlay(self, engine: Engine | None) -> None:
        """On this engine instead of the one before."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if engine is not None:
            self._listener = await engine.serve(self.number, self.accept)

    def drop_connections(self) -> None:
        for connection in self._connections.keys() - {asyncio.current_task()}:
            connection.cancel()

    async def close(self) -> None:
        for address in list(self._servers):
            self._servers.pop(address).close()
        await self.open_on_overlay(None)
        await end(self._connections.keys() - {asyncio.current_task()})


class Ports:
    """All open ports of one boot."""

    def __init__(self, host_address: str | None) -> None:
        self._host_addresses = [host_address] if host_address else []
        self._engine: Engine | None = None
        self._open: dict[int, Port] = {}

    async def open(self, number: int, handler: Handler, *, on_host: bool = True) -> Port:
        """Open a port on the overlay as long as there is one, and on the host's addresses unless told otherwise.

        Opening it again keeps the first handler and only adds the host's addresses.
        """
        port = self._open.get(number)
        if port is None:
            port = self._open[number] = Port(number, handler)
            await port.open_on_overlay(self._engine)
        if on_host:
            port.on_host = True
            for address in self._host_addresses:
                await port.open_on_host(address)
        return port

    async def take(self, address: str) -> None:
        """Be reached at one more address of the host, on every port that is open there. Raises OSError."""
        for port in list(self._open.values()):
            if port.on_host:
                await port.open_on_host(address)
        self._host_addresses.append(address)

    def give_up(self, address: str) -> None:
        """Be no longer reached at an address, whether or not it was taken wholly."""
        for port in self._open.values():
            port.close_on_host(address)
        if address in self._host_addresses:
            self._host_addresses.remove(address)

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
