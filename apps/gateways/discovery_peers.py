"""The discovery services of all gateways know of each other: by the roster, over the internal port."""

import asyncio
from collections.abc import Collection

from apps.gateways.roster import Roster
from kubespan.discovery.replicas.places import Accept
from nodeagent import dial
from nodeagent.dial import Stream
from nodeagent.internal import CONNECT_TIMEOUT, Identity

SERVICE = "discovery"
"""What a gateway that calls another one asks for."""


class GatewayPeers:
    """The `Neighbours` of a gateway's discovery service. Its `accept` goes among the services of the internal port."""

    def __init__(self, roster: Roster, identity: Identity) -> None:
        self._roster, self._identity = roster, identity
        self._accept: Accept | None = None

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Another gateway calls; it is sent away while nobody listens."""
        if self._accept is None:
            writer.transport.abort()
        else:
            await self._accept(reader, writer)

    async def listen(self, accept: Accept) -> None:
        """Take those who call."""
        self._accept = accept

    async def places(self) -> Collection[str]:
        """Names of the gateways that run and can be called."""
        return [name for name, address in self._roster.live.items() if address and name != self._roster.name]

    async def connect(self, place: str) -> Stream:
        """Call a gateway. Raises OSError."""
        host, _, port = self._roster.live.get(place, "").rpartition(":")
        if not host:
            raise OSError(f"gateway {place} does not run")
        return await dial.service_on_host((host.strip("[]"), int(port)), self._identity, SERVICE, CONNECT_TIMEOUT)

    async def close(self) -> None:
        """Take nobody any more."""
        self._accept = None
