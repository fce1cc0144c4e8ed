"""What a machine's COSI resources say, as the fields that the control plane keeps. Pure: specs in, fields out.

Specs are the YAML form of Talos' resources, decoded. Each group of fields is computed from a few resource types; when a
resource of one changes only its group is computed again.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import yaml

from talos import siderolink
from talos.resources import ResourceType, types

Spec = Any
Specs = Mapping[str, Mapping[str, Spec]]
"""Name of the resource type -> resource id -> spec."""

Fields = dict[str, Any]

UNIQUE_TOKEN_KEY = "0x10"  # noqa: S105  a META key, not its value
LABELS_KEY = "0x0c"
LABELS_LIMIT = 16 * 1024
"""Characters of the longest labels that are read; reading YAML takes its time."""


@dataclass(frozen=True)
class Group:
    """Fields that are computed together from some resource types."""

    kinds: tuple[ResourceType, ...]
    compute: Callable[[Specs], Fields]


def _only(specs: Specs, kind: ResourceType) -> Any:
    """The spec of a type that has one resource, or an empty mapping."""
    return next(iter(specs.get(kind.name, {}).values()), {}) or {}


def _status(specs: Specs) -> Fields:
    spec = _only(specs, types.MACHINE_STATUS)
    status = spec.get("status") or {}
    return {
        "stage": str(spec.get("stage", "")),
        "ready": bool(status.get("ready")),
        "unmet": [
            {"name": str(item.get("name", "")), "reason": str(item.get("reason", ""))}
            for item in status.get("unmetConditions") or []
        ],
    }


def _version(specs: Specs) -> Fields:
    version = _only(specs, types.VERSION).get("version")
    return {"talos_version": str(version)} if version else {}


def _platform(specs: Specs) -> Fields:
    return {"platform": str(_only(specs, types.PLATFORM_METADATA).get("platform", ""))}


def _security(specs: Specs) -> Fields:
    spec = _only(specs, types.SECURITY_STATE)
    return {
        "security": {
            "secure_boot": bool(spec.get("secureBoot")),
            "booted_with_uki": bool(spec.get("bootedWithUKI")),
            "selinux": str(spec.get("selinuxState", "")),
            "fips": str(spec.get("fipsState", "")),
            "module_signatures": bool(spec.get("moduleSignatureEnforced")),
        }
    }


def _cmdline(specs: Specs) -> Fields:
    return {"kernel_cmdline": _without_token(str(_only(specs, types.KERNEL_CMDLINE).get("cmdline", "")))}


def _without_token(cmdline: str) -> str:
    """The command line without the join token inside `siderolink.api`."""
    words = []
    for word in cmdline.split():
        head, found, _ = word.partition("jointoken=")
        words.append(f"{head}jointoken=●●●●●●" if found else word)
    return " ".join(words)


def _meta(specs: Specs) -> Fields:
    keys = {key: str((spec or {}).get("value", "")) for key, spec in specs.get(types.META_KEY.name, {}).items()}
    labels = _image_labels(keys.get(LABELS_KEY, ""))
    if UNIQUE_TOKEN_KEY in keys:
        keys[UNIQUE_TOKEN_KEY] = "●●●●●●"
    return {"meta": keys, "image_labels": labels}


def _image_labels(text: str) -> dict[str, str]:
    """Initial labels, YAML under `machineLabels`; anything else is no labels."""
    if len(text) > LABELS_LIMIT:
        return {}
    try:
        labels = (yaml.safe_load(text) or {}).get("machineLabels") or {}
        # Scalars only: a few lines of aliases are a text of gigabytes.
        return {str(key): str(value) for key, value in labels.items() if isinstance(value, str | int | float)}
    except (yaml.YAMLError, AttributeError, RecursionError):
        return {}


def _extensions(specs: Specs) -> Fields:
    extensions, schematic = [], ""
    for spec in specs.get(types.EXTENSION_STATUS.name, {}).values():
        metadata = (spec or {}).get("metadata") or {}
        name, version = str(metadata.get("name", "")), str(metadata.get("version", ""))
        if name == "schematic":
            schematic = version
        elif name not in ("modules.dep", "embedded-config"):
            extensions.append({"name": name, "version": version, "author": str(metadata.get("author", ""))})
    return {"extensions": sorted(extensions, key=lambda item: item["name"]), "schematic": schematic}


def _hostname(specs: Specs) -> Fields:
    return {"hostname": str(_only(specs, types.HOSTNAME_STATUS).get("hostname", ""))}


def _network(specs: Specs) -> Fields:
    addresses = _current_addresses(specs.get(types.NODE_ADDRESS.name, {}))
    links = [
        {
            "name": name,
            "mac": str(spec.get("permanentAddr") or spec.get("hardwareAddr") or ""),
            "state": str(spec.get("operationalState", "")),
            "speed_mbit": int(spec.get("speedMbit") or 0),
            "mtu": int(spec.get("mtu") or 0),
            "driver": str(spec.get("driver", "")),
        }
        for name, spec in specs.get(types.LINK_STATUS.name, {}).items()
        if spec and str(spec.get("type")) == "ether" and not spec.get("kind")
    ]
    routes = [
        {
            "gateway": str(spec["gateway"]),
            "link": str(spec.get("outLinkName", "")),
            "destination": str(spec.get("dst") or ""),
        }
        for spec in specs.get(types.ROUTE_STATUS.name, {}).values()
        if spec and spec.get("gateway") and str(spec.get("dst") or "") in ("", "0.0.0.0/0", "::/0")
    ]
    return {
        "addresses": addresses,
        "network": {
            "links": links,
            "routes": routes,
            "addresses": addresses,
            "networks": _networks(specs.get(types.ROUTE_STATUS.name, {})),
        },
    }


def _networks(routes: Mapping[str, Spec]) -> list[dict[str, str]]:
    """The networks a machine is part of, with the link of each: its routes without a gateway."""
    found = []
    for spec in routes.values():
        network, link = str((spec or {}).get("dst") or ""), str((spec or {}).get("outLinkName") or "")
        if not spec or spec.get("gateway") or not network or not link or spec.get("table") not in (None, "main"):
            continue
        parsed = ip_network(network, strict=False)
        if parsed.num_addresses > 1 and not parsed.is_link_local and not _on_overlay(network):
            found.append({"link": link, "network": str(parsed)})
    return sorted(found, key=lambda item: (item["link"], item["network"]))


def _current_addresses(specs: Mapping[str, Spec]) -> list[str]:
    spec = specs.get("current-no-k8s") or specs.get("current") or {}
    return [str(item) for item in spec.get("addresses") or [] if not _on_overlay(str(item))]


def _on_overlay(prefix: str) -> bool:
    try:
        address = ip_interface(prefix).ip
    except ValueError:
        return False
    return address.version == 6 and siderolink.has_purpose(str(address), siderolink.Purpose.SIDEROLINK)


def _hardware(specs: Specs) -> Fields:
    system = _only(specs, types.SYSTEM_INFORMATION)
    processors = [
        {
            "socket": socket,
            "manufacturer": str(spec.get("manufacturer", "")),
            "model": str(spec.get("productName", "")),
            "cores": int(spec.get("coreCount") or 0),
            "threads": int(spec.get("threadCount") or 0),
            "mhz": int(spec.get("maxSpeedMhz") or 0),
        }
        for socket, spec in specs.get(types.PROCESSOR.name, {}).items()
        if spec
    ]
    memory = [
        {
            "slot": slot,
            "size_mib": int(spec.get("sizeMiB") or 0),
            "manufacturer": str(spec.get("manufacturer", "")),
            "model": str(spec.get("productName", "")),
        }
        for slot, spec in specs.get(types.MEMORY_MODULE.name, {}).items()
        if spec and spec.get("sizeMiB")
    ]
    return {
        "hardware": {
            "system": {
                "manufacturer": str(system.get("manufacturer", "")),
                "product": str(system.get("productName", "")),
                "serial": str(system.get("serialnumber", "")),
            },
            "processors": processors,
            "memory": memory,
        },
        "cores": sum(item["cores"] for item in processors),
        "memory_mib": sum(item["size_mib"] for item in memory),
    }


def _disks(specs: Specs) -> Fields:
    system = _only(specs, types.SYSTEM_DISK)
    path = str(system.get("devPath") or "")
    disks = [
        {
            "name": name,
            "path": _disk_path(name, spec),
            "size": int(spec.get("size") or 0),
            "model": str(spec.get("model", "")),
            "serial": str(spec.get("serial", "")),
            "wwid": str(spec.get("wwid", "")),
            "transport": str(spec.get("transport", "")),
            "bus_path": str(spec.get("bus_path", "")),
            "modalias": str(spec.get("modalias", "")),
            "sub_system": str(spec.get("sub_system", "")),
            "uuid": str(spec.get("uuid", "")),
            "io_size": int(spec.get("io_size") or 0),
            "sector_size": int(spec.get("sector_size") or 0),
            "rotational": bool(spec.get("rotational")),
            "readonly": bool(spec.get("readonly")),
            "cdrom": bool(spec.get("cdrom")),
            "secondary": bool(spec.get("secondary_disks")),
            "symlinks": [str(item) for item in spec.get("symlinks") or []],
            "system": _disk_path(name, spec) == path,
        }
        for name, spec in specs.get(types.DISK.name, {}).items()
        if spec and not name.startswith(("loop", "dm-", "ram"))
    ]
    return {
        "disks": disks,
        "disk_bytes": sum(item["size"] for item in disks if not item["cdrom"]),
        "system_disk": path,
        "installed": bool(path),
    }


def _disk_path(name: str, spec: Mapping[str, Any]) -> str:
    """Talos names a disk after its device, and most machines say the path as well."""
    return str(spec.get("dev_path") or f"/dev/{name}")


def _etcd(specs: Specs) -> Fields:
    return {"etcd_member_id": str(_only(specs, types.ETCD_MEMBER).get("memberID", ""))}


def _nodename(specs: Specs) -> Fields:
    return {"node_name": str(_only(specs, types.NODENAME).get("nodename", ""))}


def _identity(specs: Specs) -> Fields:
    return {"node_id": str(_only(specs, types.IDENTITY).get("nodeId", ""))}


GROUPS = (
    Group((types.MACHINE_STATUS,), _status),
    Group((types.VERSION,), _version),
    Group((types.PLATFORM_METADATA,), _platform),
    Group((types.SECURITY_STATE,), _security),
    Group((types.KERNEL_CMDLINE,), _cmdline),
    Group((types.META_KEY,), _meta),
    Group((types.EXTENSION_STATUS,), _extensions),
    Group((types.HOSTNAME_STATUS,), _hostname),
    Group((types.LINK_STATUS, types.ROUTE_STATUS, types.NODE_ADDRESS), _network),
    Group((types.SYSTEM_INFORMATION, types.PROCESSOR, types.MEMORY_MODULE), _hardware),
    Group((types.DISK, types.SYSTEM_DISK), _disks),
    Group((types.ETCD_MEMBER,), _etcd),
    Group((types.NODENAME,), _nodename),
    Group((types.IDENTITY,), _identity),
)

WATCHED = tuple(kind for group in GROUPS for kind in group.kinds)
"""Every resource type that is watched on a machine, where the machine has it."""


def fields(specs: Specs, changed: set[str] | None = None) -> Fields:
    """The fields that depend on the `changed` resource types, by name; all fields when None.

    A group is left out while one of its resources does not have the form that Talos gives it.
    """
    result: Fields = {}
    for group in GROUPS:
        if changed is None or any(kind.name in changed for kind in group.kinds):
            with contextlib.suppress(AttributeError, TypeError, ValueError, OverflowError):
                result |= group.compute(specs)
    return result


def node_addresses(addresses: list[str]) -> list[str]:
    """Addresses without prefix length, IPv4 first, link-local ones left out."""
    plain = [ip_interface(item).ip for item in addresses]
    usable = [item for item in plain if not item.is_link_local and not item.is_loopback]
    return [str(item) for item in sorted(usable, key=lambda item: (item.version, ip_address(str(item))))]
