"""Peers, from what nodes publish: keys, endpoints and the addresses that each may use in the tunnel. Pure."""

from __future__ import annotations

import base64
import binascii
import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network, summarize_address_range

from kubespan.affiliates import Address, Affiliate, Endpoint, Network
from kubespan.known import Discovered

KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class PeerSpec:
    """A peer as it should be. `label` is its node's name, `shadowed` what an earlier node has of its addresses."""

    public_key: str
    node_id: str
    label: str
    address: Address | None
    allowed_ips: tuple[Network, ...]
    endpoints: tuple[Endpoint, ...]
    shadowed: tuple[Network, ...] = ()


def peer_specs(discovered: Iterable[Discovered], own_id: str) -> list[PeerSpec]:
    """The peers of a node, by node id.

    Two nodes that claim an address: the one with the lower id has it. A node without a usable public key is no peer,
    nor is the second one with the same key.
    """
    nodes = {other.affiliate.node_id: other for other in discovered}
    nodes.pop(own_id, None)
    taken = AddressSet()
    specs: dict[str, PeerSpec] = {}
    for node_id in sorted(nodes):
        affiliate = nodes[node_id].affiliate
        part = affiliate.kubespan
        if part is None or not is_key(part.public_key) or part.public_key in specs:
            continue
        wanted = claims(affiliate)
        shadowed = wanted & taken
        specs[part.public_key] = PeerSpec(
            part.public_key,
            node_id,
            affiliate.nodename,
            part.address,
            (wanted - shadowed).networks(),
            nodes[node_id].endpoints,
            shadowed.networks(),
        )
        taken |= wanted
    return list(specs.values())


def claims(affiliate: Affiliate) -> AddressSet:
    """The addresses that a node wants to have in the tunnel."""
    part = affiliate.kubespan
    if part is None:
        return AddressSet()
    wanted = AddressSet.of(*map(ip_network, affiliate.addresses), *(it.network for it in part.additional_addresses))
    wanted -= AddressSet.of(*(it.network for it in part.exclude_advertised_addresses))
    return wanted | AddressSet.of(ip_network(part.address)) if part.address is not None else wanted


@lru_cache(4096)
def is_key(text: str) -> bool:
    """Whether a text is a public key of WireGuard in base64, written in the one way that `wg` takes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(data) == KEY_SIZE and base64.b64encode(data).decode() == text


@dataclass(frozen=True, slots=True)
class AddressSet:
    """Addresses of both families, as ranges of one line of numbers: first IPv4, then IPv6."""

    ranges: tuple[tuple[int, int], ...] = ()
    """First and last of each; in order, never touching."""

    @classmethod
    def of(cls, *networks: Network) -> AddressSet:
        """All addresses of some networks."""
        ends = ((_number(network.network_address), _number(network.broadcast_address)) for network in networks)
        return cls(tuple(_merged(sorted(ends))))

    def __or__(self, other: AddressSet) -> AddressSet:
        ranges = list(self.ranges)
        for first, last in other.ranges:
            # Those that touch the new one become one with it.
            low = bisect.bisect_left(ranges, first, key=lambda it: it[1] + 1)
            high = bisect.bisect_right(ranges, last + 1, key=lambda it: it[0])
            if low < high:
                first, last = min(first, ranges[low][0]), max(last, ranges[high - 1][1])
            ranges[low:high] = [(first, last)]
        return AddressSet(tuple(ranges))

    def __and__(self, other: AddressSet) -> AddressSet:
        common = []
        for first, last in self.ranges:
            index = bisect.bisect_left(other.ranges, first, key=lambda it: it[1])
            while index < len(other.ranges) and other.ranges[index][0] <= last:
                low, high = other.ranges[index]
                common.append((max(first, low), min(last, high)))
                index += 1
        return AddressSet(tuple(common))

    def __sub__(self, other: AddressSet) -> AddressSet:
        left = []
        for first, last in self.ranges:
            for low, high in (AddressSet(((first, last),)) & other).ranges:
                if first < low:
                    left.append((first, low - 1))
                first = high + 1
            if first <= last:
                left.append((first, last))
        return AddressSet(tuple(left))

    def networks(self) -> tuple[Network, ...]:
        """The fewest networks that are these addresses, in order, IPv4 first."""
        return tuple(network for first, last in self.ranges for network in summarize_address_range(*_ends(first, last)))


_IPV6 = 1 << 33
"""Where IPv6 begins: not right behind IPv4, so that no range goes from one into the other."""


def _number(address: Address) -> int:
    return int(address) if address.version == 4 else _IPV6 + int(address)


def _ends(first: int, last: int) -> tuple[IPv4Address, IPv4Address] | tuple[IPv6Address, IPv6Address]:
    if first < _IPV6:
        return IPv4Address(first), IPv4Address(last)
    return IPv6Address(first - _IPV6), IPv6Address(last - _IPV6)


def _merged(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges in order of their first number, those that touch made one."""
    current: tuple[int, int] | None = None
    for first, last in ranges:
        if current is not None and first <= current[1] + 1:
            current = current[0], max(current[1], last)
            continue
        if current is not None:
            yield current
        current = first, last
    if current is not None:
        yield current
