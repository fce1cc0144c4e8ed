"""What goes into the tunnel: packets to networks of peers get a mark, and marked ones a routing table of their own.

As on a Talos node. WireGuard's own packets carry another mark, and so leave by the host's routes even when they go to
an address that is reached through the tunnel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from kubespan.affiliates import Network
from kubespan.node import programs
from kubespan.node.wireguard import MARK

MASK, FORCED = 0x60, 0x40
"""Bits of a packet's mark that are KubeSpan's, and those that send it into the tunnel."""
TABLE, PRIORITY = 180, 32500
"""The routing table, and where in the order of rules it is asked."""

_TCP_HEADERS = {4: 20 + 20 + 12, 6: 40 + 20 + 12}
"""Bytes of IP and TCP headers, with TCP's time stamps."""
_LOOSE = "2"
_NOBODY = "192.0.0.8/32"
"""RFC 7600's address for those that have none."""


def ruleset(interface: str, networks: Iterable[Network], mtu: int) -> str:
    """The packet filter as `nft -f` takes it, in the place of the one before."""
    networks = list(networks)
    to: list[tuple[int, str]] = []
    for version, family in ((4, "ip"), (6, "ip6")):
        if chosen := [str(network) for network in networks if network.version == version]:
            to.append((version, f"{family} daddr {{ {', '.join(chosen)} }}"))
    mark = f"meta mark set meta mark & {~MASK & 0xFFFFFFFF:#x} ^ {FORCED:#x} accept"
    own = f"meta mark & {MASK:#x} == {MARK:#x} accept"
    marked = [f"{match} {mark}" for _, match in to]
    clamped = []
    for version, match in to:
        size = mtu - _TCP_HEADERS[version]
        syn = "tcp flags & (syn | rst) == syn"
        clamped.append(f"{match} {syn} tcp option maxseg size > {size} tcp option maxseg size set {size}")
    chains = {
        "prerouting": ("filter hook prerouting", [own, *marked]),
        "outgoing": ("route hook output", [own, 'oifname "lo" accept', *clamped, *marked]),
    }
    lines = [f"table inet {interface} {{ }}", f"delete table inet {interface}", f"table inet {interface} {{"]
    for name, (kind, rules) in chains.items():
        lines += [f"chain {name} {{", f"type {kind} priority filter; policy accept;", *rules, "}"]
    return "\n".join([*lines, "}", ""])


async def steer(interface: str, networks: Iterable[Network], mtu: int) -> None:
    """Send packets to these networks, and no others, into the tunnel. Raises OSError."""
    await programs.run("nft", "-f", "-", stdin=ruleset(interface, networks, mtu))


async def up(interface: str, mtu: int) -> None:
    """Routes and rules for marked packets. Raises OSError."""
    await down(interface)
    for family in ("-4", "-6"):
        route = ("default", "dev", interface, "table", str(TABLE), "metric", "1", "proto", "static", "mtu", str(mtu))
        await programs.run("ip", family, "route", "replace", *route)
        await programs.run("ip", family, "rule", "add", *_RULE)
    # A host may check that packets come from where answers would go. Marks are not seen there, so peers' IPv4 addresses
    # would fail; the loose check takes them, but only on a link that has an address of its own, be it of no use.
    await programs.run("ip", "address", "replace", _NOBODY, "dev", interface, "scope", "host")
    with contextlib.suppress(OSError):
        Path(f"/proc/sys/net/ipv4/conf/{interface}/rp_filter").write_text(_LOOSE)


async def down(interface: str) -> None:
    """Take rules and filter away; the routes leave with the interface."""
    for command in (
        ("ip", "-4", "rule", "delete", *_RULE),
        ("ip", "-6", "rule", "delete", *_RULE),
        ("nft", "delete", "table", "inet", interface),
    ):
        with contextlib.suppress(OSError):
            await programs.run(*command)


_RULE = ("fwmark", f"{FORCED:#x}/{MASK:#x}", "lookup", str(TABLE), "priority", str(PRIORITY))
