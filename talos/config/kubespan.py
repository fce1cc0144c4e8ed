"""KubeSpan, the encrypted mesh of a cluster's nodes, as a patch of their configuration says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from talos import yaml12
from talos.config.document import Config
from talos.contract import VersionContract

DEFAULT_MTU, LEAST_MTU, LARGEST_MTU = 1420, 1280, 65455
"""Of the mesh's link, in bytes: 80 less than what the network below carries."""

EXCLUDES_SINCE = (1, 12, 4)
"""The first Talos that knows networks which a node's peers shall not send into the mesh."""


@dataclass(frozen=True)
class KubeSpan:
    """Settings of the mesh; a node's peers feel `endpoint_filters` and `exclude_networks`."""

    enabled: bool = True
    mtu: int | None = None  # None: as Talos has it
    allow_down_peer_bypass: bool = False  # while a peer is not reached, its traffic goes outside of the mesh, in clear
    advertise_kubernetes_networks: bool = False  # pods' addresses go through the mesh too
    harvest: bool = False  # nodes tell on which addresses of others they saw; costs the square of the nodes
    endpoint_filters: tuple[str, ...] = ()  # networks; one that begins with ! takes out; in order
    exclude_networks: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """What no machine would take, a sentence each."""
        found = []
        if self.mtu is not None and not LEAST_MTU <= self.mtu <= LARGEST_MTU:
            found.append(f"an MTU of {self.mtu} is not possible: KubeSpan takes {LEAST_MTU} to {LARGEST_MTU} bytes")
        for text in self.endpoint_filters:
            if not _is_network(text.removeprefix("!"), addresses=True):
                found.append(
                    f"“{text}” is no filter: write a network such as 10.0.0.0/8, or !10.0.0.0/8 to leave it out"
                )
        if self.endpoint_filters and all(text.startswith("!") for text in self.endpoint_filters):
            found.append("filters that only leave out let nothing in: begin with 0.0.0.0/0 and ::/0")
        for text in self.exclude_networks:
            if not _is_network(text, addresses=False):
                found.append(f"“{text}” is no network: write it like 192.168.1.0/24")
        return found


def endpoint_problems(endpoints: Sequence[str]) -> list[str]:
    """What is wrong with further endpoints of a node, a sentence each."""
    return [
        f"“{text}” is no endpoint: write an address and a port, such as 203.0.113.7:51820 or [2001:db8::7]:51820"
        for text in endpoints
        if not _is_endpoint(text)
    ]


def patch_name(cluster: str) -> str:
    """What the patch of a cluster by which KubeSpan is turned on is called, as with Omni."""
    return f"500-{cluster}-kubespan"


def patch(contract: VersionContract, settings: KubeSpan) -> str:
    """A patch of the configuration of all nodes of a cluster: its own document from contract 1.13 on.

    KubeSpan needs discovery. The configurations of all contracts have it; where it is a switch, the patch turns it on.
    """
    fields: dict[str, Any] = {"enabled": settings.enabled}
    for name, value in (
        ("advertiseKubernetesNetworks", settings.advertise_kubernetes_networks),
        ("allowDownPeerBypass", settings.allow_down_peer_bypass),
        ("harvestExtraEndpoints", settings.harvest),
        ("mtu", settings.mtu),
    ):
        if value:
            fields[name] = value
    filters = {"endpoints": settings.endpoint_filters, "excludeAdvertisedNetworks": settings.exclude_networks}
    if present := {name: list(values) for name, values in filters.items() if values}:
        fields["filters"] = present
    legacy: dict[str, Any] = {}
    documents = []
    if contract.kube_span_multidoc_config:
        documents.append({"apiVersion": "v1alpha1", "kind": "KubeSpanConfig", **fields})
    else:
        legacy["machine"] = {"network": {"kubespan": fields}}
    if settings.enabled and not contract.discovery_service_multidoc_config:
        legacy["cluster"] = {"discovery": {"enabled": True}}
    return "---\n".join(yaml12.dump(document) for document in [*([legacy] if legacy else []), *documents])


def endpoints_patch(endpoints: Sequence[str]) -> str:
    """A patch of one node: where it can be reached besides its own addresses, as `address:port`."""
    document = {"apiVersion": "v1alpha1", "kind": "KubeSpanEndpointsConfig", "extraAnnouncedEndpoints": list(endpoints)}
    return yaml12.dump(document)


def read(config: Config) -> KubeSpan | None:
    """What a configuration, or a patch of one, says of the mesh; None when it says nothing."""
    legacy = config.v1alpha1 or {}
    network = (legacy.get("machine") or {}).get("network") or {}
    values = config.find("KubeSpanConfig") or network.get("kubespan")
    if values is None:
        return None
    filters = values.get("filters") or {}
    return KubeSpan(
        enabled=bool(values.get("enabled")),
        mtu=values.get("mtu"),
        allow_down_peer_bypass=bool(values.get("allowDownPeerBypass")),
        advertise_kubernetes_networks=bool(values.get("advertiseKubernetesNetworks")),
        harvest=bool(values.get("harvestExtraEndpoints")),
        endpoint_filters=tuple(filters.get("endpoints") or ()),
        exclude_networks=tuple(map(str, filters.get("excludeAdvertisedNetworks") or ())),
    )


def _is_network(text: str, *, addresses: bool) -> bool:
    if not addresses and "/" not in text:
        return False
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return "%" not in text


def _is_endpoint(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 2**16:
        return False
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        return False
    return "%" not in host and bracketed == (address.version == 6)
