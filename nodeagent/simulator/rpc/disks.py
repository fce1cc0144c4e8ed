"""Disks, in the form older than the Disk resources."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import grpc
from google.protobuf.empty_pb2 import Empty

from nodeagent.simulator.calls import Call, Implementation, Refusal
from talos.gen import storage_pb2


async def disks(call: Call, request: Empty) -> storage_pb2.DisksResponse:
    installed = call.boot.installation
    found = [
        storage_pb2.Disk(
            size=disk.size,
            model=disk.model,
            device_name=disk.path,
            serial=disk.serial,
            wwid=disk.wwid,
            type=storage_pb2.Disk.HDD if disk.rotational else storage_pb2.Disk.SSD,
            bus_path=f"/pci0000:00/0000:00:03.0/virtio{disk.name[-1]}",
            system_disk=installed is not None and installed.disk == disk.path,
            subsystem="/sys/class/block",
        )
        for disk in call.boot.machine.hardware.disks
    ]
    return storage_pb2.DisksResponse(messages=[storage_pb2.Disks(disks=found)])


async def wipe(call: Call, request: storage_pb2.BlockDeviceWipeRequest) -> storage_pb2.BlockDeviceWipeResponse:
    boot = call.boot
    system = boot.installation
    chosen = []
    for descriptor in request.devices:
        disk = boot.machine.hardware.disk(f"/dev/{descriptor.device}")
        if disk is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"blockdevice {descriptor.device!r} not found")
        if system is not None and system.disk == disk.path and not descriptor.skip_volume_check:
            raise Refusal(
                grpc.StatusCode.FAILED_PRECONDITION, f'blockdevice "{disk.name}" is in use by volume "EPHEMERAL"'
            )
        chosen.append(disk)
    await asyncio.sleep(boot.machine.timings.wipe)
    if system is not None and any(disk.path == system.disk for disk in chosen):
        boot.machine.disk.wipe_everything()
        boot.publish_volumes()
    return storage_pb2.BlockDeviceWipeResponse(messages=[storage_pb2.BlockDeviceWipe()])


CALLS: Mapping[str, Implementation] = {"Disks": disks, "BlockDeviceWipe": wipe}
