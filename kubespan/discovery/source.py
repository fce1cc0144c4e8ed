"""Where a client comes from: the address that it is told, limited by, and judged by."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote

Address = IPv4Address | IPv6Address

CONNECTIONS_REMEMBERED = 16_384

X_REAL_IP, X_FORWARDED_FOR = "x-real-ip", "x-forwarded-for"


@lru_cache(CONNECTIONS_REMEMBERED)
def of_peer(peer: str) -> Address | None:
    """The other end of a connection, as grpcio names it; None where that is no address."""
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return parse(rest.rpartition(":")[0].strip("[]"))


def of_metadata(
    metadata: Iterable[tuple[str, str | bytes]] | None, *, real_ip: bool, forwarded_for: bool
) -> Address | None:
    """What a proxy in front says, where it is trusted. The first value of a header counts, if it is an address."""
    said: dict[str, str] = {}
    for key, value in metadata or ():
        if key in (X_REAL_IP, X_FORWARDED_FOR) and isinstance(value, str):
            said.setdefault(key, value)
    found = parse(said[X_REAL_IP]) if real_ip and X_REAL_IP in said else None
    if found is None and forwarded_for and X_FORWARDED_FOR in said:
        found = parse(said[X_FORWARDED_FOR].partition(",")[0].strip())
    return found


def parse(text: str) -> Address | None:
    """An address; IPv4 as such, also where it is written as IPv6. None for anything else."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
