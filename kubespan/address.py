"""The KubeSpan address of a node: made of its cluster's id and its first network card."""

from ipaddress import IPv6Address, IPv6Network

from talos import siderolink
from talos.siderolink import Purpose


def subnet(cluster_id: str) -> IPv6Network:
    """The /64 that all KubeSpan addresses of a cluster are in."""
    return siderolink.prefix(cluster_id, Purpose.KUBESPAN)


def address(cluster_id: str, mac: bytes) -> IPv6Address:
    """The address of the node whose first physical link has this MAC: EUI-64 in the cluster's subnet.

    Raises ValueError unless the MAC has 6 bytes.
    """
    if len(mac) != 6:
        raise ValueError(f"a MAC address has 6 bytes, this one has {len(mac)}")
    interface = bytes((mac[0] ^ 0x02, *mac[1:3], 0xFF, 0xFE, *mac[3:]))
    return IPv6Address(subnet(cluster_id).network_address.packed[:8] + interface)
