"""Bootstrap, and the calls that start a sequence."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import grpc

from nodeagent.simulator import sequences
from nodeagent.simulator.boot import Boot, Next, Stage
from nodeagent.simulator.calls import Call, Implementation, Refusal, unknown
from nodeagent.simulator.image import parse_installer
from nodeagent.simulator.sequencer import Body
from talos.gen.machine import configuration_pb2
from talos.machinetype import MachineType
from talos.resources import types


def _failed_precondition(details: str) -> Refusal:
    return Refusal(grpc.StatusCode.FAILED_PRECONDITION, details)


def require_control_plane(boot: Boot, what: str) -> None:
    """Raises Refusal (Unimplemented) on any other machine."""
    machine_type = boot.config.machine_type
    if machine_type is MachineType.UNKNOWN:
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "machine type is not set, is the machine configured?")
    if not machine_type.is_control_plane:
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, f"{what} is only available on control plane nodes")


async def bootstrap(call: Call, request: configuration_pb2.BootstrapRequest) -> configuration_pb2.BootstrapResponse:
    boot = call.boot
    if not boot.services.up("cri"):
        raise _failed_precondition("bootstrap is not available yet")
    if boot.minor < (1, 13) and not boot.config.machine_type.is_control_plane:
        raise _failed_precondition("bootstrap can only be performed on a control plane node")
    require_control_plane(boot, "bootstrap")
    if boot.config.etcd_ca is None:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "etcd CA is not set in the machine configuration")
    if boot.machine.disk.contents.etcd is not None or boot.bootstrap_requested.is_set():
        raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "etcd data directory is not empty")
    boot.bootstrap_requested.set()
    return configuration_pb2.BootstrapResponse(messages=[configuration_pb2.Bootstrap()])


def _request(boot: Boot, name: str, body: Body) -> str:
    return boot.sequencer.request(name, body, lambda: sequences.fail(boot))


async def reboot(call: Call, request: configuration_pb2.RebootRequest) -> configuration_pb2.RebootResponse:
    actor = _request(call.boot, "reboot", sequences.reboot)
    return configuration_pb2.RebootResponse(messages=[configuration_pb2.Reboot(actor_id=actor)])


async def shutdown(call: Call, request: configuration_pb2.ShutdownRequest) -> configuration_pb2.ShutdownResponse:
    actor = _request(call.boot, "shutdown", sequences.shutdown)
    return configuration_pb2.ShutdownResponse(messages=[configuration_pb2.Shutdown(actor_id=actor)])


async def reset(call: Call, request: configuration_pb2.ResetRequest) -> configuration_pb2.ResetResponse:
    boot = call.boot
    modes = configuration_pb2.ResetRequest
    if request.user_disks_to_wipe and request.mode == modes.SYSTEM_DISK:
        raise unknown("reset failed: invalid input, wipe mode SYSTEM_DISK doesn't support UserDisksToWipe parameter")
    if request.system_partitions_to_wipe and request.mode == modes.USER_DISKS:
        raise unknown("reset failed: invalid input, wipe mode USER_DISKS doesn't support SystemPartitionsToWipe")
    for path in request.user_disks_to_wipe:
        if boot.machine.hardware.disk(path) is None:
            raise unknown(f"reset user disk failed: {path} not found")
        if boot.installation is not None and boot.installation.disk == path:
            raise unknown(f"reset user disk failed: device {path} is the system disk")
    for partition in request.system_partitions_to_wipe:
        if partition.wipe:
            _check_volume(boot, partition.label)
    if boot.maintenance and boot.minor < (1, 13):
        return await _reset_in_old_maintenance(boot, request)
    order = sequences.ResetOrder(
        graceful=request.graceful,
        then=Next.REBOOT if request.reboot else Next.POWER_OFF,
        partitions=frozenset(partition.label for partition in request.system_partitions_to_wipe if partition.wipe),
        system_disk=request.mode != modes.USER_DISKS,
    )
    actor = _request(boot, "reset", sequences.reset(order))
    return configuration_pb2.ResetResponse(messages=[configuration_pb2.Reset(actor_id=actor)])


def _check_volume(boot: Boot, label: str) -> None:
    """A label has to be that of a volume with a block device of its own."""
    directories = {"CRI", "KUBELET", "ETCD", "LOG"}  # on EPHEMERAL, since 1.14
    if label in directories and boot.minor >= (1, 14):
        return
    if boot.store.get(types.VOLUME_STATUS, label) is None and label != "EFI":
        raise unknown(f'failed to get volume status with label "{label}": resource not found')


async def _reset_in_old_maintenance(
    boot: Boot, request: configuration_pb2.ResetRequest
) -> configuration_pb2.ResetResponse:
    if request.system_partitions_to_wipe:
        raise unknown("system partitions can't be wiped in maintenance mode")
    if boot.installation is None:
        raise unknown("system disk is not found: Talos is not installed")
    await asyncio.sleep(boot.machine.timings.wipe)
    boot.machine.disk.wipe_everything()
    body = sequences.reboot if request.reboot else sequences.shutdown
    _request(boot, "reboot" if request.reboot else "shutdown", body)
    return configuration_pb2.ResetResponse(messages=[configuration_pb2.Reset()])


async def upgrade(call: Call, request: configuration_pb2.UpgradeRequest) -> configuration_pb2.UpgradeResponse:
    boot = call.boot
    if boot.installation is None:
        raise _failed_precondition("Talos is not installed")
    if boot.maintenance and boot.minor < (1, 13) and (request.preserve or request.stage or request.force):
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "upgrade --preserve, --stage and --force are not supported here")
    await asyncio.sleep(boot.machine.timings.image_pull)
    try:
        image = parse_installer(request.image)
    except ValueError as error:
        raise unknown(f"error validating installer image: {error}") from None
    if request.image.partition("@")[0].endswith("-bad"):
        raise unknown(f'error validating installer image "{request.image}": failed to pull image: not found')
    if not request.force and boot.member is not None:
        _check_etcd(boot)
    name = "stageUpgrade" if request.stage else "maintenanceUpgrade" if boot.stage is Stage.MAINTENANCE else "upgrade"
    actor = _request(boot, name, sequences.upgrade(image))
    return configuration_pb2.UpgradeResponse(
        messages=[configuration_pb2.Upgrade(ack="Upgrade request received", actor_id=actor)]
    )


def _check_etcd(boot: Boot) -> None:
    data = boot.machine.disk.contents.etcd
    cluster = boot.machine.world.etcd.cluster(data.cluster) if data else None
    if cluster is None:
        return
    if len(cluster.members) == 2:
        raise unknown("error validating etcd for upgrade: upgrading a cluster of 2 members would lose quorum")
    if stopped := [member.name for member in cluster.members.values() if not member.running]:
        raise unknown(f"error validating etcd for upgrade: etcd member {stopped[0]} is not healthy")


async def rollback(call: Call, request: configuration_pb2.RollbackRequest) -> configuration_pb2.RollbackResponse:
    boot = call.boot
    if boot.installation is None:
        raise _failed_precondition("system disk not found")
    boot.machine.disk.roll_back()
    _request(boot, "reboot", sequences.reboot)
    return configuration_pb2.RollbackResponse(messages=[configuration_pb2.Rollback()])


CALLS: Mapping[str, Implementation] = {
    "Bootstrap": bootstrap,
    "Reboot": reboot,
    "Shutdown": shutdown,
    "Reset": reset,
    "Upgrade": upgrade,
    "Rollback": rollback,
}
