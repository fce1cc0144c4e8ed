"""A cluster's endpoint against the networks of its machines and its own subnets. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from typing import Any

from apps.clusters.decision import listed
from talos.config.document import LEGACY, Config
from talos.template import Endpoint

Subnet = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Network:
    """A network that a machine is part of, by one of its links."""

    link: str
    network: str  # in CIDR notation


@dataclass(frozen=True)
class Subnets:
    """The networks that Kubernetes has for itself."""

    pods: tuple[Subnet, ...]
    services: tuple[Subnet, ...]

    def holding(self, address: str) -> str:
        """The one that an address lies in, in words; empty if in none."""
        found = ip_address(address)
        for what, subnets in (("services", self.services), ("pods", self.pods)):
            for subnet in subnets:
                if found in subnet:
                    return f"{subnet}, from which {what} get their addresses"
        return ""


DEFAULT_SUBNETS = Subnets((IPv4Network("10.244.0.0/16"),), (IPv4Network("10.96.0.0/12"),))
"""What a configuration has where nothing else is said."""


def observed(network: Mapping[str, Any]) -> tuple[Network, ...]:
    """The networks of a machine as the gateway observed them."""
    return tuple(Network(item["link"], item["network"]) for item in network.get("networks") or ())


def link_of(virtual_ip: str, networks: Iterable[Network]) -> str:
    """The link that a virtual IP belongs on: of the smallest network that holds it. Empty when none does."""
    address = ip_address(virtual_ip)
    fitting = [item for item in networks if address in ip_network(item.network)]
    best = max(fitting, key=lambda item: (ip_network(item.network).prefixlen, item.link), default=None)
    return best.link if best else ""


def virtual_ip_problem(name: str, virtual_ip: str, networks: Sequence[Network]) -> str:
    """Why a machine cannot carry a virtual IP; empty if it can."""
    if not link_of(virtual_ip, networks):
        has = listed(sorted({item.network for item in networks})) or "none that it reports"
        return (
            f"{name} has no network that holds the virtual IP {virtual_ip}; it has {has}. "
            "Take an address of a network that all control planes share."
        )
    for item in networks:
        network = ip_network(item.network)
        edges = {network.network_address, network.broadcast_address} if network.prefixlen < 31 else set()
        if network.version == 4 and ip_address(virtual_ip) in edges:
            return f"The virtual IP {virtual_ip} is no host of {network}, the network of {name}: take another address."
    return ""


def subnets_of(config: Config) -> Subnets:
    """The networks of Kubernetes that a configuration names, in either form."""
    for document in config.documents:
        values: Mapping[str, Any] = document.values
        if document.kind == LEGACY:
            values = (values.get("cluster") or {}).get("network") or {}
        elif document.kind != "KubeNetworkConfig":
            continue
        pods, services = values.get("podSubnets"), values.get("serviceSubnets")
        if pods and services:
            return Subnets(tuple(map(ip_network, pods)), tuple(map(ip_network, services)))
    return DEFAULT_SUBNETS


def endpoint_refusals(endpoint: Endpoint, subnets: Subnets) -> Iterator[str]:
    """Why an own endpoint can never work in a cluster with these subnets."""
    for key, name in (("address", endpoint.host), ("virtualIP", endpoint.virtual_ip)):
        if key == "address" and not endpoint.address:
            continue
        inside = subnets.holding(name) if _is_address(name) else ""
        if inside:
            yield f"endpoint.{key} {name} lies in {inside}: Kubernetes would keep it for itself; take another address"


def hidden(name: str, addresses: Sequence[str], subnets: Subnets) -> str:
    """A warning about a machine whose every address Talos leaves out as one of Kubernetes; empty for others."""
    inside = [subnets.holding(str(ip_interface(address).ip)) for address in addresses]
    if not inside or not all(inside):
        return ""
    plain = listed([str(ip_interface(address).ip) for address in addresses])
    return (
        f"{name} has no address but {plain}, in {inside[0]}: Talos takes such addresses for Kubernetes' own, and etcd "
        "and kubelet wait for another one without end. Patch podSubnets and serviceSubnets of the cluster to others"
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return bool(host)
