"""What a machine says about itself in COSI resources, apart from what changes from second to second.

Each function gives (type, id, spec) triples; specs have the shape of the YAML form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from ipaddress import ip_address, ip_interface
from typing import Any

from nodeagent.simulator.disk import Installation
from nodeagent.simulator.hardware import BlockDevice, Hardware
from talos.resources import Metadata, Resource, ResourceType
from talos.resources import types as t

Content = Iterator[tuple[ResourceType, str, Any]]

LINK = "eth0"
_INDEX = {LINK: 2, "siderolink": 3, "siderolinktun": 3, "kubespan": 4}
PREFIX = 16
"""Length of the network of every machine."""

#: Types that came with a release line.
_SINCE: dict[ResourceType, tuple[int, int]] = {
    t.VERSION: (1, 10),
    t.KERNEL_CMDLINE: (1, 11),
    t.BOOTED_ENTRY: (1, 11),
    t.BOOT_ID: (1, 14),
    t.IMAGE_FACTORY_SCHEMATIC: (1, 14),
    t.UNATTENDED_INSTALL_STATUS: (1, 14),
}

_NAMESPACES = {
    "cluster": "Cluster configuration and discovery resources.",
    "cluster-raw": "Discovery resources as each registry reports them.",
    "config": "Talos node configuration.",
    "controlplane": "Kubernetes control plane resources.",
    "cri": "CRI Seccomp resources.",
    "etcd": "etcd resources.",
    "hardware": "Hardware resources.",
    "k8s": "Kubernetes all node types resources.",
    "kubespan": "KubeSpan resources.",
    "meta": "Metadata namespace which contains resource and namespace definitions.",
    "network": "Networking resources.",
    "perf": "Stats resources.",
    "runtime": "Talos Linux runtime resources.",
    "secrets": "Resources with secret material.",
}


def exists(kind: ResourceType, version: tuple[int, int]) -> bool:
    """Whether machines of a release line have the type."""
    return version >= _SINCE.get(kind, (0, 0))


@cache
def definitions(version: tuple[int, int]) -> tuple[Resource, ...]:
    """Namespaces and definitions of all types of a release line."""
    namespaces = [
        Resource(Metadata("meta", t.NAMESPACE.name, name, "1"), {"description": text})
        for name, text in _NAMESPACES.items()
    ]
    kinds = [
        Resource(Metadata("meta", t.RESOURCE_DEFINITION.name, name.lower(), "1"), kind.definition())
        for name, kind in t.TYPES.items()
        if exists(kind, version)
    ]
    return (*namespaces, *kinds)


def pretty_size(size: int) -> str:
    """Decimal units as Talos prints them: `54 GB`."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 10 and unit != "B" else f"{value:.0f} {unit}"


def hardware(machine: Hardware, uuid: str) -> Content:
    """Boards, processor, memory and disks. `uuid` is what the machine calls itself."""
    yield (
        t.SYSTEM_INFORMATION,
        "",
        {
            "manufacturer": "QEMU",
            "productName": "Standard PC (Q35 + ICH9, 2009)",
            "version": "pc-q35-8.2",
            "serialnumber": machine.serial,
            "uuid": uuid,
            "wakeUpType": "Power Switch",
        },
    )
    yield (
        t.PROCESSOR,
        "CPU-0",
        {
            "socket": "CPU 0",
            "manufacturer": "QEMU",
            "productName": "pc-q35-8.2",
            "maxSpeedMhz": 2000,
            "bootSpeedMhz": 2000,
            "status": 65,
            "coreCount": machine.cores,
            "coreEnabled": machine.cores,
            "threadCount": machine.cores,
        },
    )
    yield (
        t.MEMORY_MODULE,
        "DIMM-0",
        {"sizeMiB": machine.memory, "deviceLocator": "DIMM 0", "manufacturer": "QEMU"},
    )
    yield (
        t.PCI_DEVICE,
        "0000:00:02.0",
        {
            "class": "Network controller",
            "subclass": "Ethernet controller",
            "vendor": "Red Hat, Inc.",
            "product": "Virtio network device",
            "class_id": "0x02",
            "subclass_id": "0x00",
            "vendor_id": "0x1af4",
            "product_id": "0x1000",
            "driver": "virtio-pci",
        },
    )
    for disk in machine.disks:
        yield t.DISK, disk.name, _disk(disk)
        yield t.BLOCK_DEVICE, disk.name, {"type": "disk", "generation": 1, "devicePath": f"/sys/block/{disk.name}"}


def _disk(disk: BlockDevice) -> dict[str, Any]:
    return {
        "size": disk.size,
        "pretty_size": pretty_size(disk.size),
        "io_size": 512,
        "sector_size": 512,
        "model": disk.model,
        "serial": disk.serial,
        "wwid": disk.wwid,
        "bus_path": f"/pci0000:00/0000:00:03.0/virtio{disk.name[-1]}",
        "sub_system": "/sys/class/block",
        "transport": disk.transport,
        "rotational": disk.rotational,
        "dev_path": disk.path,
        "symlinks": [f"/dev/disk/by-id/wwn-{disk.wwid}"],
    }


#: Partitions of an installed system disk: number, label, file system, size in bytes (0: the rest).
_PARTITIONS = (
    (1, "EFI", "vfat", 2202 * 1024**2),
    (3, "META", "none", 1024**2),
    (4, "STATE", "xfs", 100 * 1024**2),
    (5, "EPHEMERAL", "xfs", 0),
)


def volumes(machine: Hardware, installed: Installation | None, *, configured: bool) -> Content:
    """What the system volumes are. Without an installation they are missing, or wait for one."""
    disk = machine.disk(installed.disk) if installed else None
    for number, label, filesystem, size in _PARTITIONS:
        if label == "EFI":
            continue
        if disk is None:
            phase = "waiting" if label == "EPHEMERAL" and not configured else "missing"
            yield t.VOLUME_STATUS, label, {"type": "partition", "phase": phase}
            continue
        real = size or disk.size - sum(other for *_, other in _PARTITIONS)
        yield (
            t.VOLUME_STATUS,
            label,
            {
                "type": "partition",
                "phase": "ready",
                "location": f"{disk.path}{number}",
                "parentLocation": disk.path,
                "partitionIndex": number,
                "size": real,
                "prettySize": pretty_size(real),
                "filesystem": filesystem,
            },
        )
    if disk is not None:
        yield t.SYSTEM_DISK, "", {"diskID": disk.name, "devPath": disk.path}
        for number, label, filesystem, size in _PARTITIONS:
            real = size or disk.size - sum(other for *_, other in _PARTITIONS)
            yield (
                t.DISCOVERED_VOLUME,
                f"{disk.name}{number}",
                {
                    "type": "partition",
                    "size": real,
                    "pretty_size": pretty_size(real),
                    "name": "" if filesystem == "none" else filesystem,
                    "partition_label": label,
                    "partition_index": number,
                    "device_path": f"/sys/block/{disk.name}/{disk.name}{number}",
                    "dev_path": f"{disk.path}{number}",
                    "parent": disk.name,
                    "parent_dev_path": disk.path,
                },
            )


def image(version: str, schematic: str, factory: str, minor: tuple[int, int]) -> Content:
    """Which Talos runs. `schematic` is empty for an image that no factory made."""
    if exists(t.VERSION, minor):
        yield t.VERSION, "", {"name": "Talos", "version": version}
    if schematic:
        yield (
            t.EXTENSION_STATUS,
            "0",
            {
                "image": "0.sqsh",
                "metadata": {
                    "name": "schematic",
                    "version": schematic,
                    "author": f"Image Factory ({factory})",
                    "description": "Names the schematic that the Image Factory built this image from.",
                    "compatibility": {"talos": {"version": ">= 1.0.0"}},
                    "extraInfo": "customization: {}\n",
                },
            },
        )
        if exists(t.IMAGE_FACTORY_SCHEMATIC, minor):
            yield t.IMAGE_FACTORY_SCHEMATIC, "", {"schematicId": schematic, "flavor": "oss", "apiUrl": factory}


def boot(boot_id: str, command_line: str, minor: tuple[int, int]) -> Content:
    """Facts of one boot."""
    yield t.PLATFORM_METADATA, "", {"platform": "metal"}
    yield t.SECURITY_STATE, "", {"secureBoot": False, "selinuxState": "enabled, permissive"}
    yield t.TIME_STATUS, "", {"synced": True, "epoch": 1}
    if exists(t.KERNEL_CMDLINE, minor):
        yield t.KERNEL_CMDLINE, "", {"cmdline": command_line}
    if exists(t.BOOT_ID, minor):
        yield t.BOOT_ID, "", {"bootID": boot_id}


def network(machine: Hardware) -> Content:
    """The machine's own network: one Ethernet link with DHCP, a network that it is part of, a gateway."""
    yield (
        t.LINK_STATUS,
        "lo",
        {
            "index": 1,
            "type": "loopback",
            "flags": "UP,LOOPBACK,RUNNING,LOWER_UP",
            "mtu": 65536,
            "operationalState": "unknown",
            "port": "Other",
            "duplex": "Unknown",
        },
    )
    yield (
        t.LINK_STATUS,
        LINK,
        {
            "index": 2,
            "type": "ether",
            "flags": "UP,BROADCAST,RUNNING,MULTICAST,LOWER_UP",
            "hardwareAddr": machine.mac.hex(":"),
            "permanentAddr": machine.mac.hex(":"),
            "broadcastAddr": "ff:ff:ff:ff:ff:ff",
            "mtu": 1500,
            "queueDisc": "fq_codel",
            "operationalState": "up",
            "linkState": True,
            "speedMbit": 10000,
            "port": "Other",
            "duplex": "Full",
            "driver": "virtio_net",
            "busPath": "0000:00:02.0",
            "vendor": "Red Hat, Inc.",
            "product": "Virtio network device",
        },
    )
    subnet = ip_interface(f"{machine.address}/{PREFIX}").network
    gateway = str(subnet[1])
    yield (
        t.ROUTE_STATUS,
        f"inet4/{gateway}//1024",
        {
            "family": "inet4",
            "dst": "",
            "gateway": gateway,
            "outLinkIndex": 2,
            "outLinkName": LINK,
            "table": "main",
            "priority": 1024,
            "scope": "global",
            "type": "unicast",
            "protocol": "dhcp",
        },
    )
    yield (
        t.ROUTE_STATUS,
        f"inet4//{subnet}/0",
        {
            "family": "inet4",
            "dst": str(subnet),
            "src": machine.address,
            "gateway": "",
            "outLinkIndex": 2,
            "outLinkName": LINK,
            "table": "main",
            "priority": 0,
            "scope": "link",
            "type": "unicast",
            "protocol": "kernel",
        },
    )
    yield t.RESOLVER_STATUS, "", {"dnsServers": ["1.1.1.1", "8.8.8.8"], "searchDomains": []}
    yield t.TIME_SERVER_STATUS, "", {"timeServers": ["time.cloudflare.com"]}
    yield (
        t.NETWORK_STATUS,
        "",
        {"addressReady": True, "connectivityReady": True, "hostnameReady": True, "etcFilesReady": True},
    )


def virtual_address(address: str) -> str:
    """The id of a virtual IP among the addresses of its link."""
    return f"{LINK}/{address}/{ip_address(address).max_prefixlen}"


def addresses(
    machine: Hardware, overlay: str | None, carried: Sequence[str], mesh: str | None, *, configured: bool
) -> Content:
    """Node addresses; `overlay` is the machine's SideroLink address, `carried` are the virtual IPs that it has now,
    `mesh` is its KubeSpan address.
    """
    own = f"{machine.address}/{PREFIX}"
    held = [(LINK, own), *(tuple(virtual_address(item).split("/", 1)) for item in carried)]
    if overlay:
        held.append(("siderolink", f"{overlay}/64"))
    if mesh:
        held.append(("kubespan", f"{mesh}/64"))
    for link, address in held:
        yield (
            t.ADDRESS_STATUS,
            f"{link}/{address}",
            {
                "address": address,
                "linkName": link,
                "linkIndex": _INDEX[link],
                "family": "inet6" if ":" in address else "inet4",
                "scope": "global",
            },
        )
    current = [address for _, address in held]
    routed = [own, f"{mesh}/64"] if mesh else [own]
    sets = {"default": [own], "routed": routed, "current": current, "accumulative": current}
    for name, members in sets.items():
        yield t.NODE_ADDRESS, name, {"addresses": members}
        if configured:
            yield t.NODE_ADDRESS, f"{name}-no-k8s", {"addresses": members}
            yield t.NODE_ADDRESS, f"{name}-only-k8s", {"addresses": []}


def wireguard_link(name: str, mtu: int = 1280) -> Content:
    """An interface of an overlay; one inside gRPC is a TUN device."""
    yield (
        t.LINK_STATUS,
        name,
        {
            "index": _INDEX[name],
            "type": "nohdr",
            "kind": "tun" if name == "siderolinktun" else "wireguard",
            "flags": "UP,POINTTOPOINT,RUNNING,NOARP,LOWER_UP",
            "mtu": mtu,
            "operationalState": "unknown",
            "linkState": True,
            "port": "Other",
            "duplex": "Unknown",
        },
    )
