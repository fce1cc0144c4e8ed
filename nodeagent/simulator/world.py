"""What the machines of one process share: who can be reached where, etcd clusters, which Kubernetes APIs answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nodeagent.simulator import resources
from nodeagent.simulator.etcd import EtcdCluster, EtcdRegistry
from talos.resources import types

if TYPE_CHECKING:
    from nodeagent.simulator.api import ApiServer
    from nodeagent.simulator.boot import Boot


class World:
    """`api` is the gRPC server behind all machines' APIs."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self.etcd = EtcdRegistry()
        self._boots: set[Boot] = set()
        self._kubernetes: dict[str, dict[Boot, EtcdCluster]] = {}
        self._changed = asyncio.Condition()

    def find(self, target: str) -> Boot | None:
        """The running machine with this address or host name."""
        return next((boot for boot in self._boots if target in boot.addresses or target == boot.hostname), None)

    def enter(self, boot: Boot) -> None:
        self._boots.add(boot)

    def leave(self, boot: Boot) -> None:
        self._boots.discard(boot)
        for servers in self._kubernetes.values():
            servers.pop(boot, None)
        self.discover(boot.config.cluster_id)

    async def kubernetes_up(self, authority: str, boot: Boot, cluster: EtcdCluster) -> None:
        """A control plane of the cluster with this Kubernetes authority serves its API."""
        self._kubernetes.setdefault(authority, {})[boot] = cluster
        async with self._changed:
            self._changed.notify_all()

    async def kubernetes(self, authority: str) -> EtcdCluster:
        """Wait for a Kubernetes API of this authority."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._kubernetes.get(authority)))
        return next(iter(self._kubernetes[authority].values()))

    def discover(self, cluster_id: str) -> None:
        """Tell every member of a cluster about all of them."""
        members = self.members(cluster_id)
        known = {boot.hostname: resources.member(boot) for boot in members}
        for boot in members:
            for stale in boot.store.list(types.MEMBER):
                if stale.id not in known:
                    boot.store.remove(types.MEMBER, stale.id)
            for name, spec in known.items():
                boot.put(types.MEMBER, spec, name)

    def members(self, cluster_id: str) -> list[Boot]:
        """Running machines of a cluster, as discovery shows them."""
        return [boot for boot in self._boots if cluster_id and boot.config.cluster_id == cluster_id]
