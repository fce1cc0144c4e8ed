"""Where a node says that it can be reached. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from kubespan.affiliates import Address, Endpoint, Network
from talos import siderolink
from talos.siderolink import Purpose

PORT = 51820
"""The UDP port of Talos' KubeSpan."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One entry of `filters.endpoints`: takes what is in the network, or takes it away again."""

    network: Network
    negated: bool = False

    @classmethod
    def parse(cls, text: str) -> Filter:
        """From `10.0.0.0/8`, an address, or either after `!`; raises ValueError."""
        negated = text.startswith("!")
        try:
            return cls(ip_network(text.removeprefix("!"), strict=False), negated)
        except ValueError:
            raise ValueError(
                f"{text!r} is no filter; write NETWORK or ADDRESS, with ! before it to leave it out"
            ) from None


def select(addresses: Iterable[Address], filters: Sequence[Filter]) -> list[Address]:
    """What filters take of the addresses, in their order; everything where there are none.

    They begin with nothing: filters that only leave out take nothing.
    """
    addresses = list(addresses)
    if not filters:
        return addresses
    taken: list[Address] = []
    for rule in filters:
        if rule.negated:
            taken = [address for address in taken if address not in rule.network]
        else:
            taken += [address for address in addresses if address in rule.network and address not in taken]
    return taken


def outside(addresses: Iterable[Address], kubespan: Address) -> list[Address]:
    """A node's addresses without those of overlays."""
    return [
        address
        for address in addresses
        if address != kubespan and not siderolink.has_purpose(str(address), Purpose.SIDEROLINK)
    ]


def own(
    addresses: Iterable[Address],
    *,
    kubespan: Address,
    public: Iterable[Address] = (),
    filters: Sequence[Filter] = (),
    extra: Iterable[Endpoint] = (),
    port: int = PORT,
) -> list[Endpoint]:
    """A node's endpoints in the order in which others try them.

    Its addresses without those of overlays, then the `public` ones that others see, both filtered; then the `extra`
    ones that somebody configured, which no filter touches.
    """
    usable = outside(addresses, kubespan)
    chosen = select(dict.fromkeys((*usable, *public)), filters)
    return list(dict.fromkeys((*(Endpoint(address, port) for address in chosen), *extra)))
