"""Every method of the Talos API: the least role that may call it through us, and the Talos role it is called with.

The one table that the proxy, the refusals, the documentation and `explain` read. A method that is not in it needs an
admin, as Talos itself lets only administrators call what it has no rule for. Each call is made with no more rights than
its method takes.
"""

from dataclasses import dataclass

from apps.access.verbs import ADMIN, OPERATOR, READER
from talos import roles


@dataclass(frozen=True)
class Need:
    """Of a method: our role, the role on the node, and whether it changes anything there."""

    role: str
    talos_role: str
    changes: bool = False


_READ = Need(READER, roles.READER)
_WORK = Need(OPERATOR, roles.OPERATOR, changes=True)
_WORK_DEEP = Need(OPERATOR, roles.ADMIN, changes=True)
_RULE = Need(ADMIN, roles.ADMIN, changes=True)
_SECRET = Need(ADMIN, roles.ADMIN)  # gives out credentials, or any file: one holds the keys of all authorities

_MACHINE: dict[Need, tuple[str, ...]] = {
    _READ: (
        "Version", "Hostname", "Events", "Logs", "LogsContainers", "List", "DiskUsage", "Mounts", "Memory",
        "LoadAvg", "SystemStat", "CPUInfo", "CPUFreqStats", "DiskStats", "NetworkDeviceStats", "Netstat", "Processes",
        "Containers", "Stats", "ServiceList", "ImageList", "EtcdMemberList", "EtcdStatus", "EtcdAlarmList",
    ),
    Need(OPERATOR, roles.READER): ("Dmesg",),  # a kernel begins with its command line, where the join token is
    Need(OPERATOR, roles.OPERATOR): ("PacketCapture", "EtcdSnapshot"),
    _WORK: (
        "Reboot", "Shutdown", "Restart", "ServiceStart", "ServiceStop", "ServiceRestart", "EtcdAlarmDisarm",
        "EtcdDefragment", "ImagePull",
    ),
    _WORK_DEEP: (
        "EtcdForfeitLeadership", "EtcdDowngradeValidate", "EtcdDowngradeEnable", "EtcdDowngradeCancel", "MetaWrite",
        "MetaDelete",
    ),
    _RULE: (
        "ApplyConfiguration", "Bootstrap", "Reset", "Rollback", "Upgrade", "EtcdLeaveCluster", "EtcdRecover",
        "EtcdRemoveMemberByID",
    ),
    _SECRET: ("Read", "Copy", "Kubeconfig", "GenerateClientConfiguration", "GenerateConfiguration"),
}  # fmt: skip

METHODS: dict[str, Need] = {
    **{f"machine.MachineService/{name}": need for need, names in _MACHINE.items() for name in names},
    "machine.ImageService/List": _READ,
    "machine.ImageService/Verify": _READ,
    "machine.ImageService/Pull": _WORK,
    "machine.ImageService/Import": _RULE,
    "machine.ImageService/Remove": _RULE,
    "machine.LifecycleService/Install": _RULE,
    "machine.LifecycleService/Upgrade": _RULE,
    "machine.DebugService/ContainerRun": _RULE,
    "machine.StorageService/Statfs": _READ,
    "machine.LVMService/LogicalVolumeRemove": _RULE,
    "machine.LVMService/VolumeGroupRemove": _RULE,
    "machine.LVMService/PhysicalVolumeRemove": _RULE,
    "machine.MDService/Destroy": _RULE,
    "storage.StorageService/Disks": _READ,
    "storage.StorageService/BlockDeviceWipe": _RULE,
    "time.TimeService/Time": _READ,
    "time.TimeService/TimeCheck": _READ,
    "inspect.InspectService/ControllerRuntimeDependencies": _READ,
    "cluster.ClusterService/HealthCheck": _READ,
    "cosi.resource.State/Get": _READ,  # as os:reader: resources that hold secrets are refused by the node
    "cosi.resource.State/List": _READ,
    "cosi.resource.State/Watch": _READ,
}
"""By `package.Service/Method`."""

SECRET_RESOURCES = frozenset({"KernelCmdlines.runtime.talos.dev", "MetaKeys.runtime.talos.dev"})
"""Types of resources that Talos shows to each of its readers, and in which a join token or the token that proves a
machine may be. Through us they need an operator."""


def need_of(method: str) -> Need:
    """What a method (`package.Service/Method`) takes."""
    return METHODS.get(method, _RULE)
