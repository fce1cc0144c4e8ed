"""What machines need of somebody who knows discovery and KubeSpan; the simulator itself knows neither.

Without it they find each other inside the process (`publicservice.py`), and their configuration can turn KubeSpan on
as much as it likes: nothing comes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Spec = Mapping[str, Any]
"""Of a resource, in the shape of its YAML form."""

Dial = Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Connects from a machine, over its link to addresses of the overlay. Raises OSError."""


@dataclass(frozen=True)
class Cluster:
    """What a configuration says of a cluster's identity; `secret` is base64."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Service:
    """A discovery service of a configuration: a name, HOST:PORT, and whether it is called without TLS."""

    name: str
    endpoint: str
    insecure: bool

    @property
    def url(self) -> str:
        return f"{'http' if self.insecure else 'https'}://{self.endpoint}"


class Affiliate(Protocol):
    """A node as it describes itself."""

    @property
    def node_id(self) -> str: ...

    @property
    def spec(self) -> Spec:
        """As a resource of type Affiliate."""


class DiscoveryClient(Protocol):
    """A boot's client of one discovery service."""

    @property
    def affiliates(self) -> Mapping[str, Affiliate]:
        """The others of the cluster, by node id."""

    @property
    def public_address(self) -> str:
        """Where the service sees this machine; empty if it does not say."""

    def publish(self, affiliate: Affiliate, seen: Mapping[str, Sequence[str]]) -> None:
        """From now on; `seen` are endpoints at which this machine sees others, by node id."""

    async def run(self) -> None:
        """Follow the service until cancelled."""

    async def leave(self) -> None:
        """Have the service forget this machine, while `run` runs. Raises TimeoutError, or goes on trying."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A peer as WireGuard tells of it: endpoint (empty: none), time of the last handshake (0: never), bytes."""

    endpoint: str
    handshake: float
    received: int
    sent: int


class Wire(Protocol):
    """A machine's WireGuard device for KubeSpan. Peers go by their public keys."""

    def configure(self, endpoints: Mapping[str, str]) -> None:
        """Have these peers too, each at an endpoint or (empty) at the one that it has."""

    def drop(self, keys: Iterable[str]) -> None:
        """Have these peers no more."""

    def read(self, keys: Iterable[str]) -> Mapping[str, Seen]:
        """Of these peers those that it has."""


class Peers(Protocol):
    """The other machines of one that has KubeSpan: what WireGuard is told of each, and how they are.

    Times are seconds since 1970 by the clock of that machine.
    """

    def follow(self, affiliates: Iterable[Affiliate]) -> None:
        """These are the others now."""

    def look(self, now: float, *, everybody: bool) -> bool:
        """One pass: how the peers are, and other endpoints for those that do not answer. Whether all are up.

        Without `everybody` those that were up are taken to be so still.
        """

    def specs(self) -> Mapping[str, Spec]:
        """Resources of type KubeSpanPeerSpec, by public key."""

    def statuses(self) -> Mapping[str, Spec]:
        """Resources of type KubeSpanPeerStatus, by public key."""

    def seen(self) -> Mapping[str, Spec]:
        """Resources of type KubeSpanEndpoint, by public key: endpoints of the peers that are up."""


class Mesh(Protocol):
    """Implemented above this room."""

    def new_node_id(self) -> str:
        """For a machine that has none."""

    def machine_id(self, node_id: str) -> str:
        """What is in `/etc/machine-id` then."""

    def affiliate(self, spec: Spec) -> Affiliate:
        """From a resource of type Affiliate."""

    def client(
        self,
        service: Service,
        cluster: Cluster,
        node_id: str,
        *,
        version: str,
        roots: Callable[[], bytes],
        dial: Dial,
        changed: Callable[[], None],
    ) -> DiscoveryClient:
        """A client that calls `changed` after its affiliates or its public address changed. `roots` are certificates
        (PEM) that count beside the system's, asked for at each connection.

        Raises ValueError when the cluster's secret is none.
        """

    def address(self, cluster_id: str, mac: bytes) -> str:
        """The KubeSpan address of a machine."""

    def endpoints(
        self, addresses: Sequence[str], *, own: str, public: Sequence[str], filters: Sequence[str], extra: Sequence[str]
    ) -> list[str]:
        """What a machine announces of its addresses and the `public` ones at which others see it, as IP:PORT.

        `own` is its address in the mesh. Raises ValueError for a filter or endpoint that is none.
        """

    def peers(self, cluster: Cluster, node_id: str, wire: Wire) -> Peers:
        """Of the machine with this node id and device."""
