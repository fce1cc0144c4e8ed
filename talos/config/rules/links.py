"""Rules of the documents of network links and routing daemons."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from talos.config import cel
from talos.config.errors import quote
from talos.config.rules.addresses import decode_base64, overlap, parse_address, prefix
from talos.config.rules.common import Context, Rule, Values, Warn, at, nanoseconds, required_name

_MAX_LINK_NAME = 15  # bytes

_named = partial(required_name, text="name must be specified")


def _link(values: Values, _: Context) -> Iterator[str]:
    yield from _named(values)
    yield from _common_link(values)


def _common_link(values: Values) -> Iterator[str]:
    for index, address in enumerate(values.get("addresses") or []):
        text = address.get("address")
        if not text:
            yield f"address {index} must be specified"
        elif prefix(text).ip.is_unspecified:
            yield f"address {index} must be a valid IP address"
    for index, route in enumerate(values.get("routes") or []):
        if (text := route.get("destination")) and prefix(text).ip.is_unspecified:
            yield f"route {index} destination must be a valid IP prefix"
        for key in ("gateway", "source"):
            if (text := route.get(key)) and parse_address(text).is_unspecified:
                yield f"route {index} {key} must be a valid IP address"


def _bond(values: Values, context: Context) -> Iterator[str]:
    yield from _named(values)
    if not values.get("links"):
        yield "at least one link must be specified"
    mode = values.get("bondMode")
    if mode is None:
        yield "bond mode must be specified"
    elif mode == "802.3ad":
        for key in ("miimon", "updelay", "downdelay"):
            if values.get(key) is None:
                yield Warn(f"{key} was not specified for 802.3ad bond")
    yield from _common_link(values)


def _vlan(values: Values, _: Context) -> Iterator[str]:
    yield from _named(values)
    if not 0 < values.get("vlanID", 0) <= 4094:
        yield "vlanID must be specified and between 1 and 4094"
    if not values.get("parent"):
        yield "parent must be specified"
    yield from _common_link(values)


def _vrf(values: Values, _: Context) -> Iterator[str]:
    yield from _named(values)
    table = values.get("table", "unspec")
    if table in ("unspec", "local", "main", "default"):
        yield f"cannot create vrf with reserved table {table}"
    yield from _common_link(values)


def _veth(values: Values, _: Context) -> Iterator[str]:
    name, peer = values.get("name", ""), at(values, "peer.name") or ""
    for what, link in (("name", name), ("peer name", peer)):
        if problem := _link_name_problem(link):
            yield f"{what} {problem}"
    if name and name == peer:
        yield "name and peer name must be different"
    yield from _common_link(values)
    yield from _common_link(values.get("peer") or {})


def _link_name_problem(name: str) -> str | None:
    if not name:
        return "must be specified"
    if len(name.encode()) > _MAX_LINK_NAME:
        return f"must not exceed {_MAX_LINK_NAME} bytes"
    if name in (".", ".."):
        return f"must not be {quote(name)}"
    if "/" in name or ":" in name:
        return "must not contain '/' or ':'"
    if not name.isprintable() or any(char.isspace() for char in name):
        return "must not contain whitespace or non-printable characters"
    return None


def _wireguard(values: Values, _: Context) -> Iterator[str]:
    yield from _named(values)
    if not (key := values.get("privateKey")):
        yield "wireguard private key must be specified"
    elif problem := _wireguard_key_problem(key):
        yield f"wireguard private key is invalid: {problem}"
    if not 0 <= values.get("listenPort", 0) <= 65535:
        yield "wireguard listen port must be between 0 and 65535"
    for index, peer in enumerate(values.get("peers") or []):
        which = f"(peer index {index})"
        if not (key := peer.get("publicKey")):
            yield f"wireguard peer public key must be specified {which}"
        elif problem := _wireguard_key_problem(key):
            yield f"wireguard peer public key is invalid {which}: {problem}"
        if (key := peer.get("presharedKey")) and (problem := _wireguard_key_problem(key)):
            yield f"wireguard peer preshared key is invalid {which}: {problem}"
        if nanoseconds(peer.get("persistentKeepaliveInterval")) < 0:
            yield f"wireguard peer persistent keepalive interval cannot be negative {which}"
    yield from _common_link(values)


def _wireguard_key_problem(key: str) -> str | None:
    try:
        return None if len(decode_base64(key)) == 32 else "invalid wireguard key length"
    except ValueError as error:
        return str(error)


def _link_alias(values: Values, _: Context) -> Iterator[str]:
    yield from _named(values)
    name = values.get("name", "")
    start, percent, end = name.partition("%")
    if percent and (end != "d" or not start):
        yield f"name {quote(name)} contains an invalid format verb, use %d suffix"
    if match := at(values, "selector.match"):
        if problem := cel.problem(match, cel.LINK):
            yield f"link selector is invalid: {problem}"
    else:
        yield "link selector is required"


def _ethernet(values: Values, _: Context) -> Iterator[str]:
    yield from required_name(values, "name is required")


def _bgp(values: Values, _: Context) -> Iterator[str]:
    yield from _named(values)
    if not values.get("localASN"):
        yield "localASN must be specified"
    if (router := values.get("routerID")) and parse_address(router).version != 4:
        yield "routerID must be an IPv4 address"
    neighbors = values.get("neighbors") or []
    if not neighbors:
        yield Warn("BGPInstanceConfig has no neighbors configured")
    seen: set[str] = set()
    for index, neighbor in enumerate(neighbors):
        address, link = neighbor.get("address"), neighbor.get("link")
        if bool(address) == bool(link):
            yield f"neighbor[{index}]: exactly one of address or link must be set"
        yield from _bgp_neighbor(f"neighbor[{index}]", neighbor, values)
        if bool(address) != bool(link):
            key = address or link
            if key in seen:
                yield f"neighbor[{index}]: duplicate neighbor {quote(key)}"
            seen.add(key)
    yield from _bgp_imports(values)


def _bgp_neighbor(where: str, neighbor: Values, values: Values) -> Iterator[str]:
    if nanoseconds(neighbor.get("holdTime")) < 0:
        yield f"{where}: holdTime must not be negative"
    if (bfd := neighbor.get("bfd")) is None:
        return
    if values.get("vrf"):
        yield f"{where}: bfd is not supported for VRF-bound BGP instances"
    for key in ("transmitInterval", "receiveInterval"):
        if nanoseconds(bfd.get(key)) < 0:
            yield f"{where}: bfd.{key} must not be negative"


def _bgp_imports(values: Values) -> Iterator[str]:
    sources: set[str] = set()
    selectors: list[tuple[str, int]] = []
    for index, route in enumerate(values.get("importRoutes") or []):
        where, source = f"importRoutes[{index}]", route.get("bgpInstance", "")
        prefixes = route.get("prefixes") or []
        if not source:
            yield f"{where}: bgpInstance must be specified"
        elif source == values.get("name", ""):
            yield f"{where}: cannot import from the same BGP instance {quote(source)}"
        yield from _bgp_prefixes(where, prefixes)
        if source:
            if source in sources:
                yield f"{where}: duplicate source BGP instance {quote(source)}"
            sources.add(source)
        for text in filter(_is_masked, prefixes):
            for other, other_index in selectors:
                if other_index != index and overlap(other, text):
                    yield f"{where}: prefix {text} overlaps importRoutes[{other_index}] prefix {other}"
            selectors.append((text, index))


def _bgp_prefixes(where: str, prefixes: list[str]) -> Iterator[str]:
    if not prefixes:
        yield f"{where}: at least one prefix must be specified"
    for position, text in enumerate(prefixes):
        which = f"{where}.prefixes[{position}]"
        if not text:
            yield f"{which}: invalid prefix"
            continue
        if not _is_masked(text):
            yield f"{which}: prefix {text} must be masked"
        for earlier, other in enumerate(prefixes[:position]):
            if other and overlap(other, text):
                yield f"{which}: prefix {text} overlaps prefixes[{earlier}] {other}"


def _is_masked(text: str) -> bool:
    return bool(text) and prefix(text).ip == prefix(text).network.network_address


RULES: dict[str, Rule] = {
    "BGPInstanceConfig": _bgp,
    "BondConfig": _bond,
    "BridgeConfig": _link,
    "DummyLinkConfig": _link,
    "EthernetConfig": _ethernet,
    "LinkAliasConfig": _link_alias,
    "LinkConfig": _link,
    "VLANConfig": _vlan,
    "VRFConfig": _vrf,
    "VethConfig": _veth,
    "WireguardConfig": _wireguard,
}
