"""What the machines of one process share: who can be reached where, how they find each other, etcd clusters, which
Kubernetes APIs answer.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from nodeagent.simulator import publicservice
from nodeagent.simulator.etcd import EtcdCluster, EtcdRegistry
from nodeagent.simulator.mesh import Affiliate, Cluster, DiscoveryClient, Mesh, Service, Spec
from nodeagent.simulator.publicservice import Described, PublicService
from nodeagent.simulator.underlay import Underlay

if TYPE_CHECKING:
    from nodeagent.simulator.api import ApiServer
    from nodeagent.simulator.boot import Boot

NODE_ID_SIZE = 32
"""Random bytes of a discovery identity."""


class World:
    """`api` is the gRPC server behind all machines' APIs, `mesh` who knows how nodes find each other."""

    def __init__(self, api: ApiServer, mesh: Mesh | None = None) -> None:
        self.api = api
        self.mesh = mesh
        self.underlay = Underlay()
        self._public = PublicService()
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

    # --- discovery

    def new_node_id(self) -> str:
        """The discovery identity of a machine that has none."""
        return self.mesh.new_node_id() if self.mesh else secrets.token_hex(NODE_ID_SIZE)

    def machine_id(self, node_id: str) -> str:
        """What is in `/etc/machine-id` of the machine with this identity."""
        return self.mesh.machine_id(node_id) if self.mesh else node_id[:NODE_ID_SIZE]

    def affiliate(self, spec: Spec) -> Affiliate:
        """A machine that is described by a resource of type Affiliate."""
        return self.mesh.affiliate(spec) if self.mesh else Described(spec)

    def discovery_client(
        self, boot: Boot, service: Service, cluster: Cluster, changed: Callable[[], None]
    ) -> DiscoveryClient:
        """A client of a service. Without somebody who knows discovery all are inside the process, as the public one
        always is.
        """
        if self.mesh is None or service.endpoint == publicservice.ENDPOINT:
            return self._public.client(service, cluster, boot.node_id, changed)
        return self.mesh.client(
            service,
            cluster,
            boot.node_id,
            version=boot.version,
            roots=lambda: boot.config.trusted_roots + (boot.machine.trusted_roots or b""),
            dial=boot.machine.dial,
            changed=changed,
        )

    def members(self, cluster_id: str) -> list[Boot]:
        """Running machines of a cluster: who its network reaches."""
        return [boot for boot in self._boots if cluster_id and boot.config.cluster_id == cluster_id]
