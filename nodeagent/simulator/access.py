"""Who may call what on a machine, and which methods a Talos version has."""

from __future__ import annotations

from talos.roles import ADMIN, ETCD_BACKUP, IMAGE_VERIFIER, META_WRITER, OPERATOR, READER

Minor = tuple[int, int]

_ANYONE = frozenset({ADMIN, OPERATOR, READER})
_OPERATORS = frozenset({ADMIN, OPERATOR})
_ADMINS = frozenset({ADMIN})


_MACHINE_SERVICE: dict[frozenset[str], tuple[str, ...]] = {
    _ANYONE: (
        "Version", "Hostname", "Events", "Logs", "LogsContainers", "Dmesg", "List", "DiskUsage", "Mounts", "Memory",
        "LoadAvg", "SystemStat", "CPUInfo", "CPUFreqStats", "DiskStats", "NetworkDeviceStats", "Netstat", "Processes",
        "Containers", "Stats", "ServiceList", "ImageList",
    ),
    _ANYONE | {ETCD_BACKUP}: ("EtcdMemberList", "EtcdStatus", "EtcdAlarmList"),
    _OPERATORS: (
        "Reboot", "Shutdown", "Restart", "ServiceStart", "ServiceStop", "ServiceRestart", "EtcdAlarmDisarm",
        "EtcdDefragment", "ImagePull", "PacketCapture",
    ),
    _OPERATORS | {ETCD_BACKUP}: ("EtcdSnapshot",),
    _ADMINS | {META_WRITER}: ("MetaWrite", "MetaDelete"),
}  # fmt: skip

_ROLES: dict[str, frozenset[str]] = {
    **{f"/machine.MachineService/{name}": roles for roles, names in _MACHINE_SERVICE.items() for name in names},
    "/machine.ImageService/List": _ANYONE,
    "/machine.ImageService/Pull": _OPERATORS,
    "/machine.ImageService/Verify": _ANYONE | {IMAGE_VERIFIER},
    "/storage.StorageService/Disks": _ANYONE,
    "/time.TimeService/Time": _ANYONE,
    "/time.TimeService/TimeCheck": _ANYONE,
    "/inspect.InspectService/ControllerRuntimeDependencies": _ANYONE,
    "/cluster.ClusterService/HealthCheck": _ANYONE,
    "/cosi.resource.State/Get": _ANYONE,
    "/cosi.resource.State/List": _ANYONE,
    "/cosi.resource.State/Watch": _ANYONE,
}

_READER_IN_MAINTENANCE = {
    "/machine.MachineService/ApplyConfiguration",
    "/storage.StorageService/BlockDeviceWipe",
}

_SINCE: dict[str, Minor] = {
    "/machine.ImageService/": (1, 13),
    "/machine.LifecycleService/": (1, 13),
    "/machine.DebugService/": (1, 13),
    "/machine.LVMService/": (1, 14),
    "/machine.MDService/": (1, 14),
    "/machine.StorageService/": (1, 15),
    "/machine.MachineService/EtcdDowngrade": (1, 11),
}

SEPARATE_MAINTENANCE_UNTIL: Minor = (1, 13)
"""Before this version maintenance mode was served by a small server of its own."""

_OLD_MAINTENANCE = {
    "/machine.MachineService/ApplyConfiguration",
    "/machine.MachineService/Version",
    "/machine.MachineService/MetaWrite",
    "/machine.MachineService/MetaDelete",
    "/machine.MachineService/Upgrade",
    "/machine.MachineService/Reset",
    "/storage.StorageService/Disks",
    "/storage.StorageService/BlockDeviceWipe",
}
_OLD_MAINTENANCE_ADMIN = {
    f"/machine.MachineService/{name}" for name in ("Version", "MetaWrite", "MetaDelete", "Upgrade", "Reset")
}


def exists(method: str, version: Minor) -> bool:
    """Whether a Talos release line has the method at all. `method` is `/package.Service/Name`."""
    return all(version >= since for prefix, since in _SINCE.items() if method.startswith(prefix))


def allowed(method: str, roles: frozenset[str], *, maintenance: bool) -> bool:
    """Whether one of the roles is enough; a method without a rule is for administrators."""
    needed = _ROLES.get(method, _ADMINS)
    if maintenance and method in _READER_IN_MAINTENANCE:
        needed = needed | {READER}
    return bool(needed & roles)


def in_old_maintenance(method: str, roles: frozenset[str]) -> bool:
    """Whether the maintenance server of Talos before 1.13 answers the method to this caller."""
    if method in _OLD_MAINTENANCE_ADMIN:
        return ADMIN in roles
    return method in _OLD_MAINTENANCE or method.startswith("/cosi.resource.State/")
