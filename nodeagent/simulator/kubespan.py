"""KubeSpan on a configured machine: its key and address, and its peers, as far as the world knows of meshes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Interface
from typing import TYPE_CHECKING, Any

from nodeagent.simulator import resources
from nodeagent.simulator.configuration import Configuration
from nodeagent.simulator.mesh import Cluster, Peers
from nodeagent.simulator.store import Specs
from nodeagent.simulator.underlay import Device
from nodeagent.wireguard.noise import Identity
from talos import semver
from talos.config.kubespan import DEFAULT_MTU, EXCLUDES_SINCE, KubeSpan
from talos.resources import types

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

LINK = "kubespan"
_OFF = KubeSpan(enabled=False)


@dataclass(frozen=True)
class Station:
    """What a machine is in a mesh as long as none of it changes. Keys are base64."""

    cluster: Cluster
    address: str
    public_key: str
    private_key: str = field(repr=False)

    @property
    def identity(self) -> Mapping[str, str]:
        """The spec of KubeSpanIdentity."""
        return {
            "address": f"{self.address}/128",
            "subnet": str(IPv6Interface(f"{self.address}/64").network),
            "privateKey": self.private_key,
            "publicKey": self.public_key,
        }


class KubeSpanNode:
    """KubeSpan on one boot, from `run` on.

    A peer that is up is not looked at again before something could end that, or somebody asks: nothing happens but that
    its times and counters go on.
    """

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._wake = asyncio.Event()
        self._config: Configuration | None = None
        self._wanted: Station | None = None
        """What follows from that."""
        self._station: Station | None = None
        self._device: Device | None = None
        self._peers: Peers | None = None
        self._followed: object = None
        self._generation = -1
        """The device's when everybody was last looked at."""
        self._all_up = False
        self._harvested: Mapping[str, list[str]] = {}
        store = boot.store
        self._specs = store.derive(types.KUBESPAN_PEER_SPEC, lambda: self._peers.specs() if self._peers else {})
        self._statuses = store.derive(types.KUBESPAN_PEER_STATUS, self._read_statuses)
        self._endpoints = store.derive(types.KUBESPAN_ENDPOINT, self._seen)

    @property
    def address(self) -> str | None:
        """This machine's address in the mesh, while it is in one."""
        return self._station.address if self._station else None

    def wake(self) -> None:
        """Something changed that peers follow from."""
        self._wake.set()

    def affiliate(self) -> dict[str, Any] | None:
        """What this machine tells others about its place in the mesh, as in a resource of type Affiliate."""
        boot, station, mesh = self._boot, self._station, self._boot.machine.world.mesh
        if station is None or mesh is None:
            return None
        settings = boot.config.kubespan or _OFF
        public = boot.discovery.public_address
        try:
            endpoints = mesh.endpoints(
                boot.own_addresses,
                own=station.address,
                public=[public] if public else [],
                filters=settings.endpoint_filters,
                extra=boot.config.extra_endpoints,
            )
        except ValueError as error:
            boot.kernel_log.talos(f"controller failed cluster.LocalAffiliateController: {error}", priority="err")
            endpoints = []
        advertised = boot.pod_networks if settings.advertise_kubernetes_networks else []
        excluded = settings.exclude_networks if semver.parse(boot.version).core >= EXCLUDES_SINCE else ()
        return {
            "publicKey": station.public_key,
            "address": station.address,
            "additionalAddresses": list(advertised),
            "endpoints": endpoints,
            "excludeAdvertisedNetworks": list(excluded),
        }

    def seen(self) -> Mapping[str, list[str]]:
        """Endpoints at which this machine sees others, by node id, if its configuration has it tell."""
        found: dict[str, list[str]] = {}
        for spec in self._seen().values():
            found.setdefault(str(spec["affiliateID"]), []).append(str(spec["endpoint"]))
        return found

    async def run(self) -> None:
        timings = self._boot.machine.timings
        try:
            while True:
                self._wake.clear()
                self._update()
                with suppress(TimeoutError):
                    async with asyncio.timeout(timings.kubespan if self._station else None):
                        await self._wake.wait()
        finally:
            self._leave()

    def _update(self) -> None:
        """Be in the mesh that the configuration names, and make a pass."""
        boot = self._boot
        if boot.config is not self._config:
            self._config = boot.config
            self._wanted = self._station_of(boot.config)
            boot.put(types.KUBESPAN_CONFIG, kubespan_config(boot))
        wanted = self._wanted
        if wanted != self._station:
            self._leave()
            if wanted is not None:
                self._join(wanted)
            boot.publish_addresses()
            boot.discovery.wake()
        if self._peers is not None and self._device is not None:
            self._device.move(boot.own_addresses)
            self._pass(self._peers, self._device)

    def _station_of(self, config: Configuration) -> Station | None:
        boot = self._boot
        mesh, cluster = boot.machine.world.mesh, config.discovery_identity
        if mesh is None or cluster is None or config.kubespan is None or not config.kubespan.enabled:
            return None
        private, public = key_of(boot.machine.hardware.serial, boot.node_id)
        return Station(cluster, mesh.address(cluster.id, boot.machine.hardware.mac), public, private)

    def _join(self, station: Station) -> None:
        boot, world = self._boot, self._boot.machine.world
        assert world.mesh is not None, "there is a station"
        self._station = station
        self._device = world.underlay.up(boot.machine.hardware.uuid, station.public_key, station.cluster.secret)
        self._peers = world.mesh.peers(station.cluster, boot.node_id, self._device)
        boot.put(types.KUBESPAN_IDENTITY, station.identity)
        settings = boot.config.kubespan or _OFF
        boot.publish(resources.wireguard_link(LINK, settings.mtu or DEFAULT_MTU))

    def _leave(self) -> None:
        boot = self._boot
        if self._station is None or self._device is None:
            return
        boot.machine.world.underlay.down(self._device)
        boot.store.remove(types.KUBESPAN_IDENTITY)
        boot.store.remove(types.LINK_STATUS, LINK)
        boot.store.remove(types.ADDRESS_STATUS, f"{LINK}/{self._station.address}/64")
        self._station = self._device = self._peers = self._followed = None
        self._generation, self._harvested = -1, {}
        for collection in (self._specs, self._statuses, self._endpoints):
            collection.changed()

    def _pass(self, peers: Peers, device: Device) -> None:
        affiliates = self._boot.discovery.affiliates
        if affiliates is not self._followed:
            self._followed = affiliates
            peers.follow(affiliates.values())
            self._specs.changed()
            self._all_up = False
        disturbed = device.generation < 0 or device.generation != self._generation
        if disturbed or not self._all_up:
            self._look(peers, device, everybody=disturbed)
            if (harvested := self.seen()) != self._harvested:
                self._harvested = harvested
                self._boot.discovery.wake()
        self._statuses.changed()
        self._endpoints.changed()

    def _look(self, peers: Peers, device: Device, *, everybody: bool) -> None:
        now = self._boot.now()
        generation = device.generation
        self._all_up = peers.look(now, everybody=everybody)
        if everybody:
            self._generation = generation

    # --- resources

    def _read_statuses(self) -> Specs:
        if self._peers is None or self._device is None:
            return {}
        self._look(self._peers, self._device, everybody=True)
        return self._peers.statuses()

    def _seen(self) -> Specs:
        settings = self._boot.config.kubespan
        return self._peers.seen() if self._peers and settings and settings.harvest else {}


@lru_cache(4096)
def key_of(serial: str, node_id: str) -> tuple[str, str]:
    """Private and public key of a machine's device, base64: they come and go with its identity, and hide nothing."""
    private = hashlib.sha256(f"{serial} {node_id}".encode()).digest()
    return base64.b64encode(private).decode(), base64.b64encode(Identity(private).public).decode()


def kubespan_config(boot: Boot) -> dict[str, Any]:
    """The spec of KubeSpanConfig."""
    settings, cluster = boot.config.kubespan, boot.config.discovery_identity
    if settings is None:
        return {}
    return {
        "enabled": settings.enabled,
        "clusterId": boot.config.cluster_id,
        "sharedSecret": cluster.secret if cluster else "",
        "forceRouting": not settings.allow_down_peer_bypass,
        "advertiseKubernetesNetworks": settings.advertise_kubernetes_networks,
        "mtu": settings.mtu or DEFAULT_MTU,
        "endpointFilters": list(settings.endpoint_filters),
        "harvestExtraEndpoints": settings.harvest,
        "extraEndpoints": list(boot.config.extra_endpoints),
        "excludeAdvertisedNetworks": list(settings.exclude_networks),
    }
