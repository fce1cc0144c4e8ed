"""Discovery services in one process that know of each other, over streams that can be cut, held up, and looked at."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field

from kubespan.discovery.core import Discovery
from kubespan.discovery.replicas.link import Stream
from kubespan.discovery.replicas.places import Accept
from kubespan.discovery.replicas.replicas import Replicas
from talos.gen.sidero import discovery_pb2 as pb

TIMEOUT = 20.0


@dataclass
class Wires:
    """Streams between services, by their names."""

    servers: dict[str, asyncio.Server] = field(default_factory=dict)
    cut: set[frozenset[str]] = field(default_factory=set)
    open: list[tuple[frozenset[str], asyncio.StreamWriter]] = field(default_factory=list)
    together: int = 1
    """Services look for others only when so many listen."""

    def split(self, ones: Collection[str], others: Collection[str]) -> None:
        """Nothing goes between these and those any more."""
        self.cut |= {frozenset((one, other)) for one in ones for other in others}
        for pair, writer in self.open:
            if pair in self.cut:
                writer.transport.abort()

    def heal(self) -> None:
        """All may speak again."""
        self.cut.clear()


class Neighbour:
    """One service's end of the wires."""

    def __init__(self, wires: Wires, name: str) -> None:
        self._wires, self._name = wires, name

    async def listen(self, accept: Accept) -> None:
        self._wires.servers[self._name] = await asyncio.start_server(accept, "127.0.0.1", 0)

    async def places(self) -> Collection[str]:
        await eventually(lambda: len(self._wires.servers) >= self._wires.together)
        return list(self._wires.servers)

    async def connect(self, place: str) -> Stream:
        pair = frozenset((self._name, place))
        if pair in self._wires.cut:
            raise OSError("the wire is cut")
        stream = await asyncio.open_connection(*self._wires.servers[place].sockets[0].getsockname()[:2])
        self._wires.open.append((pair, stream[1]))
        return stream

    async def close(self) -> None:
        self._wires.servers.pop(self._name).close()


class Service:
    """A service of the circle, as its clients see it."""

    def __init__(self, wires: Wires, name: str) -> None:
        self.name = name
        self.core = Discovery(collect_every=0.2)
        self.replicas = Replicas(self.core, name, Neighbour(wires, name))
        self.core.orderer = self.replicas

    @property
    def linked(self) -> set[str]:
        """Who else is known to serve."""
        return {link.name for link in self.replicas.meeting.links.values() if link.serving}

    async def update(
        self, affiliate: str, data: bytes = b"", *endpoints: bytes, ttl: float = 60, cluster: str = "c"
    ) -> None:
        request = pb.AffiliateUpdateRequest(
            cluster_id=cluster, affiliate_id=affiliate, affiliate_data=data, affiliate_endpoints=endpoints
        )
        request.ttl.FromNanoseconds(int(ttl * 1e9))
        await asyncio.wait_for(self.core.write(request), TIMEOUT)

    async def delete(self, affiliate: str, cluster: str = "c") -> None:
        request = pb.AffiliateDeleteRequest(cluster_id=cluster, affiliate_id=affiliate)
        await asyncio.wait_for(self.core.write(request), TIMEOUT)

    def seen(self, cluster: str = "c") -> dict[str, tuple[bytes, set[bytes]]]:
        """Affiliates with data and endpoints."""
        listing = pb.ListResponse.FromString(self.core.state.listing(cluster))
        return {one.id: (one.data, set(one.endpoints)) for one in listing.affiliates}


@contextlib.asynccontextmanager
async def circle(*names: str) -> AsyncIterator[tuple[Wires, list[Service]]]:
    """Services that serve, each linked with all others."""
    wires = Wires()
    services = [Service(wires, name) for name in names]
    try:
        for service in services:
            await asyncio.wait_for(service.core.start(), TIMEOUT)
        await eventually(lambda: all(len(service.linked) == len(names) - 1 for service in services))
        await copied(services)
        yield wires, services
    finally:
        for service in services:
            await asyncio.wait_for(service.core.close(), TIMEOUT)


async def copied(services: Collection[Service]) -> None:
    """All have what the others had when they were linked."""
    for service in services:
        for link in list(service.replicas.meeting.links.values()):
            await asyncio.wait_for(link.settled.wait(), TIMEOUT)


async def eventually(holds: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds, which no event tells of."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            result = holds()
            if await result if isinstance(result, Awaitable) else result:
                return
            await asyncio.sleep(0.01)
