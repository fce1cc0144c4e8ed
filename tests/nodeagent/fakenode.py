"""A small machine for tests: real grpcio behind real TLS with Ed25519 certificates, on loopback."""

import asyncio
import contextlib
import io
import tarfile
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nodeagent import tls
from nodeagent.sockets import new_socket_path
from talos import certificates, pki, resources
from talos.gen import common_pb2, storage_pb2, storage_pb2_grpc
from talos.gen.cosi import state_pb2, state_pb2_grpc
from talos.gen.machine import (
    image_pb2,
    image_pb2_grpc,
    lifecycle_pb2,
    lifecycle_pb2_grpc,
    machine_pb2,
    machine_pb2_grpc,
)
from talos.pem import CertKey
from talos.resources import Metadata, Resource, ResourceType

NOW = datetime.now(UTC)
UUID = "8A4F3E34-58A6-4A1A-9BB0-44B2B3A3B8A1"


def resource(kind: ResourceType, spec: Any, identifier: str = "", version: int = 1) -> Resource:
    return Resource(Metadata(kind.namespace, kind.name, identifier or kind.id, str(version)), spec)


@dataclass
class FakeNode(
    machine_pb2_grpc.MachineServiceServicer,
    state_pb2_grpc.StateServicer,
    storage_pb2_grpc.StorageServiceServicer,
    image_pb2_grpc.ImageServiceServicer,
    lifecycle_pb2_grpc.LifecycleServiceServicer,
):
    """Answers what the tests ask; `requests` holds what it was asked."""

    requests: list[Any] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = 0
    watch_events: dict[str, "asyncio.Queue[state_pb2.Event]"] = field(
        default_factory=lambda: defaultdict(asyncio.Queue)
    )
    """By resource type: what its watches are told after what exists."""

    async def Version(self, request: Any, context: Any) -> machine_pb2.VersionResponse:
        version = machine_pb2.Version(
            version=machine_pb2.VersionInfo(tag="v1.14.1", arch="amd64"),
            platform=machine_pb2.PlatformInfo(name="metal", mode="metal"),
        )
        return machine_pb2.VersionResponse(messages=[version])

    async def ApplyConfiguration(self, request: Any, context: Any) -> machine_pb2.ApplyConfigurationResponse:
        self.requests.append(request)
        if b"bad" in request.data:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unknown keys found during decoding")
        answer = machine_pb2.ApplyConfiguration(mode=request.mode, mode_details="Applied", warnings=["w"])
        return machine_pb2.ApplyConfigurationResponse(messages=[answer])

    async def Bootstrap(self, request: Any, context: Any) -> machine_pb2.BootstrapResponse:
        if self.requests and isinstance(self.requests[-1], machine_pb2.BootstrapRequest):
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "etcd data directory is not empty")
        self.requests.append(request)
        return machine_pb2.BootstrapResponse()

    async def Reset(self, request: Any, context: Any) -> machine_pb2.ResetResponse:
        self.requests.append(request)
        return machine_pb2.ResetResponse(messages=[machine_pb2.Reset(actor_id="a-1")])

    async def MetaWrite(self, request: Any, context: Any) -> machine_pb2.MetaWriteResponse:
        self.requests.append(request)
        return machine_pb2.MetaWriteResponse(messages=[machine_pb2.MetaWrite()])

    async def EtcdMemberList(self, request: Any, context: Any) -> machine_pb2.EtcdMemberListResponse:
        member = machine_pb2.EtcdMember(id=2**63 + 1, hostname="cp-1", peer_urls=["https://10.0.0.1:2380"])
        return machine_pb2.EtcdMemberListResponse(messages=[machine_pb2.EtcdMembers(members=[member])])

    async def EtcdRecover(self, frames: Any, context: Any) -> machine_pb2.EtcdRecoverResponse:
        self.requests.append(b"".join([frame.bytes async for frame in frames]))
        return machine_pb2.EtcdRecoverResponse(messages=[machine_pb2.EtcdRecover()])

    async def Read(self, request: Any, context: Any) -> AsyncIterator[common_pb2.Data]:
        if request.path not in self.files:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such file")
        content = self.files[request.path]
        for start in range(0, len(content), 1024):
            yield common_pb2.Data(bytes=content[start : start + 1024])

    async def Kubeconfig(self, request: Any, context: Any) -> AsyncIterator[common_pb2.Data]:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            content = b"apiVersion: v1\n"
            info = tarfile.TarInfo("kubeconfig")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        yield common_pb2.Data(bytes=buffer.getvalue())

    async def Events(self, request: Any, context: Any) -> AsyncIterator[machine_pb2.Event]:
        yield machine_pb2.Event()
        event = machine_pb2.Event(id="c0")
        event.data.Pack(machine_pb2.RestartEvent(cmd=7), "talos/runtime")
        yield event
        await asyncio.Event().wait()

    async def Disks(self, request: Any, context: Any) -> storage_pb2.DisksResponse:
        disk = storage_pb2.Disk(device_name="/dev/sda", system_disk=True)
        return storage_pb2.DisksResponse(messages=[storage_pb2.Disks(disks=[disk])])

    async def Pull(self, request: Any, context: Any) -> AsyncIterator[image_pb2.ImageServicePullResponse]:
        yield image_pb2.ImageServicePullResponse(pull_progress=image_pb2.ImageServicePullProgress(layer_id="l"))
        yield image_pb2.ImageServicePullResponse(name=f"{request.image_ref}@sha256:00")

    async def Install(self, request: Any, context: Any) -> AsyncIterator[lifecycle_pb2.LifecycleServiceInstallResponse]:
        self.requests.append(request)
        for line in ("one", "two"):
            yield _progress(message=line)
        if self.exit_code is not None:
            yield _progress(exit_code=self.exit_code)

    async def Get(self, request: Any, context: Any) -> state_pb2.GetResponse:
        for known in self.resources:
            meta = known.metadata
            if (meta.namespace, meta.type, meta.id) == (request.namespace, request.type, request.id):
                return state_pb2.GetResponse(resource=resources.encode(known))
        return await context.abort(grpc.StatusCode.NOT_FOUND, "doesn't exist")

    async def List(self, request: Any, context: Any) -> AsyncIterator[state_pb2.ListResponse]:
        for known in self.resources:
            if known.metadata.type == request.type:
                yield state_pb2.ListResponse(resource=resources.encode(known))

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[state_pb2.WatchResponse]:
        self.requests.append(request)
        yield state_pb2.WatchResponse()
        existing = [r for r in self.resources if r.metadata.type == request.type]
        yield state_pb2.WatchResponse(
            event=[
                *(state_pb2.Event(resource=resources.encode(r), event_type=state_pb2.CREATED) for r in existing),
                state_pb2.Event(event_type=state_pb2.BOOTSTRAPPED, bookmark=b"b"),
            ]
        )
        while True:
            yield state_pb2.WatchResponse(event=[await self.watch_events[request.type].get()])


def _progress(**part: Any) -> lifecycle_pb2.LifecycleServiceInstallResponse:
    progress = lifecycle_pb2.LifecycleServiceInstallProgress(**part)
    return lifecycle_pb2.LifecycleServiceInstallResponse(progress=progress)


@dataclass
class Served:
    """A fake node that listens. `connect` opens a stream to it, counted in `connections`."""

    port: int
    connections: int = 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.connections += 1
        return await asyncio.open_connection("127.0.0.1", self.port)


@contextlib.asynccontextmanager
async def serve(node: FakeNode, identity: CertKey, client_ca: bytes | None = None) -> AsyncIterator[Served]:
    """The node behind TLS with a certificate; with `client_ca` callers need one too."""
    path = new_socket_path()
    server = grpc.aio.server(options=[("grpc.server.max_pending_requests", 100_000)])
    machine_pb2_grpc.add_MachineServiceServicer_to_server(node, server)
    state_pb2_grpc.add_StateServicer_to_server(node, server)
    storage_pb2_grpc.add_StorageServiceServicer_to_server(node, server)
    image_pb2_grpc.add_ImageServiceServicer_to_server(node, server)
    lifecycle_pb2_grpc.add_LifecycleServiceServicer_to_server(node, server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    context = tls.server_context(identity, client_ca)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = tls.TlsStream(reader, writer, context, server_side=True)
        try:
            await stream.handshake()
            await tls.relay(await asyncio.open_unix_connection(str(path)), stream)
        except OSError:
            writer.close()

    front = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield Served(front.sockets[0].getsockname()[1])
    finally:
        front.close()
        await server.stop(None)
        path.unlink(missing_ok=True)


def maintenance_identity(name: str = tls.MAINTENANCE_NAME) -> CertKey:
    """What a machine without configuration shows: a certificate of an authority without a name."""
    ca = certificates.self_signed_ca([], Ed25519PrivateKey.generate(), NOW, NOW + timedelta(days=1))
    return pki.apid_server(ca, name, NOW, [ip_address("127.0.0.1")])


def issue_server(ca: CertKey, name: str, address: str = "127.0.0.1") -> CertKey:
    return pki.apid_server(ca, name, NOW, [ip_address(address)], [name])
