"""Rules of the documents of links, addresses and network services."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from talos.config import cel, gourl
from talos.config.errors import quote
from talos.config.rules.addresses import (
    decode_base64,
    is_address,
    is_subnet,
    overlap,
    parse_address,
    prefix,
)
from talos.config.rules.common import Context, Rule, Values, Warn, at, nanoseconds, required_name

_MIN_KUBESPAN_MTU = 1280
_RESERVED_PRIORITIES = (0, 32500, 32766, 32767)
_MAX_LINK_NAME = 15  # bytes
_SLOW_CLOCK = (
    "all configured nameservers use encrypted DNS (DoT or DoH): validating certificates requires a correct system "
    "clock, so boot may stall when NTP servers are configured by hostname; consider keeping at least one plain-DNS "
    "fallback or configuring NTP servers by IP address"
)

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


def _dhcp(values: Values, _: Context) -> Iterator[str]:
    yield from _named(values)
    by_duid, duid = values.get("clientIdentifier") == "duid", values.get("duidRaw")
    if duid and not by_duid:
        yield "duidRaw can only be set if clientIdentifier is 'duid'"
    if by_duid and not duid:
        yield "duidRaw must be set if clientIdentifier is 'duid'"


def _ethernet(values: Values, _: Context) -> Iterator[str]:
    yield from required_name(values, "name is required")


def _blackhole_route(values: Values, _: Context) -> Iterator[str]:
    yield from _named(values)
    name = values.get("name", "")
    if problem := _prefix_problem(name):
        yield f"name must be a valid address prefix: netip.ParsePrefix({quote(name)}): {problem}"


def _prefix_problem(text: str) -> str | None:
    address, slash, bits = text.rpartition("/")
    if not slash:
        return "no '/'"
    try:
        parsed = parse_address(address)
    except ValueError as error:
        return str(error)
    if "%" in address:
        return "IPv6 zones cannot be present in a prefix"
    if not bits.isdigit() or (len(bits) > 1 and bits[0] == "0"):
        return f"bad bits after slash: {quote(bits)}"
    return None if int(bits) <= parsed.max_prefixlen else "prefix length out of range"


def _vip(values: Values, _: Context) -> Iterator[str]:
    yield from _named(values)
    if name := values.get("name"):
        try:
            parse_address(name)
        except ValueError as error:
            yield f"name must be a valid IP address: {error}"
    if not values.get("link"):
        yield "link must be specified"


def _hcloud_vip(values: Values, context: Context) -> Iterator[str]:
    yield from _vip(values, context)
    if not values.get("apiToken"):
        yield "apiToken must be specified"


def _routing_rule(values: Values, _: Context) -> Iterator[str]:
    yield from _named(values)
    name = values.get("name", "")
    priority = int(name) if name.isascii() and name.isdigit() else -1
    if not 0 <= priority < 1 << 32:
        why = "invalid syntax" if priority < 0 else "value out of range"
        yield (
            f"invalid name: must be priority parsable unsigned integer: strconv.ParseUint: parsing {quote(name)}: {why}"
        )
        priority = 0 if priority < 0 else (1 << 32) - 1
    if priority in _RESERVED_PRIORITIES:
        reserved = " ".join(map(str, _RESERVED_PRIORITIES))
        yield f"priority must be between 1 and 32765 (excluding reserved priorities [{reserved}])"
    if values.get("table") is None and values.get("action") in (None, "unicast"):
        yield "either table or a non-unicast action must be specified"
    if values.get("fwMask") and not values.get("fwMark"):
        yield "fwMask requires fwMark to be set"


def _hostname(values: Values, _: Context) -> Iterator[str]:
    auto, hostname = values.get("auto"), values.get("hostname", "")
    if auto is None and not hostname:
        yield "either 'auto' or 'hostname' must be set"
    if auto not in (None, "off") and hostname:
        yield "'auto' and 'hostname' cannot be set at the same time"
    if auto == "talos-addr":
        yield f"invalid value for 'auto': {auto}"
    if hostname:
        if (size := len(hostname.encode())) > 253:
            yield f"fqdn is too long: {size}"
        label = hostname.partition(".")[0]
        if not 0 < len(label.encode()) <= 63:
            yield f"invalid hostname {quote(label)}"


def _static_host(values: Values, _: Context) -> Iterator[str]:
    yield from required_name(values, "name is required")
    try:
        parse_address(values.get("name", ""))
    except ValueError:
        yield "name must be a valid IP address"
    if not values.get("hostnames"):
        yield "at least one hostname is required"


def _resolver(values: Values, _: Context) -> Iterator[str]:
    host_dns = values.get("hostDNS") or {}
    if not host_dns.get("enabled"):
        for key in ("forwardKubeDNSToHost", "resolveMemberNames"):
            if host_dns.get(key):
                yield f"hostDNS.{key} cannot be enabled when hostDNS.enabled is false"
    servers = values.get("nameservers") or []
    for index, server in enumerate(servers):
        protocol, tls_name = server.get("protocol", "Do53"), server.get("tlsServerName")
        if protocol == "Do53":
            if tls_name:
                yield f"tlsServerName must be empty when protocol is Do53: entry {index}"
        elif not tls_name:
            yield f"tlsServerName must be set when protocol is {protocol}: entry {index}"
        if not server.get("address"):
            yield f"nameserver address must be a valid IP: entry {index}"
    if servers and all(server.get("protocol", "Do53") != "Do53" for server in servers):
        yield Warn(_SLOW_CLOCK)


def _time_sync(values: Values, _: Context) -> Iterator[str]:
    if nanoseconds(values.get("bootTimeout")) < 0:
        yield "bootTimeout cannot be negative"
    if values.get("ntp") is not None and values.get("ptp") is not None:
        yield "only one of ntp or ptp configuration can be specified"
    if at(values, "ntp.useNTS"):
        for server in at(values, "ntp.servers") or []:
            if is_address(server):
                yield f"NTS requires hostnames, not IP addresses: {quote(server)}"


def _network_rule(values: Values, _: Context) -> Iterator[str]:
    ports = at(values, "portSelector.ports")
    if not values.get("name"):
        yield "name is required"
    elif not ports:
        yield "portSelector.ports is required"
    elif problem := _ports_problem(ports):
        yield problem
    elif any(not rule.get("subnet") for rule in values.get("ingress") or []):
        yield "invalid subnet: invalid Prefix"


def _ports_problem(ports: list[int | str]) -> str | None:
    ranges = []
    for port in ports:
        low, _, high = str(port).partition("-")
        ranges.append((int(low), int(high or low)))
    previous: tuple[int, int] | None = None
    for low, high in sorted(ranges, key=lambda item: item[0]):
        if low > high:
            return f"invalid port range: {low}-{high}"
        if previous is not None and low <= previous[1]:
            return f"invalid port range: {low}-{high}, overlaps with {previous[0]}-{previous[1]}"
        previous = (low, high)
    return None


def _common_probe(values: Values) -> Iterator[str]:
    if nanoseconds(interval := values.get("interval")) < 0:
        yield f"probe interval cannot be negative: {interval}"
    if (threshold := values.get("failureThreshold", 0)) < 0:
        yield f"probe failure threshold cannot be negative: {threshold}"


def _http_probe(values: Values, _: Context) -> Iterator[str]:
    yield from required_name(values, "probe name is required")
    if not (text := values.get("url")):
        yield "HTTP probe URL is required"
    else:
        url = gourl.parse(text)
        if url.scheme not in ("http", "https"):
            yield f"HTTP probe URL scheme must be http or https, got {quote(url.scheme)}"
        elif url.opaque or not url.hostname:
            yield "HTTP probe URL must be an absolute http or https URL with a non-empty host"
    if nanoseconds(timeout := values.get("timeout")) < 0:
        yield f"HTTP probe timeout cannot be negative: {timeout}"
    yield from _common_probe(values)


def _tcp_probe(values: Values, _: Context) -> Iterator[str]:
    yield from required_name(values, "probe name is required")
    if not values.get("endpoint"):
        yield "TCP probe endpoint is required"
    if nanoseconds(timeout := values.get("timeout")) < 0:
        yield f"TCP probe timeout cannot be negative: {timeout}"
    yield from _common_probe(values)


def _kubespan(values: Values, _: Context) -> Iterator[str]:
    mtu = values.get("mtu")
    if mtu is not None and mtu < _MIN_KUBESPAN_MTU:
        yield f"kubespan link MTU must be at least {_MIN_KUBESPAN_MTU}"
    for cidr in at(values, "filters.endpoints") or []:
        if not is_subnet(cidr.removeprefix("!")):
            yield f"KubeSpan endpoint filter is not valid: {quote(cidr.removeprefix('!'))}"


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
    "BlackholeRouteConfig": _blackhole_route,
    "BondConfig": _bond,
    "BridgeConfig": _link,
    "DHCPv4Config": _dhcp,
    "DHCPv6Config": _dhcp,
    "DummyLinkConfig": _link,
    "EthernetConfig": _ethernet,
    "HCloudVIPConfig": _hcloud_vip,
    "HTTPProbeConfig": _http_probe,
    "HostnameConfig": _hostname,
    "KubeSpanConfig": _kubespan,
    "Layer2VIPConfig": _vip,
    "LinkAliasConfig": _link_alias,
    "LinkConfig": _link,
    "NetworkRuleConfig": _network_rule,
    "ResolverConfig": _resolver,
    "RoutingRuleConfig": _routing_rule,
    "StaticHostConfig": _static_host,
    "TCPProbeConfig": _tcp_probe,
    "TimeSyncConfig": _time_sync,
    "VLANConfig": _vlan,
    "VRFConfig": _vrf,
    "VethConfig": _veth,
    "WireguardConfig": _wireguard,
}
