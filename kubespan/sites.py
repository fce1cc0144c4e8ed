"""Which nodes are near each other: by a label, else by the network that they share. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubespan.mesh import Node

LABELS = ("topology.kubernetes.io/zone", "zone", "site", "topology.kubernetes.io/region", "region")
"""Labels of a machine that say where it is, the one that counts most first."""

UNKNOWN = "somewhere"
"""The site of nodes of which neither a label nor an address is known."""

Address = IPv4Address | IPv6Address


@lru_cache(maxsize=1 << 16)
def address(endpoint: str) -> Address | None:
    """The address of an endpoint `ip:port`, of an address or of a prefix; None for what is none of these."""
    text = endpoint
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ip_interface(text.partition("%")[0]).ip
    except ValueError:
        return None


@lru_cache(maxsize=1 << 16)
def network(endpoint: str) -> str:
    """The network that an address is in as a rule: its /24, of IPv6 its /64; empty for what is no address."""
    found = address(endpoint)
    if found is None:
        return ""
    return str(ip_network(f"{found}/{24 if found.version == 4 else 64}", strict=False))


@lru_cache(maxsize=1 << 16)
def public(endpoint: str) -> bool:
    """Whether an address is one of the internet."""
    found = address(endpoint)
    return found is not None and found.is_global


def _shared(node: Node) -> str:
    """The network of a node: a private one together with the address that hides it, so that the 192.168.1.0/24 of two
    places are two."""
    own = [text for text in (*node.endpoints, *node.addresses) if not node.address or node.address not in text]
    outside = next((text for text in own if public(text)), node.seen_from if public(node.seen_from) else "")
    inside = next((text for text in own if address(text) is not None and not public(text)), "")
    if not inside:
        return network(outside) if outside else UNKNOWN
    name = next(iter(containing(inside, node.networks)), network(inside))
    hidden = network(outside) if outside else ""
    return f"{name} at {hidden}" if hidden else name


def containing(endpoint: str, networks: Sequence[str]) -> list[str]:
    """Those of the networks that an address is in."""
    found = address(endpoint)
    return [text for text in networks if found is not None and (parsed := _parsed(text)) and found in parsed]


@lru_cache(maxsize=1 << 14)
def _parsed(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def of(nodes: Sequence[Node]) -> list[str]:
    """The site of each node: its label, else the network it shares with others.

    Where a private network is behind one public network only, it goes by the name of the private one alone.
    """
    names = [node.label or _shared(node) for node in nodes]
    places: dict[str, set[str]] = {}
    for name in names:
        places.setdefault(name.partition(" at ")[0], set()).add(name)
    return [
        name.partition(" at ")[0] if not node.label and len(places[name.partition(" at ")[0]]) == 1 else name
        for name, node in zip(names, nodes, strict=True)
    ]
