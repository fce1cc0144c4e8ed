"""Files, logs, and the two client configurations that a control plane hands out."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath

import grpc
from google.protobuf.empty_pb2 import Empty

from nodeagent.simulator import filesystem, programs
from nodeagent.simulator.boot import Boot
from nodeagent.simulator.calls import Call, Implementation, Refusal, unknown
from nodeagent.simulator.kube import pods
from nodeagent.simulator.kube.containers import Container
from nodeagent.simulator.rpc.life import require_control_plane
from talos import kubeconfig, pki, roles, talosconfig
from talos.gen import common_pb2
from talos.gen.machine import access_pb2, files_pb2

CHUNK = 1024
"""Bytes of the largest frame of a byte stream."""
_DIRECTORY, _FILE = 1 << 31 | 0o755, 0o600
"""Modes as Go writes them."""


async def _frames(data: bytes) -> AsyncIterator[common_pb2.Data]:
    for start in range(0, len(data), CHUNK):
        yield common_pb2.Data(bytes=data[start : start + CHUNK])


async def read(call: Call, request: files_pb2.ReadRequest) -> AsyncIterator[common_pb2.Data]:
    content = filesystem.contents(call.boot).get(request.path)
    if content is not None:
        async for frame in _frames(content):
            yield frame
        return
    left = filesystem.sizes(call.boot).get(request.path)
    if left is None:
        raise Refusal(grpc.StatusCode.NOT_FOUND, f"stat {request.path}: no such file or directory")
    while left:
        size = min(left, CHUNK)
        yield common_pb2.Data(bytes=bytes(size))
        left -= size


async def copy(call: Call, request: files_pb2.CopyRequest) -> AsyncIterator[common_pb2.Data]:
    root = "/" + request.root_path.strip("/")
    files = filesystem.contents(call.boot)
    inside = {path: data for path, data in files.items() if path == root or path.startswith(f"{root}/")}
    if not inside:
        raise unknown(f"lstat {root}: no such file or directory")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for path, data in inside.items():
            member = tarfile.TarInfo(path.removeprefix(root).lstrip("/") or path.rpartition("/")[2])
            member.size, member.mode, member.mtime = len(data), _FILE, int(call.boot.started)
            tar.addfile(member, io.BytesIO(data))
    async for frame in _frames(archive.getvalue()):
        yield frame


async def list_(call: Call, request: files_pb2.ListRequest) -> AsyncIterator[files_pb2.FileInfo]:
    root = "/" + request.root.strip("/")
    base = "" if root == "/" else root
    files = filesystem.sizes(call.boot)
    names = {name for path in files for name in (path, *_folders(path))}
    if root not in names:
        raise unknown(f"lstat {root}: no such file or directory")
    depth = request.recursion_depth if request.recurse else 1
    for name in sorted(names):
        if name != root and not name.startswith(f"{base}/"):
            continue
        relative = name.removeprefix(base).lstrip("/")
        if depth and relative.count("/") + bool(relative) > depth:
            continue
        regular = name in files
        yield files_pb2.FileInfo(
            name=name,
            relative_name=relative or ".",
            size=files[name] if regular else 4096,
            mode=_FILE if regular else _DIRECTORY,
            is_dir=not regular,
            modified=int(call.boot.started),
        )


def _folders(path: str) -> list[str]:
    """Every folder above a path, the nearest first."""
    return [str(folder) for folder in PurePosixPath(path).parents]


async def disk_usage(call: Call, request: files_pb2.DiskUsageRequest) -> AsyncIterator[files_pb2.DiskUsageInfo]:
    """Folders with all that is in them, and with `all` the files too; whatever is inside comes before its folder."""
    root = "/" + next(iter(request.paths), "").strip("/")
    base = "" if root == "/" else root
    files = filesystem.sizes(call.boot)
    inside = {path: size for path, size in files.items() if path == root or path.startswith(f"{base}/")}
    if not inside:
        yield files_pb2.DiskUsageInfo(name=root, relative_name=root, error=f"lstat {root}: no such file or directory")
        return
    folders: dict[str, int] = {}
    for path, size in inside.items():
        for folder in _folders(path):
            folders[folder] = folders.get(folder, 0) + size
    shown = {name: size for name, size in folders.items() if name == root or name.startswith(f"{base}/")}
    if request.all or root in files:
        shown |= inside
    for name in sorted(shown, key=lambda name: (*name.removeprefix(base).rstrip("/").split("/"), "\U0010ffff")):
        relative, size = name.removeprefix(base).lstrip("/"), shown[name]
        too_deep = request.recursion_depth and relative.count("/") + bool(relative) >= request.recursion_depth
        too_small = request.threshold > 0 and size < request.threshold
        too_large = request.threshold < 0 and size > -request.threshold
        if not (too_deep or too_small or too_large):
            yield files_pb2.DiskUsageInfo(name=name, relative_name=relative or ".", size=size)


async def mounts(call: Call, request: Empty) -> files_pb2.MountsResponse:
    stats = [
        files_pb2.MountStat(filesystem=one.source, size=one.size, available=one.available, mounted_on=one.target)
        for one in filesystem.mounts(call.boot)
    ]
    return files_pb2.MountsResponse(messages=[files_pb2.Mounts(stats=stats)])


async def dmesg(call: Call, request: files_pb2.DmesgRequest) -> AsyncIterator[common_pb2.Data]:
    log = call.boot.kernel_log
    start = log.next_sequence if request.tail else 0
    async for message in log.read(start, follow=request.follow):
        yield common_pb2.Data(bytes=message.dmesg_line())


async def logs(call: Call, request: files_pb2.LogsRequest) -> AsyncIterator[common_pb2.Data]:
    """What a service logs is its own changes of state; what a pod logs is what its program wrote."""
    lines = _pod_log(call.boot, request) if request.namespace == programs.KUBERNETES else None
    async for line in lines or _service_log(call.boot, request):
        async for frame in _frames(line):
            yield frame


async def _service_log(boot: Boot, request: files_pb2.LogsRequest) -> AsyncIterator[bytes]:
    service = boot.services.get(request.id)
    if service is None or (request.namespace != programs.SYSTEM and request.id != "kubelet"):
        raise unknown(f'container "{request.id}" not found')
    lines = [f"{datetime.fromtimestamp(at, UTC).isoformat()} {state}: {text}\n" for at, state, text in service.events]
    for line in lines[_first(lines, request) :]:
        yield line.encode()
    marker = f"[talos] service[{request.id}]"
    if request.follow:
        async for message in boot.kernel_log.read(boot.kernel_log.next_sequence):
            if message.text.startswith(marker):
                yield f"{message.timestamp} {message.text.removeprefix(marker)}\n".encode()


def _pod_log(boot: Boot, request: files_pb2.LogsRequest) -> AsyncIterator[bytes] | None:
    """Of a container of a pod; None for any other id. The same log as Kubernetes' own."""
    cri = request.driver == common_pb2.CRI
    for program in programs.all_programs(boot):
        found = program.container
        if found is not None and found.name and found.id_of(cri=cri) == request.id and boot.cluster is not None:
            namespace, _, name = found.pod.partition("/")
            pod = boot.cluster.objects.get("pods", (namespace, name))
            return _lines(pods.container_of(boot.cluster.objects, pod, found.name), request) if pod else None
    return None


async def _lines(container: Container, request: files_pb2.LogsRequest) -> AsyncIterator[bytes]:
    await container.start()
    log, end = container.log, len(container.log.lines)
    for stamp, text in log.lines[_first(log.lines, request) : end]:
        yield stamp.encode() + b" " + text + b"\n"
    if request.follow:
        async for stamp, text in log.follow(end):
            yield stamp.encode() + b" " + text + b"\n"


def _first(lines: Sequence[object], request: files_pb2.LogsRequest) -> int:
    """The first of the lines that were asked for: none for 0, all for a negative number."""
    return max(0, len(lines) - request.tail_lines) if request.tail_lines >= 0 else 0


async def log_containers(call: Call, request: Empty) -> files_pb2.LogsContainersResponse:
    ids = [service.id for service in call.boot.services.all()]
    return files_pb2.LogsContainersResponse(messages=[files_pb2.LogsContainer(ids=ids)])


async def admin_kubeconfig(call: Call, request: Empty) -> AsyncIterator[common_pb2.Data]:
    boot = call.boot
    require_control_plane(boot, "kubeconfig")
    ca = boot.config.kubernetes_ca
    if ca is None or not boot.config.endpoint:
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "the configuration has no cluster name and endpoint")
    text = kubeconfig.generate(
        cluster=boot.config.cluster_name,
        endpoint=boot.config.endpoint,
        ca=ca,
        accepted_cas=[ca.crt],
        now=datetime.now(UTC),
    ).to_yaml()
    yield common_pb2.Data(bytes=_archive("kubeconfig", text.encode()))


def _archive(name: str, content: bytes) -> bytes:
    """A gzip-compressed tar of one file, without padding and end blocks, as Talos writes it."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
    raw = io.BytesIO(member.tobuf(tarfile.USTAR_FORMAT) + content)
    return gzip.compress(raw.getvalue())


async def client_configuration(
    call: Call, request: access_pb2.GenerateClientConfigurationRequest
) -> access_pb2.GenerateClientConfigurationResponse:
    boot = call.boot
    require_control_plane(boot, "client configuration (talosconfig)")
    ttl = request.crt_ttl.ToTimedelta()
    if ttl.total_seconds() <= 0:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "crt_ttl should be positive")
    ca = boot.config.os_ca
    assert ca is not None, "a control plane has the Talos authority"
    client = pki.talos_client(ca, request.roles or [roles.ADMIN], datetime.now(UTC), ttl)
    accepted = b"".join(boot.config.accepted_cas)
    text = talosconfig.generate(boot.config.cluster_name, boot.addresses[:1], accepted, client).to_yaml()
    answer = access_pb2.GenerateClientConfiguration(
        ca=accepted, crt=client.crt, key=client.key, talosconfig=text.encode()
    )
    return access_pb2.GenerateClientConfigurationResponse(messages=[answer])


CALLS: Mapping[str, Implementation] = {
    "Read": read,
    "Copy": copy,
    "List": list_,
    "DiskUsage": disk_usage,
    "Mounts": mounts,
    "Dmesg": dmesg,
    "Logs": logs,
    "LogsContainers": log_containers,
    "Kubeconfig": admin_kubeconfig,
    "GenerateClientConfiguration": client_configuration,
}
