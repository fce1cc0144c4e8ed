"""The addresses of this host, and when they change."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from kubespan.affiliates import Address
from kubespan.node import programs

_LINKS, _IPV4_ADDRESSES, _IPV6_ADDRESSES = 0x1, 0x10, 0x100
"""Groups of rtnetlink(7)."""
_USELESS = ("tentative", "dadfailed", "deprecated", "temporary")


async def addresses(without: str) -> list[Address]:
    """Where others may reach this host, by none of its links named `without`. Raises OSError."""
    return parse_addresses(await programs.run("ip", "-json", "address", "show", "up"), without)


def parse_addresses(text: str, without: str) -> list[Address]:
    """The same of what `ip -json address` printed: of links that are up, and not for this host or its link alone."""
    return [
        ip_address(record["local"])
        for link in json.loads(text)
        if link and link["ifname"] != without and link["link_type"] != "loopback" and "UP" in link["flags"]
        for record in link["addr_info"]
        if record["scope"] == "global" and not any(map(record.get, _USELESS))
    ]


@contextlib.contextmanager
def watched(changed: Callable[[], None]) -> Iterator[None]:
    """Call `changed` whenever a link or an address came, went or changed. Raises OSError."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE) as link:
        link.bind((0, _LINKS | _IPV4_ADDRESSES | _IPV6_ADDRESSES))

        def drain() -> None:
            with contextlib.suppress(
                OSError
            ):  # no more now, or more than it could keep: it is about all of them anyway
                while True:
                    link.recv(65536)
            changed()

        loop.add_reader(link, drain)
        try:
            yield
        finally:
            loop.remove_reader(link)
