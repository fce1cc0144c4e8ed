"""The files of a machine. Some have contents; the large ones are only a size, and read as zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodeagent.simulator import etcd, figures, proc, programs
from nodeagent.simulator.hardware import GIB
from talos.resources import types

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

MIB = 1024**2
_ROOT = 84 * MIB
"""The system image, a file system that cannot be written to."""


@dataclass(frozen=True)
class Mount:
    """Bytes in all, and free; pseudo file systems have none."""

    source: str
    target: str
    filesystem: str
    size: int = 0
    available: int = 0


def contents(boot: Boot) -> dict[str, bytes]:
    """The files with contents, by path."""
    texts = {
        **proc.files(boot),
        "/proc/mounts": "".join(f"{one.source} {one.target} {one.filesystem} rw 0 0\n" for one in mounts(boot)),
        "/etc/hostname": f"{boot.hostname}\n",
        "/etc/os-release": f'NAME="Talos"\nID=talos\nVERSION_ID={boot.version}\n',
    }
    files = {path: text.encode() for path, text in texts.items()}
    data = boot.machine.disk.contents.etcd
    if data is not None and (cluster := boot.machine.world.etcd.cluster(data.cluster)):
        files["/var/lib/etcd/member/snap/db"] = etcd.database(cluster)
    return files


def sizes(boot: Boot) -> dict[str, int]:
    """Bytes of every file, by path."""
    return {path: len(data) for path, data in contents(boot).items()} | _bulk(boot)


def mounts(boot: Boot) -> list[Mount]:
    """What is mounted, in the order of its being mounted."""
    memory = boot.machine.hardware.memory * MIB
    mounted = [
        Mount("/dev/loop0", "/", "squashfs", _ROOT),
        Mount("devtmpfs", "/dev", "devtmpfs", memory // 2, memory // 2),
        Mount("proc", "/proc", "proc"),
        Mount("sysfs", "/sys", "sysfs"),
        Mount("tmpfs", "/run", "tmpfs", memory // 2, memory // 2 - 6 * MIB),
        Mount("tmpfs", "/system", "tmpfs", memory // 2, memory // 2 - 2 * MIB),
        Mount("tmpfs", "/tmp", "tmpfs", 64 * MIB, 64 * MIB),  # noqa: S108 - a mount point of the machine
    ]
    for label, target, used in (("STATE", "/system/state", 8 * MIB), ("EPHEMERAL", "/var", _used(boot))):
        volume = boot.store.get(types.VOLUME_STATUS, label)
        if volume is not None and volume.spec["phase"] == "ready" and boot.config.complete:
            size = volume.spec["size"]
            mounted.append(Mount(volume.spec["location"], target, volume.spec["filesystem"], size, max(0, size - used)))
    return mounted


def _used(boot: Boot) -> int:
    """Of the file system at /var: its files, and what it keeps for itself."""
    return GIB // 2 + sum(_bulk(boot).values())


def _bulk(boot: Boot) -> dict[str, int]:
    """Files under /var that are only a size: images, layers, logs."""
    if boot.installation is None or not boot.config.complete:
        return {}
    hardware, uptime = boot.machine.hardware, programs.uptime(boot)
    containers = [program.container for program in programs.all_programs(boot) if program.container is not None]
    containerd, files = "/var/lib/containerd/io.containerd", {}
    for image in sorted({container.image for container in containers if container.image}):
        name = image.partition("@")[0].rpartition("/")[2].replace(":", "-")
        packed = int((20 + 80 * figures.chance(hardware, image)) * MIB)
        files[f"{containerd}.content.v1.content/blobs/{name}"] = packed
        files[f"{containerd}.snapshotter.v1.overlayfs/snapshots/{name}"] = packed * 3
    files[f"{containerd}.metadata.v1.bolt/meta.db"] = 4 * MIB
    for service in boot.services.all():
        written = figures.wave(hardware, f"{service.id} log", 40).between(0, uptime)
        files[f"/var/log/{service.id}.log"] = int(written) + 4096
    for container in containers:
        if container.name:
            path = f"/var/log/pods/{container.pod.replace('/', '_')}_{container.uid}/{container.name}/0.log"
            files[path] = int(figures.wave(hardware, container.id, 60).between(0, uptime)) + 1024
    return files
