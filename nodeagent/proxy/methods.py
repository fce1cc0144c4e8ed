"""Which calls are for machines, and how a call to several of them is answered."""

from __future__ import annotations

from collections.abc import Iterable

_OWN_PACKAGES = ("auth", "config", "grpc", "management", "oidc", "omni", "sidero")
"""What begins so is answered here, whatever its metadata says."""

_SERVICES = frozenset(
    {
        "cluster.ClusterService",
        "cosi.resource.State",
        "inspect.InspectService",
        "machine.DebugService",
        "machine.ImageService",
        "machine.LVMService",
        "machine.LifecycleService",
        "machine.MDService",
        "machine.MachineService",
        "machine.StorageService",
        "storage.StorageService",
        "time.TimeService",
    }
)

_FAN_OUT = frozenset(
    {
        "cluster.ClusterService",
        "inspect.InspectService",
        "machine.MachineService",
        "storage.StorageService",
        "time.TimeService",
    }
)
"""Services whose answers have a place for the name of the node that they are from."""

_STREAMS = frozenset(
    {
        *(
            f"/machine.MachineService/{name}"
            for name in (
                "Copy", "DebugContainer", "DiskUsage", "Dmesg", "EtcdSnapshot", "Events", "ImageList", "Kubeconfig",
                "List", "Logs", "PacketCapture", "Read",
            )
        ),
        "/cluster.ClusterService/HealthCheck",
    }
)  # fmt: skip
"""Methods of these services with any number of answers: Talos' apid keeps the same list."""


def for_machines(method: str, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    """Whether `/package.Service/Method` is a call to machines: a service of theirs, or one that its caller, a client of
    Talos, says is."""
    service = service_of(method)
    if service in _SERVICES:
        return True
    if not service or service.split(".")[0] in _OWN_PACKAGES:
        return False
    said = next((value for key, value in metadata if key == "runtime"), "")
    return said == "Talos"


def fans_out(method: str) -> bool:
    """Whether one call may go to several nodes."""
    return service_of(method) in _FAN_OUT


def streams(method: str) -> bool:
    """Whether each node answers a call that fans out with a stream."""
    return method in _STREAMS or method.endswith("Stream")


def service_of(method: str) -> str:
    """`package.Service` of `/package.Service/Method`."""
    return method.rpartition("/")[0].removeprefix("/")
