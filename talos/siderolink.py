"""Addresses of the overlay between machines and control plane, and the order of endpoints in a Provision answer.

Talos recognises an overlay address by two bytes alone: the first is 0xfd, the eighth says the purpose of its /64.
"""

import hashlib
import secrets
from enum import IntEnum
from ipaddress import IPv6Address, IPv6Network, ip_address

API_PORT = 8090
"""Provision, tunnel and events: the machine API's port."""
LOG_PORT = 8092
"""Kernel log lines, on the overlay."""
DISCOVERY_PORT = 8093
"""The discovery service of the nodes of clusters, on the overlay."""
VIRTUAL_PORT = 50889
"""Port text of a machine's virtual address, under which its tunnelled packets are known."""


class Purpose(IntEnum):
    """What a /64 of unique local addresses is for: its eighth byte."""

    KUBESPAN = 2
    SIDEROLINK = 3
    VIRTUAL = 4
    """Stand-ins for UDP endpoints where WireGuard travels over gRPC."""


def prefix(installation: str = "", purpose: Purpose = Purpose.SIDEROLINK) -> IPv6Network:
    """The /64 of an installation for a purpose. The empty installation id is what everybody uses."""
    packed = bytearray(hashlib.sha256(installation.encode()).digest()[-16:])
    packed[0] = 0xFD
    packed[7] = purpose
    return IPv6Network((bytes(packed[:8]) + bytes(8), 64))


def server_address(installation: str = "") -> IPv6Address:
    """The control plane's own address on the overlay: the first in its prefix."""
    return prefix(installation)[1]


def random_address(network: IPv6Network) -> IPv6Address:
    """A random address in a /64, never its zero address nor the first, which is the server's."""
    return network[2 + secrets.randbelow(2**64 - 2)]


def has_purpose(address: str, purpose: Purpose) -> bool:
    """Whether Talos takes an address for one of this purpose; raises ValueError if it is no address."""
    parsed = ip_address(address)
    return parsed.version == 6 and parsed.packed[0] == 0xFD and parsed.packed[7] == purpose


def order_for_wire(endpoints: list[str]) -> list[str]:
    """Endpoints, best first, in the order in which a Provision answer carries them; reading applies it again.

    The field once held a single string, and a reader that old keeps the last one: so the best one travels last, in the
    place of the first.
    """
    if len(endpoints) < 2:
        return list(endpoints)
    first, *middle, last = endpoints
    return [last, *middle, first]
