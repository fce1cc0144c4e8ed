"""The public discovery service, which configurations name at first, as far as machines of one process go.

It is never called: machines made of software are no business of anybody else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nodeagent.simulator.mesh import Affiliate, Cluster, Service, Spec

ENDPOINT = "discovery.talos.dev:443"
TTL = 1800.0
"""Seconds that it remembers a machine that went silent."""


@dataclass(frozen=True)
class Described:
    """An affiliate that nobody reads but machines."""

    spec: Spec

    @property
    def node_id(self) -> str:
        return str(self.spec["nodeId"])


class PublicService:
    """Who is in which cluster. Of one that has another secret a machine can read nothing: to it they are not there."""

    def __init__(self) -> None:
        self._clusters: dict[tuple[Service, Cluster], _Room] = {}

    def client(self, service: Service, cluster: Cluster, node_id: str, changed: Callable[[], None]) -> PublicClient:
        """A client of a service that is played here; services know nothing of each other."""
        return PublicClient(self._clusters.setdefault((service, cluster), _Room()), node_id, changed)


class _Room:
    """The affiliates of one cluster."""

    def __init__(self) -> None:
        self.affiliates: dict[str, Affiliate] = {}
        self.watchers: set[PublicClient] = set()
        self._expiry: dict[str, asyncio.TimerHandle] = {}

    def put(self, affiliate: Affiliate) -> None:
        self._stay(affiliate.node_id)
        self.affiliates[affiliate.node_id] = affiliate
        self._tell(affiliate.node_id)

    def remove(self, node_id: str) -> None:
        self._stay(node_id)
        if self.affiliates.pop(node_id, None) is not None:
            self._tell(node_id)

    def fall_silent(self, node_id: str) -> None:
        self._stay(node_id)
        self._expiry[node_id] = asyncio.get_running_loop().call_later(TTL, self.remove, node_id)

    def _stay(self, node_id: str) -> None:
        if timer := self._expiry.pop(node_id, None):
            timer.cancel()

    def _tell(self, node_id: str) -> None:
        for watcher in self.watchers:
            if watcher.node_id != node_id:
                watcher.changed()


class PublicClient:
    """Implements `DiscoveryClient`. Endpoints at which machines see others are not kept."""

    public_address = ""

    def __init__(self, room: _Room, node_id: str, changed: Callable[[], None]) -> None:
        self._room, self.node_id, self.changed = room, node_id, changed
        self._affiliate: Affiliate | None = None

    @property
    def affiliates(self) -> Mapping[str, Affiliate]:
        return {id: affiliate for id, affiliate in self._room.affiliates.items() if id != self.node_id}

    def publish(self, affiliate: Affiliate, seen: Mapping[str, Sequence[str]]) -> None:
        if self._affiliate is None or affiliate.spec != self._affiliate.spec:
            self._affiliate = affiliate
            self._room.put(affiliate)

    async def run(self) -> None:
        self._room.watchers.add(self)
        self.changed()
        try:
            await asyncio.Event().wait()
        finally:
            self._room.watchers.discard(self)
            self._room.fall_silent(self.node_id)

    async def leave(self) -> None:
        self._room.remove(self.node_id)
