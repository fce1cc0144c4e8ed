"""A node of a mesh: publishes itself, follows the others, and keeps WireGuard as Talos would."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from kubespan.affiliates import Address, Affiliate, Endpoint, KubeSpanPart, Network, Prefix
from kubespan.client import DiscoveryClient
from kubespan.crypto import ClusterKey
from kubespan.node import endpoints, host, routing, wireguard
from kubespan.node.endpoints import Filter, select
from kubespan.node.identity import Identity
from kubespan.node.specs import PeerSpec, peer_specs
from kubespan.node.status import TIMING, PeerStatus, State, Timing, advance, routed
from kubespan.node.wireguard import Interface, Kind

SETTLE = 0.1
"""Seconds to wait for more changes before they are taken over together."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a node is told. `service` is a URL; where names are Talos', so are meanings and defaults."""

    service: str
    cluster_id: str
    secret: bytes
    roots: Path | None = None
    hostname: str = ""
    nodename: str = ""
    operating_system: str = ""
    interface: str = "kubespan"
    kind: Kind = Kind.KERNEL
    port: int = endpoints.PORT
    mtu: int = 1420
    address_filters: tuple[Filter, ...] = ()
    """Which of its addresses others reach through the tunnel."""
    endpoint_filters: tuple[Filter, ...] = ()
    extra_endpoints: tuple[Endpoint, ...] = ()
    additional_addresses: tuple[Prefix, ...] = ()
    exclude_advertised_networks: tuple[Prefix, ...] = ()
    allow_down_peer_bypass: bool = False
    harvest_extra_endpoints: bool = False

    def __repr__(self) -> str:
        return f"Settings({self.service}, {self.interface})"


class Daemon:
    """One node. `specs` and `statuses` say how it sees the others, after each pass."""

    def __init__(self, settings: Settings, identity: Identity, timing: Timing = TIMING) -> None:
        """Raises ValueError for a service that is none."""
        self.timing = timing
        self.specs: list[PeerSpec] = []
        self.statuses: dict[str, PeerStatus] = {}
        self._names: dict[str, str] = {}
        self._settings, self._identity = settings, identity
        self._address = identity.address(settings.cluster_id)
        self._host_addresses: list[Address] = []
        self._due = asyncio.Event()
        self._steered: list[Network] | None = None
        self._client = DiscoveryClient(
            settings.service,
            settings.cluster_id,
            ClusterKey(settings.secret),
            identity.node_id,
            changed=self._due.set,
            roots=settings.roots,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Be in the mesh until `stop` is set, then leave it. Raises OSError when it cannot go on."""
        settings = self._settings
        interface = await Interface.open(
            settings.interface,
            settings.kind,
            private_key=self._identity.private_key,
            secret=settings.secret,
            address=self._address,
            port=settings.port,
            mtu=settings.mtu,
        )
        try:
            await routing.up(settings.interface, settings.mtu)
            self._host_addresses = await host.addresses(without=interface.name)
            log.info("node %s with address %s", self._identity.node_id, self._address)
            await self._work(interface, stop)
        finally:
            await routing.down(settings.interface)
            await interface.close()

    async def _work(self, interface: Interface, stop: asyncio.Event) -> None:
        with host.watched(self._due.set):
            working = [
                asyncio.create_task(self._client.run()),
                asyncio.create_task(self._passes(interface)),
                asyncio.create_task(interface.watch()),
            ]
            stopping = asyncio.create_task(stop.wait())
            try:
                done, _ = await asyncio.wait([stopping, *working], return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                await self._leave()
            finally:
                for task in (stopping, *working):
                    task.cancel()
                await asyncio.gather(stopping, *working, return_exceptions=True)

    async def _leave(self) -> None:
        try:
            await self._client.leave()
        except TimeoutError:
            log.warning("the discovery service cannot be told that this node leaves: it forgets it within half an hour")

    async def _passes(self, interface: Interface) -> None:
        """Take over what is known of the others, when it changed and from time to time."""
        while True:
            self._due.clear()
            await self._look_around(interface)
            await self._pass(interface)
            self._publish()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.timing.between):
                    await self._due.wait()
            await asyncio.sleep(SETTLE)

    async def _look_around(self, interface: Interface) -> None:
        """Take over the host's addresses; with others than before, connections begin anew."""
        found = await host.addresses(without=interface.name)
        if found != self._host_addresses:
            log.info("addresses are now %s", ", ".join(map(str, found)) or "none")
            self._host_addresses = found
            await interface.forget_sources()
            self._client.reconnect()

    async def _pass(self, interface: Interface) -> None:
        others = {other.affiliate.node_id: other for other in self._client.affiliates.values()}
        specs = peer_specs(others.values(), self._identity.node_id)
        self.specs = [spec for spec in specs if spec.public_key != self._identity.public_key]
        for spec in self.specs:
            self._names[spec.public_key] = spec.label or others[spec.node_id].affiliate.hostname or spec.node_id
        present = await interface.peers()
        before = self.statuses
        self.statuses = advance(before, self.specs, wireguard.observed(present), time.time(), self.timing)
        networks = routed(self.specs, self.statuses, only_up=self._settings.allow_down_peer_bypass)
        if networks != self._steered:  # before there is a peer: nothing to it shall leave in plain
            await routing.steer(self._settings.interface, networks, self._settings.mtu)
            self._steered = networks
        await interface.apply(*wireguard.changes(wireguard.wanted(self.specs, self.statuses), present))
        self._tell(before)

    def _publish(self) -> None:
        settings, client = self._settings, self._client
        part = KubeSpanPart(
            self._identity.public_key,
            self._address,
            settings.additional_addresses,
            settings.exclude_advertised_networks,
        )
        affiliate = Affiliate(
            self._identity.node_id,
            tuple(select(endpoints.outside(self._host_addresses, self._address), settings.address_filters)),
            settings.hostname,
            settings.nodename,
            "worker",
            settings.operating_system,
            part,
        )
        own = endpoints.own(
            self._host_addresses,
            kubespan=self._address,
            public=[client.public_address] if client.public_address else [],
            filters=settings.endpoint_filters,
            extra=settings.extra_endpoints,
            port=settings.port,
        )
        client.publish(affiliate, own, self._harvest() if settings.harvest_extra_endpoints else {})

    def _harvest(self) -> dict[str, tuple[Endpoint, ...]]:
        """Where this node sees the others that are up, by their node ids."""
        return {
            spec.node_id: (status.observed.endpoint,)
            for spec in self.specs
            if (status := self.statuses[spec.public_key]).state is State.UP and status.observed.endpoint is not None
        }

    def _tell(self, before: dict[str, PeerStatus]) -> None:
        """Log who came, left, is up or down now."""
        for key, status in self.statuses.items():
            name = self._names[key]
            if key not in before:
                log.info("peer %s is new", name)
            if status.state is not State.UNKNOWN and (key not in before or before[key].state is not status.state):
                log.info("peer %s is %s, endpoint %s", name, status.state, status.observed.endpoint or "none")
        for key in before.keys() - self.statuses.keys():
            log.info("peer %s left", self._names.pop(key))
