"""Rules of `machine.network.interfaces` in the v1alpha1 document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from talos.config.errors import quote
from talos.config.rules.addresses import (
    address_or_prefix_problem,
    decode_base64,
    has_port,
    is_address,
    is_prefix,
)
from talos.config.rules.common import Values, Warn, at

_EXCLUSIVE = "config sections are mutually exclusive"
_REQUIRED = "required either config section to be set"
_SECTION = "networking.os.device"
_WORDS = {
    "xmitHashPolicy": ("xmit hash policy", ("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4")),
    "lacpRate": ("lacp rate", ("slow", "fast")),
    "arpValidate": (
        "arp_validate mode",
        ("none", "active", "backup", "all", "filter", "filter-active", "filter-backup"),
    ),
    "arpAllTargets": ("arp_all_targets mode", ("any", "all")),
    "primaryReselect": ("primary_reselect mode", ("always", "better", "failure")),
    "failOverMac": ("fail_over_mac value", ("none", "active", "follow")),
    "adSelect": ("ad_select mode", ("stable", "bandwidth", "count")),
}
_MODES = ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")


def devices(interfaces: Iterable[Values]) -> Iterator[str]:
    """Findings about all interfaces."""
    interfaces = list(interfaces)
    masters: dict[str, str] = {}
    for device in interfaces:
        yield from _grouping(device, masters)
    for device in interfaces:
        if not device.get("ignore"):
            yield from _identity(device)
            yield from _addressing(device, masters)
            yield from _routes(device)


def _grouping(device: Values, masters: dict[str, str]) -> Iterator[str]:
    """Bonds and bridges; `masters` learns which interface belongs to which."""
    name = device.get("interface", "")
    bond, bridge = device.get("bond"), device.get("bridge")
    if bond is not None and bridge is not None:
        yield f"interface has both bridge and bond sections set {quote(name)}: {_EXCLUSIVE}"
    members: list[str] = []
    if bond is not None:
        members = bond.get("interfaces") or []
        if members and bond.get("deviceSelectors"):
            yield f"interface {quote(name)} has both interfaces and selectors set: {_EXCLUSIVE}"
    if bridge is not None:
        members = bridge.get("interfaces") or []
    for member in members:
        if masters.get(member, name) != name:
            yield (
                f"interface {quote(member)} is declared as part of two separate links: "
                f"{quote(masters[member])} and {quote(name)}"
            )
        masters[member] = name


def _identity(device: Values) -> Iterator[str]:
    both = f"[{_SECTION}.interface], [{_SECTION}.deviceSelector]"
    name, selector = device.get("interface"), device.get("deviceSelector")
    if not name and selector is None:
        yield f"{both}: {_REQUIRED}"
    elif name and selector is not None:
        yield f"{both}: {_EXCLUSIVE}"
    if selector == {}:
        yield f"[{_SECTION}.deviceSelector]: config section should contain at least one field"
    if (bond := device.get("bond")) is not None:
        yield from _bond(bond)
    if (wireguard := device.get("wireguard")) is not None:
        yield from _wireguard(wireguard)
    for vlan in device.get("vlans") or []:
        yield from _vlan(vlan, f"{name or ''}.{vlan.get('vlanId', 0)}")


def _bond(bond: Values) -> Iterator[str]:
    mode = bond.get("mode") or _MODES[0]
    if mode not in _MODES:
        yield f"invalid bond type {mode}"
        mode = _MODES[0]
    for key, (what, words) in _WORDS.items():
        if (word := bond.get(key)) and word not in words:
            yield f"invalid {what} {word}"
    monitor = bond.get("miimon", 0)
    for key, label in (("updelay", "bond.upDelay"), ("downdelay", "bond.downDelay")):
        delay = bond.get(key, 0)
        if delay and not monitor:
            yield f"{label} can't be set if miiMon is zero"
        elif monitor and delay % monitor:
            yield f"{label} should be a multiple of miiMon"
    lacp, balanced = mode == "802.3ad", mode in ("balance-tlb", "balance-alb")
    for key, label, wrong in (
        ("arpIPTarget", "bond.arpIPTarget is not supported", True),
        ("lacpRate", "bond.lacpRate is only available in 802.3ad mode", not lacp),
        ("adActorSystem", "bond.adActorSystem is not supported", True),
        ("arpValidate", f"bond.arpValidate is not available in {mode} mode", lacp or balanced),
        ("primary", f"bond.primary is not available in {mode} mode", not (balanced or mode == "active-backup")),
        ("arpInterval", f"bond.arpInterval is not available in {mode} mode", lacp or balanced),
    ):
        if wrong and bond.get(key):
            yield label
    if mode != "balance-rr" and bond.get("packetsPerSlave", 0) > 1:
        yield f"bond.packetsPerSlave is not available in {mode} mode"
    if not balanced and bond.get("tlbDynamicLb"):
        yield f"bond.tlbDynamicTLB is not available in {mode} mode"
    for key in ("adActorSysPrio", "adUserPortKey"):
        if not lacp and bond.get(key):
            yield f"bond.{key} is only available in 802.3ad mode"


def _wireguard(wireguard: Values) -> Iterator[str]:
    if problem := _key_problem(wireguard.get("privateKey", "")):
        yield f"private key is invalid: {problem}"
    for peer in wireguard.get("peers") or []:
        if problem := _key_problem(peer.get("publicKey", "")):
            yield f"public key invalid: {problem}"
        if (endpoint := peer.get("endpoint")) and not has_port(endpoint):
            yield f"peer endpoint {quote(endpoint)} is invalid"
        for allowed in peer.get("allowedIPs") or []:
            if not is_prefix(allowed):
                yield f"peer allowed IP {quote(allowed)} is invalid: invalid CIDR address: {allowed}"


def _key_problem(key: str) -> str | None:
    try:
        size = len(decode_base64(key))
    except ValueError as error:
        return str(error)
    return None if size == 32 else f"wrong key {quote(key)} length: {size}"


def _vlan(vlan: Values, name: str) -> Iterator[str]:
    section = f"{_SECTION}.vlan"
    addresses, cidr = vlan.get("addresses") or [], vlan.get("cidr")
    if addresses and cidr:
        yield f"[{section}] {name}: vlan can't have both .cidr and .addresses set"
    for part, values in (("CIDR", [cidr] if cidr else []), ("addresses", addresses)):
        for value in values:
            if problem := address_or_prefix_problem(value):
                yield f"[{section}.{part}] {name}: {problem}"


def _addressing(device: Values, masters: dict[str, str]) -> Iterator[str]:
    name = device.get("interface", "")
    addresses, cidr, vip = device.get("addresses") or [], device.get("cidr"), device.get("vip")
    if name in masters and (device.get("dhcp") or cidr or addresses or vip is not None):
        yield f"[{_SECTION}] {quote(name)}: bonded/bridged interface shouldn't have any addressing methods configured"
    if addresses and cidr:
        yield f"[{_SECTION}] {quote(name)}: interface can't have both .cidr and .addresses set"
    if cidr:
        if problem := address_or_prefix_problem(cidr):
            yield f"[{_SECTION}.CIDR] {quote(name)}: {problem}"
        yield Warn(
            f"{quote(name)}: machine.network.interface.cidr is deprecated, "
            "please use machine.network.interface.addresses"
        )
    for address in addresses:
        if problem := address_or_prefix_problem(address):
            yield f"[{_SECTION}.addresses] {quote(name)}: {problem}"
    if vip is not None and not is_address(at(vip, "ip") or ""):
        yield f"[{_SECTION}.vip] failed to parse {quote(at(vip, 'ip') or '')} as IP address"


def _routes(device: Values) -> Iterator[str]:
    for index, route in enumerate(device.get("routes") or []):
        section = f"{_SECTION}.route[{index}]"
        network, gateway, source = (route.get(key, "") for key in ("network", "gateway", "source"))
        if network and not is_prefix(network):
            yield f"[{section}.network] {quote(network)}: invalid network address"
        if gateway and not is_address(gateway):
            yield f"[{section}.gateway] {quote(gateway)}: invalid network address"
        if not gateway and not network:
            yield f"[{section}]: either network or gateway should be set"
        if source and not is_address(source):
            yield f"[{section}.source] {quote(source)}: invalid network address"
