"""Files, logs, and the two client configurations that a control plane hands out."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import grpc
from google.protobuf.empty_pb2 import Empty

from nodeagent.simulator.boot import Boot
from nodeagent.simulator.calls import Call, Implementation, Refusal, unknown
from nodeagent.simulator.rpc.life import require_control_plane
from talos import kubeconfig, pki, roles, talosconfig
from talos.gen import common_pb2
from talos.gen.machine import access_pb2, files_pb2

CHUNK = 1024
"""Bytes of the largest frame of a byte stream."""
_DIRECTORY, _FILE = 1 << 31 | 0o755, 0o600
"""Modes as Go writes them."""


def _files(boot: Boot) -> dict[str, bytes]:
    """The regular files that this machine has."""
    files = {
        "/proc/sys/kernel/random/boot_id": f"{boot.id}\n".encode(),
        "/proc/cmdline": f"{boot.machine.kernel_arguments}\n".encode(),
        "/proc/uptime": f"{time.time() - boot.started:.2f} 0.00\n".encode(),
        "/etc/hostname": f"{boot.hostname}\n".encode(),
        "/etc/os-release": f'NAME="Talos"\nID=talos\nVERSION_ID={boot.version}\n'.encode(),
    }
    if boot.machine.disk.contents.etcd is not None:
        files["/var/lib/etcd/member/snap/db"] = b""
    return files


async def _frames(data: bytes) -> AsyncIterator[common_pb2.Data]:
    for start in range(0, len(data), CHUNK):
        yield common_pb2.Data(bytes=data[start : start + CHUNK])


async def read(call: Call, request: files_pb2.ReadRequest) -> AsyncIterator[common_pb2.Data]:
    content = _files(call.boot).get(request.path)
    if content is None:
        raise Refusal(grpc.StatusCode.NOT_FOUND, f"stat {request.path}: no such file or directory")
    async for frame in _frames(content):
        yield frame


async def copy(call: Call, request: files_pb2.CopyRequest) -> AsyncIterator[common_pb2.Data]:
    root = "/" + request.root_path.strip("/")
    inside = {path: data for path, data in _files(call.boot).items() if path == root or path.startswith(f"{root}/")}
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
    files = _files(call.boot)
    names = {path for path in files if path == root}
    for path in files:
        parts = path.split("/")
        names |= {"/".join(parts[:count]) or "/" for count in range(1, len(parts) + 1)}
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
            size=len(files[name]) if regular else 4096,
            mode=_FILE if regular else _DIRECTORY,
            is_dir=not regular,
            modified=int(call.boot.started),
        )


async def dmesg(call: Call, request: files_pb2.DmesgRequest) -> AsyncIterator[common_pb2.Data]:
    log = call.boot.kernel_log
    start = log.next_sequence if request.tail else 0
    async for message in log.read(start, follow=request.follow):
        yield common_pb2.Data(bytes=message.dmesg_line())


async def logs(call: Call, request: files_pb2.LogsRequest) -> AsyncIterator[common_pb2.Data]:
    """Of services only: what each of them logs is its own changes of state."""
    service = call.boot.services.get(request.id)
    if service is None or (request.namespace != "system" and request.id != "kubelet"):
        raise unknown(f'container "{request.id}" not found')
    lines = [f"{datetime.fromtimestamp(at, UTC).isoformat()} {state}: {text}\n" for at, state, text in service.events]
    if request.tail_lines >= 0:
        lines = lines[len(lines) - min(request.tail_lines, len(lines)) :]
    async for frame in _frames("".join(lines).encode()):
        yield frame
    marker = f"[talos] service[{request.id}]"
    if request.follow:
        async for message in call.boot.kernel_log.read(call.boot.kernel_log.next_sequence):
            if message.text.startswith(marker):
                yield common_pb2.Data(bytes=f"{message.timestamp} {message.text.removeprefix(marker)}\n".encode())


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
    "Dmesg": dmesg,
    "Logs": logs,
    "LogsContainers": log_containers,
    "Kubeconfig": admin_kubeconfig,
    "GenerateClientConfiguration": client_configuration,
}
