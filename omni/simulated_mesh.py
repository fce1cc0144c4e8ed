"""What simulated machines know of discovery services and KubeSpan: `kubespan/`, which their own room does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from ipaddress import ip_address, ip_interface
from typing import Any, cast

import grpc

from kubespan import address, client, nodeid
from kubespan.affiliates import Affiliate, ControlPlanePart, Endpoint, KubeSpanPart
from kubespan.crypto import ClusterKey, parse_secret
from kubespan.known import Discovered
from kubespan.node import endpoints
from kubespan.node.specs import AddressSet, PeerSpec, claims, peer_specs
from kubespan.node.status import Observed, PeerStatus, State, advance
from nodeagent import dial
from nodeagent.ending import end
from nodeagent.simulator import mesh
from nodeagent.simulator.mesh import Cluster, Dial, Service, Spec, Wire
from nodeagent.sockets import new_socket_path
from talos.machinetype import MachineType
from talos.resources.schema import ZERO_TIME


class SimulatedMesh:
    """Implements `mesh.Mesh`. Machines of one cluster share its key and what follows from what they all know."""

    def __init__(self) -> None:
        self._clusters: dict[Cluster, _Cluster] = {}

    def new_node_id(self) -> str:
        return nodeid.generate()

    def machine_id(self, node_id: str) -> str:
        return nodeid.machine_id(node_id)

    def affiliate(self, spec: Spec) -> mesh.Affiliate:
        return Described(_discovered(spec))

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
    ) -> mesh.DiscoveryClient:
        return Client(service, cluster.id, self._cluster(cluster).key, node_id, version, roots, dial, changed)

    def address(self, cluster_id: str, mac: bytes) -> str:
        return str(address.address(cluster_id, mac))

    def endpoints(
        self, addresses: Sequence[str], *, own: str, public: Sequence[str], filters: Sequence[str], extra: Sequence[str]
    ) -> list[str]:
        found = endpoints.own(
            map(ip_address, addresses),
            kubespan=ip_address(own),
            public=map(ip_address, public),
            filters=[endpoints.Filter.parse(text) for text in filters],
            extra=map(Endpoint.parse, extra),
        )
        return [str(endpoint) for endpoint in found]

    def peers(self, cluster: Cluster, node_id: str, wire: Wire) -> mesh.Peers:
        return Peers(self._cluster(cluster), node_id, wire)

    def _cluster(self, cluster: Cluster) -> _Cluster:
        if cluster not in self._clusters:
            self._clusters[cluster] = _Cluster(ClusterKey(parse_secret(cluster.secret)))
        return self._clusters[cluster]


@dataclass(frozen=True)
class Described:
    """Implements `mesh.Affiliate`."""

    discovered: Discovered

    @property
    def node_id(self) -> str:
        return self.discovered.affiliate.node_id

    @cached_property
    def spec(self) -> Spec:
        return _spec(self.discovered)


class Client:
    """Implements `mesh.DiscoveryClient`: one of discovery services whose connections the machine carries."""

    def __init__(
        self,
        service: Service,
        cluster_id: str,
        key: ClusterKey,
        node_id: str,
        version: str,
        roots: Callable[[], bytes],
        dial: Dial,
        changed: Callable[[], None],
    ) -> None:
        self._path = new_socket_path()
        self._tls, self._roots, self._dial = not service.insecure, roots, dial
        self._target = ""
        self._client = client.DiscoveryClient(
            service.url, cluster_id, key, node_id, changed=changed, version=version, connect=self._connect
        )
        self._described: dict[str, Described] = {}

    @property
    def affiliates(self) -> Mapping[str, mesh.Affiliate]:
        before, self._described = self._described, {}
        for found in self._client.affiliates.values():
            id = found.affiliate.node_id
            known = before.get(id)
            self._described[id] = known if known and known.discovered is found else Described(found)
        return self._described

    @property
    def public_address(self) -> str:
        return str(self._client.public_address or "")

    def publish(self, affiliate: mesh.Affiliate, seen: Mapping[str, Sequence[str]]) -> None:
        published = cast(Described, affiliate).discovered
        others = {id: [Endpoint.parse(text) for text in texts] for id, texts in seen.items()}
        self._client.publish(published.affiliate, published.endpoints, others)

    async def run(self) -> None:
        carrying: set[asyncio.Task[Any]] = set()

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            carrying.add(task)
            try:
                host, _, port = self._target.rpartition(":")
                await dial.join((reader, writer), await self._dial(host.strip("[]"), int(port)))
            except (OSError, asyncio.CancelledError):  # the end of this task; asyncio would report it
                writer.transport.abort()
            finally:
                carrying.discard(task)

        server = await asyncio.start_unix_server(carry, self._path)
        try:
            await self._client.run()
        finally:
            server.close()
            self._path.unlink(missing_ok=True)
            await end(carrying)

    async def leave(self) -> None:
        await self._client.leave()

    def _connect(self, target: str) -> grpc.aio.Channel:
        self._target = target
        return client.channel(f"unix:{self._path}", tls=self._tls, roots=self._roots(), authority=target)


class _Cluster:
    """What machines of one cluster share."""

    def __init__(self, key: ClusterKey) -> None:
        self.key = key
        self._forget()

    def _forget(self) -> None:
        self._known: dict[str, Discovered] = {}
        self._specs: dict[str, PeerSpec] = {}
        self._ids: dict[str, str] = {}  # by public key
        self._taken = AddressSet()

    def specs(self, node_id: str, others: Mapping[str, Discovered]) -> list[PeerSpec]:
        """The peers of a node. As long as no two nodes want the same, a peer is the same to all of them."""
        for id, found in others.items():
            if self._known.get(id) != found and not self._learn(id, found):
                self._forget()
                return peer_specs(others.values(), node_id)
        return [self._specs[id] for id in others if id in self._specs]

    def _learn(self, id: str, found: Discovered) -> bool:
        """Whether a node wants nothing that another one has."""
        if before := self._specs.pop(id, None):
            del self._ids[before.public_key]
            self._taken -= claims(self._known[id].affiliate)
        self._known[id] = found
        for spec in peer_specs([found], ""):
            wanted = claims(found.affiliate)
            if spec.public_key in self._ids or (wanted & self._taken).ranges:
                return False
            self._ids[spec.public_key], self._specs[id] = id, spec
            self._taken |= wanted
        return True


class Peers:
    """Implements `mesh.Peers`."""

    def __init__(self, cluster: _Cluster, node_id: str, wire: Wire) -> None:
        self._cluster, self._node_id, self._wire = cluster, node_id, wire
        self._peers: dict[str, PeerSpec] = {}
        self._statuses: dict[str, PeerStatus] = {}

    def follow(self, affiliates: Iterable[mesh.Affiliate]) -> None:
        others = {one.node_id: cast(Described, one).discovered for one in affiliates}
        self._peers = {spec.public_key: spec for spec in self._cluster.specs(self._node_id, others)}
        gone = self._statuses.keys() - self._peers.keys()
        self._wire.drop(gone)
        for key in gone:
            del self._statuses[key]

    def look(self, now: float, *, everybody: bool) -> bool:
        peers = [spec for key, spec in self._peers.items() if everybody or not self._is_up(key)]
        observed = {
            key: Observed(
                _endpoint(seen.endpoint) if seen.endpoint else None, seen.handshake or None, seen.received, seen.sent
            )
            for key, seen in self._wire.read(spec.public_key for spec in peers).items()
        }
        looked = advance(self._statuses, peers, observed, now)
        self._statuses.update(looked)
        self._wire.configure(
            {
                key: str(status.last_used_endpoint) if status.last_endpoint_change == now else ""
                for key, status in looked.items()
            }
        )
        return all(status.state is State.UP for status in looked.values())

    def _is_up(self, key: str) -> bool:
        status = self._statuses.get(key)
        return status is not None and status.state is State.UP

    def specs(self) -> Mapping[str, Spec]:
        return {
            key: {
                "address": str(spec.address or ""),
                "allowedIPs": [str(network) for network in spec.allowed_ips],
                "endpoints": [str(endpoint) for endpoint in spec.endpoints],
                "label": spec.label,
            }
            for key, spec in self._peers.items()
        }

    def statuses(self) -> Mapping[str, Spec]:
        return {
            key: {
                "endpoint": str(status.observed.endpoint or ""),
                "label": status.label,
                "state": str(status.state),
                "receiveBytes": status.observed.received,
                "transmitBytes": status.observed.sent,
                "lastHandshakeTime": _time(status.observed.last_handshake),
                "lastUsedEndpoint": str(status.last_used_endpoint or ""),
                "lastEndpointChange": _time(status.last_endpoint_change),
            }
            for key, status in self._statuses.items()
        }

    def seen(self) -> Mapping[str, Spec]:
        return {
            key: {"affiliateID": self._peers[key].node_id, "endpoint": str(status.observed.endpoint)}
            for key, status in self._statuses.items()
            if status.state is State.UP and status.observed.endpoint is not None and key in self._peers
        }


_endpoint = lru_cache(65536)(Endpoint.parse)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ZERO_TIME
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _spec(found: Discovered) -> dict[str, Any]:
    """A resource of type Affiliate."""
    affiliate = found.affiliate
    spec: dict[str, Any] = {
        "nodeId": affiliate.node_id,
        "addresses": [str(one) for one in affiliate.addresses],
        "hostname": affiliate.hostname,
        "nodename": affiliate.nodename,
        "operatingSystem": affiliate.operating_system,
        "machineType": _machine_type(affiliate.machine_type),
    }
    if part := affiliate.kubespan:
        spec["kubespan"] = {
            "publicKey": part.public_key,
            "address": str(part.address or ""),
            "additionalAddresses": [str(prefix) for prefix in part.additional_addresses],
            "endpoints": [str(endpoint) for endpoint in found.endpoints],
            "excludeAdvertisedNetworks": [str(prefix) for prefix in part.exclude_advertised_addresses],
        }
    if affiliate.control_plane:
        spec["controlPlane"] = {"port": affiliate.control_plane.api_server_port}
    return spec


def _discovered(spec: Spec) -> Discovered:
    part, control_plane = spec.get("kubespan"), spec.get("controlPlane")
    affiliate = Affiliate(
        node_id=spec["nodeId"],
        addresses=tuple(map(ip_address, spec["addresses"])),
        hostname=spec["hostname"],
        nodename=spec["nodename"],
        machine_type=spec["machineType"],
        operating_system=spec["operatingSystem"],
        kubespan=KubeSpanPart(
            part["publicKey"],
            ip_address(part["address"]),
            tuple(map(ip_interface, part["additionalAddresses"])),
            tuple(map(ip_interface, part["excludeAdvertisedNetworks"])),
        )
        if part
        else None,
        control_plane=ControlPlanePart(control_plane["port"]) if control_plane else None,
    )
    return Discovered(affiliate, tuple(map(Endpoint.parse, part["endpoints"])) if part else ())


def _machine_type(text: str) -> str:
    try:
        return str(MachineType.parse(text))
    except ValueError:
        return str(MachineType.UNKNOWN)
