"""One cluster's Kubernetes API as its own machines reach it: a port on the overlay, spread over its control planes."""

import asyncio
import itertools
import logging
from dataclasses import dataclass

from nodeagent.dial import Dial, Stream, join
from nodeagent.wireguard.engine import Engine, Listener

APISERVER_PORT = 6443
DIAL_TIMEOUT = 5.0
"""Seconds to wait for one control plane before the next is tried."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backends:
    """Who may connect, and who answers: overlay addresses."""

    members: frozenset[str]
    control_planes: tuple[str, ...]


class Balancer:
    """Relays connections of a cluster's machines to a control plane that answers, in turn."""

    def __init__(self, engine: Engine, dial: Dial, port: int, backends: Backends) -> None:
        """Listens on the overlay of `engine`; control planes are reached by `dial`, wherever their links are held."""
        self.port = port
        self.backends = backends
        self._engine, self._dial = engine, dial
        self._turn = itertools.count()
        self._listener: Listener | None = None

    async def open(self) -> None:
        """Listen on the overlay. Raises OSError when the port is taken."""
        self._listener = await self._engine.serve(self.port, self._relay, lambda peer: peer in self.backends.members)

    def close(self) -> None:
        """Take no more connections."""
        if self._listener is not None:
            self._listener.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await self._upstream()
        if upstream is None:
            writer.transport.abort()
            return
        await join((reader, writer), upstream)

    async def _upstream(self) -> Stream | None:
        addresses = self.backends.control_planes
        start = next(self._turn)
        for offset in range(len(addresses)):
            address = addresses[(start + offset) % len(addresses)]
            try:
                async with asyncio.timeout(DIAL_TIMEOUT):
                    return await self._dial(address, APISERVER_PORT)
            except (OSError, TimeoutError) as error:
                log.debug("balancer %d: control plane %s does not answer: %s", self.port, address, error)
        return None
