"""Rules of the documents of addresses and network services."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from talos.config import gourl
from talos.config.errors import quote
from talos.config.rules.addresses import is_address, is_subnet, parse_address
from talos.config.rules.common import Context, Rule, Values, Warn, at, nanoseconds, required_name

_MIN_KUBESPAN_MTU = 1280
_RESERVED_PRIORITIES = (0, 32500, 32766, 32767)
_SLOW_CLOCK = (
    "all configured nameservers use encrypted DNS (DoT or DoH): validating certificates requires a correct system "
    "clock, so boot may stall when NTP servers are configured by hostname; consider keeping at least one plain-DNS "
    "fallback or configuring NTP servers by IP address"
)

_named = partial(required_name, text="name must be specified")


def _dhcp(values: Values, _: Context) -> Iterator[str]:
    yield from _named(values)
    by_duid, duid = values.get("clientIdentifier") == "duid", values.get("duidRaw")
    if duid and not by_duid:
        yield "duidRaw can only be set if clientIdentifier is 'duid'"
    if by_duid and not duid:
        yield "duidRaw must be set if clientIdentifier is 'duid'"


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
        first, _, second = str(port).partition("-")
        ranges.append((int(first), int(second or first)))
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


RULES: dict[str, Rule] = {
    "BlackholeRouteConfig": _blackhole_route,
    "DHCPv4Config": _dhcp,
    "DHCPv6Config": _dhcp,
    "HCloudVIPConfig": _hcloud_vip,
    "HTTPProbeConfig": _http_probe,
    "HostnameConfig": _hostname,
    "KubeSpanConfig": _kubespan,
    "Layer2VIPConfig": _vip,
    "NetworkRuleConfig": _network_rule,
    "ResolverConfig": _resolver,
    "RoutingRuleConfig": _routing_rule,
    "StaticHostConfig": _static_host,
    "TCPProbeConfig": _tcp_probe,
    "TimeSyncConfig": _time_sync,
}
