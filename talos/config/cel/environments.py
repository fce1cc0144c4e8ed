"""What expressions can refer to, by what they select."""

from __future__ import annotations

from dataclasses import dataclass, field

from talos.config.cel.functions import GLOBAL, MEMBER, OPTIONAL_GLOBAL, OPTIONAL_MEMBER, Overload
from talos.config.cel.types import DYN, Type, list_of, map_of, optional

_BLOCK = "talos.resource.definitions.block."
_NETWORK = "talos.resource.definitions.network."
_DISK, _VOLUME, _LINK = f"{_BLOCK}DiskSpec", f"{_BLOCK}DiscoveredVolumeSpec", f"{_NETWORK}LinkStatusSpec"


def _fields(text: str, **others: Type) -> dict[str, Type]:
    """Fields written as `type: names; ...`."""
    fields: dict[str, Type] = {}
    for group in text.split(";"):
        type_, _, names = group.partition(":")
        fields |= dict.fromkeys(names.split(), type_.strip())
    return fields | others


MESSAGES: dict[str, dict[str, Type]] = {
    _DISK: _fields(
        "uint: size io_size sector_size; bool: readonly rotational cdrom;"
        "string: model serial modalias wwid bus_path sub_system transport dev_path pretty_size uuid firmware_version",
        secondary_disks=list_of("string"),
        symlinks=list_of("string"),
    ),
    _VOLUME: _fields(
        "uint: size sector_size io_size block_size filesystem_block_size probed_size partition_index offset;"
        "string: name uuid label partition_uuid partition_type partition_label type device_path parent dev_path"
        " parent_dev_path pretty_size"
    ),
    _LINK: _fields(
        "uint: index link_index flags mtu master_index; int: type operational_state speed_megabits port duplex;"
        "bytes: hardware_addr broadcast_addr permanent_addr; bool: link_state;"
        "string: queue_disc kind slave_kind bus_path pciid driver driver_version firmware_version product_id vendor_id"
        " product vendor alias",
        alt_names=list_of("string"),
        vlan=f"{_NETWORK}VLANSpec",
        bridge_master=f"{_NETWORK}BridgeMasterSpec",
        bond_master=f"{_NETWORK}BondMasterSpec",
        wireguard=f"{_NETWORK}WireguardSpec",
        vrf_master=f"{_NETWORK}VRFMasterSpec",
        veth=f"{_NETWORK}VethSpec",
    ),
    f"{_NETWORK}VLANSpec": _fields("uint: vid; int: protocol"),
    f"{_NETWORK}BridgeMasterSpec": {"stp": f"{_NETWORK}STPSpec", "vlan": f"{_NETWORK}BridgeVLANSpec"},
    f"{_NETWORK}STPSpec": {"enabled": "bool"},
    f"{_NETWORK}BridgeVLANSpec": {"filtering_enabled": "bool"},
    f"{_NETWORK}BondMasterSpec": _fields(
        "int: mode hash_policy lacp_rate arp_validate arp_all_targets primary_reselect fail_over_mac ad_select"
        " adlacp_active; bool: use_carrier;"
        "uint: primary_index mii_mon up_delay down_delay arp_interval resend_igmp min_links lp_interval"
        " packets_per_slave num_peer_notif tlb_dynamic_lb all_slaves_active ad_actor_sys_prio ad_user_port_key"
        " peer_notify_delay missed_max",
        arpip_targets=list_of("common.NetIP"),
        nsip6_targets=list_of("common.NetIP"),
    ),
    "common.NetIP": {"ip": "bytes"},
    "common.NetIPPrefix": {"ip": "bytes", "prefix_length": "int"},
    f"{_NETWORK}WireguardSpec": _fields(
        "string: private_key public_key; int: listen_port firewall_mark", peers=list_of(f"{_NETWORK}WireguardPeer")
    ),
    f"{_NETWORK}WireguardPeer": _fields(
        "string: public_key preshared_key endpoint; duration: persistent_keepalive_interval",
        allowed_ips=list_of("common.NetIPPrefix"),
    ),
    f"{_NETWORK}VRFMasterSpec": {"table": "int"},
    f"{_NETWORK}VethSpec": {"peer_name": "string"},
}
"""Fields of the messages an expression can look into."""

_UNITS: dict[str, Type] = {
    f"{prefix}{unit}": "uint" for unit, prefixes in (("iB", "KMGTPE"), ("B", "kMGTPE")) for prefix in prefixes
}
_CLASSES: dict[str, Type] = dict.fromkeys(["Besteffort", "Burstable", "Guaranteed", "Podruntime", "System"], "int")
_TYPE_NAMES: dict[str, Type] = {
    type_: ("type", type_)
    for type_ in ("bool", "bytes", "double", "duration", "int", "null_type", "string", "timestamp", "uint", "dyn")
}
_BASIC_TYPES: dict[str, Type] = {
    **_TYPE_NAMES,
    "list": ("type", list_of(DYN)),
    "map": ("type", map_of(DYN, DYN)),
    "type": ("type", ("type", DYN)),
}
_GLOB: dict[str, list[Overload]] = {"glob": [(("string", "string"), "bool")]}
_PRESSURES = [f"{what}_avg{seconds}" for what in ("memory_some", "memory_full") for seconds in (10, 60, 300)] + [
    "memory_some_total",
    "memory_full_total",
]


@dataclass(frozen=True)
class Environment:
    """The variables and functions of an expression, and the type it has to have."""

    variables: dict[str, Type]
    functions: dict[str, list[Overload]] = field(default_factory=dict)
    members: dict[str, list[Overload]] = field(default_factory=dict)
    result: Type = "bool"

    def variable(self, name: str) -> Type | None:
        return self.variables.get(name) or _BASIC_TYPES.get(name)

    def function(self, name: str) -> list[Overload] | None:
        return self.functions.get(name) or GLOBAL.get(name)

    def member(self, name: str) -> list[Overload] | None:
        return self.members.get(name) or MEMBER.get(name)


DISK = Environment({"disk": _DISK, "system_disk": "bool", **_UNITS}, _GLOB)
VOLUME = Environment({"volume": _VOLUME, "disk": _DISK, **_UNITS})
MEMBER_VOLUME = Environment(
    {"volume": _VOLUME, "disk": _DISK, "volume_id": "string", "system_disk": "bool", **_UNITS}, _GLOB
)
LINK = Environment({"link": _LINK}, {**_GLOB, "mac": [(("bytes",), "string")]})
OOM_TRIGGER = Environment(
    {
        **{f"{delta}{name}": "double" for delta in ("", "d_") for name in _PRESSURES},
        **{
            f"{delta}qos_{name}": map_of("int", "double")
            for delta in ("", "d_")
            for name in (*_PRESSURES, "memory_current", "memory_peak", "memory_max")
        },
        "time_since_trigger": "duration",
        **_UNITS,
        **_CLASSES,
    },
    {
        **OPTIONAL_GLOBAL,
        "multiply_qos_vectors": [((map_of(DYN, "double"), map_of(DYN, "double")), "double")],
    },
    OPTIONAL_MEMBER,
)
OOM_SCORE = Environment(
    {
        **dict.fromkeys(("memory_max", "memory_current", "memory_peak"), optional("uint")),
        "path": "string",
        "class": "int",
        **_UNITS,
        **_CLASSES,
    },
    OPTIONAL_GLOBAL,
    OPTIONAL_MEMBER,
    result="double",
)
