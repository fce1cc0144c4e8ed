"""How a configured machine finds the others of its cluster: it tells each discovery service of its configuration about
itself, and hears from each about the others.
"""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nodeagent.ending import end
from nodeagent.simulator.configuration import Configuration
from nodeagent.simulator.mesh import Affiliate, Cluster, DiscoveryClient, Service
from nodeagent.simulator.store import Specs
from talos.resources import types

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

RAW = "cluster-raw"
PAUSE = 0.05
"""Seconds in which changes gather before they are looked at: a service tells of many machines one by one."""
PAUSE_EACH = 0.004
"""The same for each machine that is known: who knows many takes longer to look."""
FAREWELL = 5.0
"""Seconds that services may take to forget a machine."""


@dataclass(frozen=True)
class _Registration:
    """A client and the task that runs it."""

    client: DiscoveryClient
    task: asyncio.Task[Any]


class Discovery:
    """Discovery on one boot, from `run` on."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._registrations: dict[tuple[Service, Cluster], _Registration] = {}
        self._config: Configuration | None = None
        self._wake = asyncio.Event()
        self._leaving = False
        self._local: Affiliate | None = None
        self.affiliates: dict[str, Affiliate] = {}
        """The others, by node id; another object after they changed."""
        store = boot.store
        self._derived = (
            store.derive(types.AFFILIATE, self._raw, RAW),
            store.derive(types.AFFILIATE, self._merged),
            store.derive(types.MEMBER, self._members),
        )

    @property
    def public_address(self) -> str:
        """Where the first service that says so sees this machine: behind a translator of addresses, at that."""
        found = (one.client.public_address for one in self._registrations.values())
        address = next((address for address in found if address), "")
        machine = self._boot.machine
        outside = machine.world.underlay.faults.nat.get(machine.hardware.uuid)
        return outside.rpartition(":")[0].strip("[]") if address and outside else address

    def wake(self) -> None:
        """Something changed that affiliates follow from."""
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            if not self._leaving:
                await self._update()
            await self._wake.wait()
            await asyncio.sleep(PAUSE + PAUSE_EACH * len(self.affiliates))

    async def leave(self) -> None:
        """Have every service forget this machine, as far as they answer, and tell them nothing any more."""
        self._leaving = True
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await asyncio.gather(*(registration.client.leave() for registration in self._registrations.values()))

    async def _update(self) -> None:
        boot, config = self._boot, self._boot.config
        if config is not self._config:
            self._config = config
            boot.put(types.INFO, {"clusterId": config.cluster_id, "clusterName": config.cluster_name})
            boot.put(types.DISCOVERY_CONFIG, discovery_config(boot))
            await self._register()
        self._publish_address()
        self._local = boot.machine.world.affiliate(local_affiliate(boot)) if config.discovery_enabled else None
        if self._local is not None:
            for registration in self._registrations.values():
                registration.client.publish(self._local, boot.kubespan.seen())
        affiliates = {
            id: affiliate
            for registration in self._registrations.values()
            for id, affiliate in registration.client.affiliates.items()
            if id != boot.node_id
        }
        if affiliates != self.affiliates:
            self.affiliates = affiliates
        for collection in self._derived:
            collection.changed()
        boot.kubespan.wake()

    async def _register(self) -> None:
        """Have a client for each configured service, and no others."""
        boot, config = self._boot, self._boot.config
        cluster = config.discovery_identity
        wanted = dict.fromkeys((service, cluster) for service in config.discovery_services) if cluster else {}
        gone = [self._registrations.pop(key) for key in self._registrations.keys() - wanted.keys()]
        await end(registration.task for registration in gone)
        for service, identity in wanted.keys() - self._registrations.keys():
            client = boot.machine.world.discovery_client(boot, service, identity, self.wake)
            task = boot.spawn(client.run(), f"discovery service {service.name}")
            self._registrations[service, identity] = _Registration(client, task)
        self._registrations = {key: self._registrations[key] for key in wanted}

    def _publish_address(self) -> None:
        address = self.public_address
        if not address:
            return
        spec = {
            "address": f"{address}/{128 if ':' in address else 32}",
            "family": "inet6" if ":" in address else "inet4",
            "scope": "global",
        }
        self._boot.store.put(types.ADDRESS_STATUS, spec, "service", namespace="cluster")

    # --- resources

    def _raw(self) -> Specs:
        return {f"service/{id}": affiliate.spec for id, affiliate in self.affiliates.items()}

    def _merged(self) -> Specs:
        local = {self._local.node_id: self._local.spec} if self._local else {}
        return local | {id: affiliate.spec for id, affiliate in self.affiliates.items()}

    def _members(self) -> Specs:
        return {str(spec["nodename"]): member(spec) for spec in self._merged().values() if spec.get("nodename")}


def discovery_config(boot: Boot) -> dict[str, Any]:
    """The spec of DiscoveryConfig. Talos 1.14 has a list of services, and tells the first one in the old way too."""
    config = boot.config
    identity, services = config.discovery_identity, config.discovery_services
    spec: dict[str, Any] = {}
    if boot.minor < (1, 14):
        spec["discoveryEnabled"] = config.discovery_enabled
    else:
        spec["serviceEndpoints"] = [
            {"name": service.name, "endpoint": service.endpoint, "insecure": service.insecure} for service in services
        ]
    if services and identity:
        spec |= {
            "registryServiceEnabled": True,
            "serviceEndpoint": services[0].endpoint,
            "serviceEndpointInsecure": services[0].insecure,
            "serviceEncryptionKey": list(base64.b64decode(identity.secret)),
            "serviceClusterID": identity.id,
        }
    return spec


def local_affiliate(boot: Boot) -> dict[str, Any]:
    """What a machine tells about itself."""
    config = boot.config
    spec: dict[str, Any] = {
        "nodeId": boot.node_id,
        "addresses": boot.routed_addresses,
        "hostname": boot.hostname,
        "nodename": boot.hostname,
        "machineType": str(config.machine_type),
        "operatingSystem": f"Talos ({boot.version})",
    }
    if part := boot.kubespan.affiliate():
        spec["kubespan"] = part
    if config.machine_type.is_control_plane:
        spec["controlPlane"] = {"port": config.api_server_port}
    return spec


def member(affiliate: Any) -> dict[str, Any]:
    """An affiliate with a node name as a member of the cluster."""
    shared = ("nodeId", "addresses", "hostname", "machineType", "operatingSystem", "controlPlane")
    return {key: affiliate[key] for key in shared if key in affiliate}
