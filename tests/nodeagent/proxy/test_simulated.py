"""The proxy in front of simulated machines: what talosctl does, on machines of a cluster and without one."""

import asyncio
import contextlib
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from nodeagent.proxy.upstream import raw
from nodeagent.rpc import Call, Channel
from nodeagent.simulator.machine import Machine
from nodeagent.tls import Credentials, to_machine
from talos import pki
from talos.gen import common_pb2
from talos.gen.cosi import state_pb2, state_pb2_grpc
from talos.gen.machine import (
    access_pb2,
    debug_pb2,
    debug_pb2_grpc,
    etcd_pb2,
    events_pb2,
    files_pb2,
    image_pb2,
    image_pb2_grpc,
    machine_pb2_grpc,
    services_pb2,
    system_pb2,
)
from tests.nodeagent.proxy.lab import Lab, at, impersonator, lab
from tests.nodeagent.simulator.bench import Bench, bench, bundle, in_stage, run_cluster

MACHINE = "/machine.MachineService/"


@contextlib.asynccontextmanager
async def maintained(version: str = "v1.13.8", count: int = 1) -> AsyncIterator[tuple[Lab, Bench]]:
    """Machines m-0, m-1, ... in maintenance mode."""
    async with lab() as proxied, bench(count, version) as b:
        for number, machine in enumerate(b.fleet.machines):
            await in_stage(machine, "maintenance")
            add(proxied, b, f"m-{number}", machine, credentials=None)
        yield proxied, b


def add(proxied: Lab, b: Bench, name: str, machine: Machine, **target: object) -> None:
    """Reach a machine through the proxy."""
    proxied.node(name, lambda: b.connect(machine, 50000), uuid=machine.hardware.uuid, **target)


@pytest.mark.parametrize("version", ["v1.12.4", "v1.13.8", "v1.14.1"])
@pytest.mark.parametrize("style", ["node", "nodes"])
async def test_maintenance(version: str, style: str) -> None:
    async with maintained(version) as (proxied, _):
        stub = machine_pb2_grpc.MachineServiceStub(proxied.channel)
        answer = await stub.Version(Empty(), metadata=at("m-0", style=style))
        assert answer.messages[0].version.tag == version
        assert answer.messages[0].metadata.hostname == ("m-0" if style == "nodes" else "")
        disks = state_pb2.ListRequest(namespace="runtime", type="Disks.block.talos.dev")
        state = state_pb2_grpc.StateStub(proxied.channel)
        assert [answer async for answer in state.List(disks, metadata=at("m-0", style=style))]
        assert [ticket.outcomes for ticket in proxied.gate.tickets] == [["OK"], ["OK"]]
        assert proxied.dialled == ["m-0"]


async def test_cluster() -> None:
    async with lab() as proxied, bench(3) as b:
        machines = await run_cluster(b, control_planes=3)
        for number, machine in enumerate(machines):
            add(proxied, b, f"m-{number}", machine, credentials=impersonator())
        await roles_are_given(proxied)
        await unary_calls(proxied)
        await server_streams(proxied)
        await uploads(proxied)
        await containers(proxied)
        await watches(proxied)
        assert sorted(proxied.dialled) == ["m-0", "m-1", "m-2"]
        await as_apid_fans_out(proxied, b, machines)
        assert all(len(ticket.outcomes) == 1 for ticket in proxied.gate.tickets)


async def roles_are_given(proxied: Lab) -> None:
    stub = machine_pb2_grpc.MachineServiceStub(proxied.channel)
    proxied.gate.talos_role = "os:reader"
    for claim in ("talos-role", "Talos-Role".lower()):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.EtcdSnapshot(
                etcd_pb2.EtcdSnapshotRequest(), metadata=[*at("m-0"), (claim, "os:admin")]
            ):
                pass
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert caught.value.details() == "not authorized"
        assert proxied.gate.ticket.outcomes == ["PERMISSION_DENIED"]
    proxied.gate.talos_role = "os:admin"


async def unary_calls(proxied: Lab) -> None:
    stub = machine_pb2_grpc.MachineServiceStub(proxied.channel)
    nodes = ["m-0", "m-1", "m-2"]
    for call in (stub.Version, stub.Memory, stub.ServiceList, stub.Hostname):
        single = await call(Empty(), metadata=at("m-1"))
        assert len(single.messages) == 1
        assert not single.messages[0].HasField("metadata")
        joined = await call(Empty(), metadata=at(*nodes, style="nodes"))
        assert sorted(message.metadata.hostname for message in joined.messages) == nodes
    hosts = await stub.Hostname(Empty(), metadata=at(*nodes, style="nodes"))
    assert len({message.hostname for message in hosts.messages}) == 3


async def server_streams(proxied: Lab) -> None:
    stub = machine_pb2_grpc.MachineServiceStub(proxied.channel)
    log = [frame async for frame in stub.Dmesg(files_pb2.DmesgRequest(), metadata=at("m-0", "m-1", style="nodes"))]
    assert {frame.metadata.hostname for frame in log} == {"m-0", "m-1"}

    events = stub.Events(events_pb2.EventsRequest(tail_events=-1), metadata=at("m-0"))
    first = await events.read()
    assert not first.HasField("data")
    events.cancel()
    await proxied.gate.ticket.ended.wait()
    assert proxied.gate.ticket.outcomes == ["CANCELLED"]

    copied = b"".join(
        [frame.bytes async for frame in stub.Copy(files_pb2.CopyRequest(root_path="/etc"), metadata=at("m-2"))]
    )
    with tarfile.open(fileobj=io.BytesIO(copied)) as archive:
        assert sorted(archive.getnames()) == ["hostname", "os-release"]

    snapshot = b"".join(
        [frame.bytes async for frame in stub.EtcdSnapshot(etcd_pb2.EtcdSnapshotRequest(), metadata=at("m-0"))]
    )
    assert len(snapshot) % 512 == 32
    assert hashlib.sha256(snapshot[:-32]).digest() == snapshot[-32:]

    wanted = access_pb2.PacketCaptureRequest(interface="eth0")
    capture = stub.PacketCapture(wanted, metadata=at("m-0"))
    assert (await capture.read()).bytes[:4] == b"\x4d\x3c\xb2\xa1"
    await capture.read()
    capture.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.PacketCapture(access_pb2.PacketCaptureRequest(interface="no0"), metadata=at("m-0")).read()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    images = image_pb2_grpc.ImageServiceStub(proxied.channel)
    store = common_pb2.ContainerdInstance(driver=common_pb2.CRI, namespace=common_pb2.NS_CRI)
    pull = image_pb2.ImageServicePullRequest(containerd=store, image_ref="docker.io/library/alpine:3")
    progress = [answer async for answer in images.Pull(pull, metadata=at("m-1"))]
    assert progress[-1].name.startswith("docker.io/library/alpine:3@sha256:")


async def uploads(proxied: Lab) -> None:
    stub = machine_pb2_grpc.MachineServiceStub(proxied.channel)

    async def frames() -> AsyncIterator[common_pb2.Data]:
        for _ in range(500):
            yield common_pb2.Data(bytes=bytes(1024))

    answer = await stub.EtcdRecover(frames(), metadata=at("m-0"))
    assert len(answer.messages) == 1
    answer = await stub.EtcdRecover(frames(), metadata=at("m-0", "m-1", style="nodes"))
    assert sorted(message.metadata.hostname for message in answer.messages) == ["m-0", "m-1"]
    digest = hashlib.sha256(bytes(512_000)).hexdigest()
    for node in ("m-0", "m-1"):
        log = [frame.bytes async for frame in stub.Dmesg(files_pb2.DmesgRequest(), metadata=at(node))]
        assert f"received an etcd snapshot of 512000 bytes, SHA-256 {digest}".encode() in b"".join(log)


async def containers(proxied: Lab) -> None:
    stub = debug_pb2_grpc.DebugServiceStub(proxied.channel)
    call = stub.ContainerRun(metadata=at("m-0"))
    privileged = debug_pb2.DebugContainerRunRequestSpec.PROFILE_PRIVILEGED
    spec = debug_pb2.DebugContainerRunRequestSpec(profile=privileged)
    await call.write(debug_pb2.DebugContainerRunRequest(spec=spec))
    for line in (b"ls\n", b"exit\n"):
        await call.write(debug_pb2.DebugContainerRunRequest(stdin_data=line))
        assert (await call.read()).stdout_data == line
    await call.done_writing()
    assert (await call.read()).exit_code == 0
    assert await call.read() is grpc.aio.EOF
    several = stub.ContainerRun(metadata=at("m-0", "m-1", style="nodes"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await several.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == (
        "one-2-many proxying is not supported for method /machine.DebugService/ContainerRun"
    )
    assert proxied.gate.ticket.outcomes == ["INVALID_ARGUMENT"]


async def as_apid_fans_out(proxied: Lab, b: Bench, machines: list[Machine]) -> None:
    """Both ways to several nodes give the same, but for the order of what comes at the same time."""
    addresses = [(await machine.booted()).addresses[0] for machine in machines]
    for address, machine in zip(addresses, machines, strict=True):
        add(proxied, b, address, machine, credentials=impersonator())
    administrator = pki.talos_client(bundle().os, ["os:admin"], datetime.now(UTC))
    way = to_machine(lambda: b.connect(machines[0], 50000), Credentials(bundle().os.crt, administrator))
    apid = Channel(way)
    metadata = [(b"nodes", address.encode()) for address in addresses]

    async def direct(method: str, request: bytes) -> list[bytes]:
        async with apid.duplex(raw(method), metadata) as call:
            await call.send(request, end=True)
            return [answer async for answer in taken(call)]

    async def through(method: str, request: bytes) -> list[bytes]:
        answers = proxied.channel.unary_stream(method)(request, metadata=at(*addresses, style="nodes"))
        return [answer async for answer in answers]

    try:
        for name in ("Hostname", "ServiceList", "Version"):
            (theirs,), (ours,) = await direct(MACHINE + name, b""), await through(MACHINE + name, b"")
            kind = getattr(system_pb2, f"{name}Response", None) or services_pb2.ServiceListResponse
            assert same(kind.FromString(ours).messages, kind.FromString(theirs).messages)
            assert len(ours) == len(theirs)
        for name, request, frame in (
            ("Read", files_pb2.ReadRequest(path="/etc/hostname"), common_pb2.Data),
            ("List", files_pb2.ListRequest(root="/etc"), files_pb2.FileInfo),
            ("Read", files_pb2.ReadRequest(path="/nowhere"), common_pb2.Data),  # a failure of each
        ):
            asked = request.SerializeToString()
            theirs, ours = await direct(MACHINE + name, asked), await through(MACHINE + name, asked)
            assert same(map(frame.FromString, ours), map(frame.FromString, theirs))
            assert sum(map(len, ours)) == sum(map(len, theirs))
    finally:
        await apid.close()


def same(some: Iterable[Message], others: Iterable[Message]) -> bool:
    """The same messages, in any order."""
    one, other = ([message.SerializeToString(deterministic=True) for message in side] for side in (some, others))
    return bool(one) and sorted(one) == sorted(other)


async def taken(call: Call) -> AsyncIterator[bytes]:
    while (answer := await call.receive()) is not None:
        yield answer


async def watches(proxied: Lab) -> None:
    stub = state_pb2_grpc.StateStub(proxied.channel)
    request = state_pb2.WatchRequest(
        namespace="runtime",
        type="Services.v1alpha1.talos.dev",
        api_version=1,
        options=state_pb2.WatchOptions(bootstrap_contents=True),
    )
    watch = stub.Watch(request, metadata=at("m-0"))
    async with asyncio.timeout(10):
        while not (await watch.read()).event:
            pass  # that it is being watched
    watch.cancel()
    await proxied.gate.ticket.ended.wait()
