"""What runs on a machine: Talos' services, the containers of its pods, and a few threads of the kernel.

The list is made when somebody asks, from the services that are up and the pods that are on the node.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nodeagent.simulator.figures import busy_seconds, wave

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

SYSTEM, KUBERNETES = "system", "k8s.io"
"""Namespaces of containers."""
PAUSE = "registry.k8s.io/pause:3.10"
_WEIGHTS = 100.0
"""All programs together weigh less: the rest of the processors' work is the kernel's."""


@dataclass(frozen=True)
class Container:
    """`pod` is `namespace/name` and `name` empty for its sandbox; a container of Talos itself has neither."""

    namespace: str
    id: str
    image: str
    pod: str = ""
    name: str = ""
    uid: str = ""
    network: str = ""
    """Network namespace; empty for the host's."""

    @property
    def internal_id(self) -> str:
        return hashlib.sha256(f"{self.namespace}/{self.uid}/{self.id}/{self.name}".encode()).hexdigest()

    def id_of(self, *, cri: bool) -> str:
        """How a driver names it: the CRI adds the beginning of its internal id to containers of pods."""
        return f"{self.id}:{self.internal_id[:12]}" if cri and self.name else self.id


@dataclass(frozen=True)
class Program:
    """`memory` in MiB and `weight` among the programs are means; `since` is in seconds after the boot began."""

    command: str
    executable: str = ""
    arguments: str = ""
    memory: float = 0.0
    weight: float = 0.0
    threads: int = 1
    ports: tuple[int, ...] = ()
    """TCP ports that it listens on."""
    since: float = 0.0
    container: Container | None = None
    pid: int = 0
    parent: int = 1

    def resident(self, boot: Boot, uptime: float) -> int:
        """Memory that it has, bytes."""
        return int(wave(boot.machine.hardware, self.command, self.memory * 1024**2, 0.05).at(uptime))

    def worked(self, boot: Boot, uptime: float) -> float:
        """Seconds of processor time that it took."""
        since = min(self.since, uptime)
        return self.weight / _WEIGHTS * busy_seconds(boot.machine.hardware, since, uptime)


_SERVICES = {
    "machined": Program("init", "/sbin/init", "/sbin/init", 62, 6, 14),
    "containerd": Program("containerd", "/bin/containerd", "/bin/containerd --state /system/run/containerd", 46, 2, 11),
    "udevd": Program("systemd-udevd", "/sbin/systemd-udevd", "/sbin/systemd-udevd --resolve-names=never", 11, 0.2),
    "cri": Program("containerd", "/bin/containerd", "/bin/containerd --config /etc/cri/containerd.toml", 74, 4, 13),
    "apid": Program("apid", "/apid", "/apid --enable-rbac", 27, 3, 10, (50000,)),
    "trustd": Program("trustd", "/trustd", "/trustd", 22, 0.5, 8, (50001,)),
    "kubelet": Program("kubelet", "/usr/local/bin/kubelet", "/usr/local/bin/kubelet", 98, 12, 15, (10248, 10250)),
    "etcd": Program("etcd", "/usr/local/bin/etcd", "/usr/local/bin/etcd", 115, 14, 12, (2379, 2380)),
}
"""What a service is while it runs."""
_IN_CONTAINERS = ("apid", "trustd", "kubelet", "etcd")
_STATIC = {
    "kube-apiserver": Program("kube-apiserver", memory=310, weight=22, threads=13),
    "kube-controller-manager": Program("kube-controller", memory=78, weight=6, threads=9, ports=(10257,)),
    "kube-scheduler": Program("kube-scheduler", memory=46, weight=2, threads=9, ports=(10259,)),
}


def all_programs(boot: Boot) -> list[Program]:
    """By process id. Each container is that of one program."""
    numbered: dict[int, Program] = {}
    for program in (*_kernel(boot), *_services(boot), *_pods(boot)):
        pid = program.pid or _pid(boot, program)
        while pid in numbered:
            pid += 1
        numbered[pid] = replace(program, pid=pid)
    return [numbered[pid] for pid in sorted(numbered)]


def resident(boot: Boot, uptime: float) -> int:
    """Memory of all programs, bytes."""
    return sum(program.resident(boot, uptime) for program in all_programs(boot))


def uptime(boot: Boot) -> float:
    """Seconds since the boot began."""
    return time.time() - boot.started


def _pid(boot: Boot, program: Program) -> int:
    container = program.container
    name = f"{boot.machine.hardware.uuid} {program.arguments} {program.since:.3f} {container and container.internal_id}"
    return 400 + zlib.crc32(name.encode()) % 30_000


def _kernel(boot: Boot) -> Iterator[Program]:
    yield Program("kthreadd", pid=2, parent=0)
    yield Program("rcu_preempt", weight=0.5, pid=16, parent=2)
    for core in range(boot.machine.hardware.cores):
        yield Program(f"ksoftirqd/{core}", weight=0.1, pid=20 + 6 * core, parent=2)
        yield Program(f"kworker/{core}:1", weight=0.1, pid=23 + 6 * core, parent=2)


def _services(boot: Boot) -> Iterator[Program]:
    images = {"kubelet": boot.config.kubelet_image, "etcd": boot.config.etcd_image}
    for id, program in _SERVICES.items():
        service = boot.services.get(id)
        if service is None or not service.up:
            continue
        started = replace(program, since=max(0.0, service.changed - boot.started))
        if id == "machined":
            started = replace(started, pid=1, parent=0)
        if id in _IN_CONTAINERS:
            started = replace(started, container=Container(SYSTEM, id, images.get(id, f"talos/{id}")))
        yield started


def _pods(boot: Boot) -> Iterator[Program]:
    """A pause and one program for each container of the pods that are on this node."""
    if boot.cluster is None or not boot.services.up("kubelet"):
        return
    for pod in boot.cluster.objects.list("pods"):
        if pod["spec"].get("nodeName") == boot.hostname:
            yield from _pod(boot, pod)


def _pod(boot: Boot, pod: dict[str, Any]) -> Iterator[Program]:
    metadata, spec = pod["metadata"], pod["spec"]
    name, uid = f"{metadata['namespace']}/{metadata['name']}", metadata["uid"]
    created = datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
    since = max(0.0, created - boot.started)
    static = "kubernetes.io/config.mirror" in metadata.get("annotations", {})
    network = "" if static or spec.get("hostNetwork") else f"cni-{uid}"
    sandbox = Container(KUBERNETES, name, PAUSE, name, "", uid, network)
    yield Program("pause", "/pause", "/pause", 0.5, since=since, container=sandbox)
    for described in spec["containers"]:
        own, image = described["name"], described.get("image", "")
        container = replace(sandbox, id=f"{name}:{own}", name=own, image=image)
        program = _STATIC.get(own) if static else None
        if program is None:
            words = [*described.get("command", []), *described.get("args", [])] or [f"/{own}"]
            command = words[0].rpartition("/")[2][:15]
            program = Program(command, words[0], " ".join(words), memory=24, weight=0.1, threads=4)
        elif own == "kube-apiserver":
            program = replace(program, ports=(boot.config.api_server_port,))
        path = f"/usr/local/bin/{own}"
        yield replace(
            program,
            executable=program.executable or path,
            arguments=program.arguments or path,
            since=since,
            container=container,
        )
