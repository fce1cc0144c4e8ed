"""What a simulated machine is made of. Everything follows from a seed, so a fleet is the same every time."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True)
class BlockDevice:
    """A disk. `size` is in bytes; `name` has no /dev/ in front."""

    name: str
    size: int
    model: str
    serial: str
    transport: str = "virtio"
    rotational: bool = False

    @property
    def path(self) -> str:
        return f"/dev/{self.name}"

    @property
    def wwid(self) -> str:
        return f"eui.{self.serial.lower()}"


@dataclass(frozen=True)
class Hardware:
    """The parts that survive any wipe. `memory` is in MiB, `mac` six raw bytes."""

    uuid: str
    serial: str
    mac: bytes
    address: str
    cores: int
    memory: int
    disks: tuple[BlockDevice, ...]

    def disk(self, path: str) -> BlockDevice | None:
        """The disk at a device path, or None."""
        return next((disk for disk in self.disks if disk.path == path), None)


def build(seed: str, index: int) -> Hardware:
    """The machine number `index` (from 0) of the fleet that `seed` names.

    Its own network is 10.5.0.0/16, where nothing of it can be reached: it only shows in resources.
    """
    source = random.Random(f"{seed}/{index}")  # noqa: S311 - reproducible, not secret
    serial = f"SIM{source.getrandbits(40):010X}"
    host = index + 10
    return Hardware(
        uuid=str(uuid.UUID(int=source.getrandbits(128), version=4)),
        serial=serial,
        mac=bytes((0x52, 0x54, 0x00)) + source.randbytes(3),
        address=f"10.5.{host // 256 % 256}.{host % 256}",
        cores=source.choice((4, 8, 16)),
        memory=source.choice((8, 16, 32)) * 1024,
        disks=(
            BlockDevice("vda", 50 * GIB, "QEMU HARDDISK", f"{source.getrandbits(64):016X}"),
            BlockDevice("vdb", 100 * GIB, "QEMU HARDDISK", f"{source.getrandbits(64):016X}"),
        ),
    )
