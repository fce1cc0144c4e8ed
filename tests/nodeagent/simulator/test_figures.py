"""What a simulated machine counts, runs and stores: figures that agree with each other and with its hardware."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.simulator import bolt, figures, hardware, programs
from nodeagent.simulator.boot import Boot
from nodeagent.simulator.calls import Call, Caller, Refusal
from nodeagent.simulator.routing import unary
from nodeagent.simulator.rpc import controllers, files, health, system
from nodeagent.simulator.rpc import programs as program_calls
from talos.gen import cluster_pb2, common_pb2
from talos.gen.machine import access_pb2, files_pb2, services_pb2, system_pb2
from talos.machinetype import MachineType
from talos.resources import types
from talos.roles import ADMIN
from tests.nodeagent.simulator.bench import bench, config, in_stage, install, run_cluster

MACHINE = hardware.build("figures", 1)
SECONDS = st.floats(0, 10_000_000, allow_nan=False)


@given(st.sampled_from([0.0, 0.5, 0.99]), SECONDS, SECONDS, SECONDS)
def test_a_wave_adds_up_and_never_shrinks(swing: float, first: float, second: float, third: float) -> None:
    start, middle, end = sorted((first, second, third))
    wave = figures.wave(MACHINE, "x", 3.0, swing)
    whole = wave.between(start, end)
    assert whole == pytest.approx(wave.between(start, middle) + wave.between(middle, end), abs=1e-3)
    assert whole >= -1e-6
    assert 3 * (1 - swing) - 1e-9 <= wave.at(start) <= 3 * (1 + swing) + 1e-9


def test_each_machine_has_its_own_figures() -> None:
    other = hardware.build("figures", 2)
    assert figures.wave(MACHINE, "x", 1) == figures.wave(MACHINE, "x", 1)
    assert figures.wave(MACHINE, "x", 1) != figures.wave(other, "x", 1)


# --- one machine in maintenance


@asynccontextmanager
async def maintained() -> AsyncIterator[Call]:
    async with bench(1) as b:
        boot = await in_stage(b.fleet.machines[0], "maintenance")
        yield as_admin(boot)


def as_admin(boot: Boot, **metadata: list[str]) -> Call:
    return Call(boot, Caller(boot, frozenset({ADMIN}), maintenance=False), metadata)


async def test_counters_follow_the_hardware_and_only_grow() -> None:
    async with maintained() as call:
        boot, cores = call.boot, call.boot.machine.hardware.cores
        before, after = (figures.system_stat(boot, uptime) for uptime in (100.0, 103.0))
        assert len(before.cpu) == cores == len(figures.frequencies(boot, 100))
        assert spent(before.cpu_total) == pytest.approx(100 * cores)
        assert spent(after.cpu_total) == pytest.approx(sum(spent(cpu) for cpu in after.cpu))
        grown = (after.cpu_total.user, after.cpu_total.idle, after.context_switches, after.irq_total)
        assert all(
            new > old
            for new, old in zip(
                grown,
                (before.cpu_total.user, before.cpu_total.idle, before.context_switches, before.irq_total),
                strict=True,
            )
        )
        assert figures.system_stat(boot, 103.0) == after
        least, most = figures.FREQUENCY_KHZ
        assert all(least <= clock.current_frequency <= most for clock in figures.frequencies(boot, 77))
        load = figures.load(boot, 3600)
        assert load.load15 == pytest.approx(figures.busy_seconds(boot.machine.hardware, 2700, 3600) / 900, abs=0.01)
        disks = [disk.name for disk in boot.machine.hardware.disks]
        assert [disk.name for disk in figures.disks(boot, 9)] == disks
        assert {disk.write_completed for disk in figures.disks(boot, 9)} == {0}, "nothing is installed"


def spent(cpu: system_pb2.CPUStat) -> float:
    return sum(value for _, value in cpu.ListFields())


async def test_memory_is_what_there_is() -> None:
    async with maintained() as call:
        boot = call.boot
        info = figures.memory(boot, 50, programs.resident(boot, 50) // 1024)
        assert info.memtotal == boot.machine.hardware.memory * 1024
        assert info.memfree < info.memavailable < info.memtotal
        parts = (info.memfree, info.anonpages, info.cached, info.buffers, info.slab, info.kernelstack, info.pagetables)
        assert 0.98 * info.memtotal < sum(parts) <= info.memtotal


async def test_totals_are_sums() -> None:
    async with maintained() as call:
        (network,) = (await system.network_device_stats(call, Empty())).messages
        assert {"lo", "eth0"} <= {device.name for device in network.devices}
        assert network.total.rx_bytes == sum(device.rx_bytes for device in network.devices)
        assert network.total.name == ""
        (disks,) = (await system.disk_stats(call, Empty())).messages
        assert disks.total.read_sectors == sum(disk.read_sectors for disk in disks.devices) > 0


async def test_files_of_proc_say_what_the_calls_say() -> None:
    async with maintained() as call:
        texts = {}
        for name in ("version", "cpuinfo", "meminfo", "uptime", "loadavg", "stat", "mounts", "net/dev"):
            texts[name] = (await content(call, f"/proc/{name}")).decode()
        hardware_ = call.boot.machine.hardware
        assert texts["version"].startswith("Linux version 6.")
        assert texts["cpuinfo"].count("processor\t: ") == hardware_.cores
        assert f"MemTotal:{hardware_.memory * 1024:>15} kB" in texts["meminfo"]
        assert float(texts["uptime"].split()[0]) >= 0
        assert len(texts["loadavg"].split()) == 5
        assert texts["stat"].count("cpu") == hardware_.cores + 1
        assert "/dev/loop0 / squashfs" in texts["mounts"]
        assert "eth0:" in texts["net/dev"]
        with pytest.raises(Refusal) as caught:
            await content(call, "/proc/nothing")
        assert caught.value.code is grpc.StatusCode.NOT_FOUND


async def content(call: Call, path: str) -> bytes:
    return b"".join([frame.bytes async for frame in files.read(call, files_pb2.ReadRequest(path=path))])


@pytest.mark.parametrize(
    ("namespace", "driver", "code"),
    [
        ("", common_pb2.CONTAINERD, grpc.StatusCode.INVALID_ARGUMENT),
        ("system", common_pb2.CRI, grpc.StatusCode.UNKNOWN),
    ],
)
async def test_containers_are_asked_for_by_namespace(namespace: str, driver: int, code: grpc.StatusCode) -> None:
    async with maintained() as call:
        for ask, request in (
            (program_calls.containers, services_pb2.ContainersRequest),
            (program_calls.stats, services_pb2.StatsRequest),
        ):
            with pytest.raises(Refusal) as caught:
                await ask(call, request(namespace=namespace, driver=driver))
            assert caught.value.code is code


async def test_dependencies_name_resources_of_the_release() -> None:
    async with maintained() as call:
        (graph,) = (await controllers.dependencies(call, Empty())).messages
        edges = {(edge.controller_name, edge.resource_type) for edge in graph.edges}
        assert ("block.DisksController", "Disks.block.talos.dev") in edges
        defined = {resource.spec["type"] for resource in call.boot.store.list(types.RESOURCE_DEFINITION)}
        assert {kind for _, kind in edges} <= defined


# --- a cluster


async def test_a_cluster_shows_what_it_runs() -> None:
    async with bench(machines=2, listen_base="127.88.31.1") as b:
        boots = [machine.boot for machine in await run_cluster(b, control_planes=1, workers=1)]
        control_plane, worker = (boot for boot in boots if boot is not None)
        call = as_admin(control_plane)
        await processes_and_containers(call)
        await storage(call)
        await connections(call)
        await pods_of_people(as_admin(worker))
        await everyone_is_asked(call, worker)
        await healthy(call, worker)


async def processes_and_containers(call: Call) -> None:
    boot = call.boot
    (processes,) = (await program_calls.processes(call, Empty())).messages
    by_pid = {process.pid: process for process in processes.processes}
    assert len(by_pid) == len(processes.processes)
    assert (by_pid[1].executable, by_pid[1].ppid) == ("/sbin/init", 0)
    assert {"apid", "trustd", "etcd", "kubelet", "kube-apiserver"} <= {one.command for one in by_pid.values()}
    uptime = programs.uptime(boot)
    worked = sum(one.cpu_time for one in by_pid.values())
    assert 0 < worked < figures.busy_seconds(boot.machine.hardware, 0, uptime)

    request = services_pb2.ContainersRequest(namespace="system")
    (system_,) = (await program_calls.containers(call, request)).messages
    assert [one.id for one in system_.containers] == ["apid", "etcd", "kubelet", "trustd"]
    cri = common_pb2.CRI
    request = services_pb2.ContainersRequest(namespace="k8s.io", driver=cri)
    (pods,) = (await program_calls.containers(call, request)).messages
    api = [one for one in pods.containers if one.pod_id == f"kube-system/kube-apiserver-{boot.hostname}"]
    assert [one.status for one in api] == ["SANDBOX_READY", "CONTAINER_RUNNING"]
    assert api[1].id == f"{api[1].pod_id}:kube-apiserver:{api[1].internal_id[:12]}"
    assert by_pid[api[1].pid].command == "kube-apiserver"
    (stats,) = (await program_calls.stats(call, services_pb2.StatsRequest(namespace="k8s.io", driver=cri))).messages
    assert [one.id for one in stats.stats] == [one.id for one in pods.containers]
    used = next(one for one in stats.stats if one.id == api[1].id)
    assert used.memory_usage == pytest.approx(by_pid[api[1].pid].resident_memory, rel=0.05)

    log = {"namespace": "k8s.io", "id": api[1].id, "driver": cri}
    written = [frame.bytes async for frame in files.logs(call, files_pb2.LogsRequest(**log, tail_lines=-1))]
    assert b"".join(written).endswith(b"Z started\n")
    assert not [frame async for frame in files.logs(call, files_pb2.LogsRequest(**log))], "0 lines"
    kubelet = files_pb2.LogsRequest(namespace="k8s.io", id="kubelet", tail_lines=1)
    written = [frame.bytes async for frame in files.logs(call, kubelet)]
    assert b"".join(written).endswith(b"Running: Health check successful\n")
    with pytest.raises(Refusal, match=r'container "k/p:c:123" not found'):
        await anext(files.logs(call, files_pb2.LogsRequest(namespace="k8s.io", id="k/p:c:123", driver=cri)))


async def storage(call: Call) -> None:
    (mounted,) = (await files.mounts(call, Empty())).messages
    (var,) = (one for one in mounted.stats if one.mounted_on == "/var")
    assert var.filesystem == "/dev/vda5"
    entries = await usage(call, paths=["/var"], all=True)
    assert entries[-1].relative_name == "."
    folders = {one.relative_name for one in await usage(call, paths=["/var"])}
    assert sum(one.size for one in entries if one.relative_name not in folders) == entries[-1].size
    assert entries[-1].size < var.size - var.available < var.size
    shallow = await usage(call, paths=["/var/"], recursion_depth=2)
    assert [one.relative_name for one in shallow] == ["lib", "log", "."]
    assert all(one.size >= 1 << 20 for one in await usage(call, paths=["/var"], threshold=1 << 20))
    assert all(one.size <= 1 << 20 for one in await usage(call, paths=["/var"], threshold=-(1 << 20)))
    (missing,) = await usage(call, paths=["/nothing"])
    assert missing.error
    assert (await usage(call, paths=["/"]))[-1].name == "/"
    listed = [one async for one in files.list_(call, files_pb2.ListRequest(root="/var/log"))]
    log = next(one for one in listed if one.name == "/var/log/etcd.log")
    assert not (await content(call, log.name)).strip(b"\0")


async def usage(call: Call, **asked: object) -> list[files_pb2.DiskUsageInfo]:
    request = files_pb2.DiskUsageRequest(**asked)  # type: ignore[arg-type]
    return [one async for one in files.disk_usage(call, request)]


async def connections(call: Call) -> None:
    request = access_pb2.NetstatRequest
    asked = request(filter=request.LISTENING, feature=request.Feature(pid=True))
    (found,) = (await program_calls.netstat(call, asked)).messages
    ports = {record.localport: record.process.name for record in found.connectrecord}
    assert (ports[50000], ports[50001], ports[2379], ports[6443]) == ("apid", "trustd", "etcd", "kube-apiserver")
    for number, name in ports.items():
        if name in ("apid", "trustd", "kube-apiserver"):
            assert call.boot.ports.find(number) is not None
    assert {record.state for record in found.connectrecord} == {access_pb2.ConnectRecord.LISTEN}
    only_udp = request(l4proto=request.L4proto(udp=True))
    (none,) = (await program_calls.netstat(call, only_udp)).messages
    assert not none.connectrecord


async def pods_of_people(call: Call) -> None:
    """A pod that is on the node is among its containers, and its program among the processes."""
    boot = call.boot
    assert boot.cluster is not None
    described = {"name": "c", "image": "example.org/web:1", "command": ["/bin/serve", "--port=80"]}
    spec = {"nodeName": boot.hostname, "containers": [described]}
    pod = boot.cluster.objects.put("pods", ("default", "web"), {"spec": spec})
    request = services_pb2.ContainersRequest(namespace="k8s.io")
    (found,) = (await program_calls.containers(call, request)).messages
    assert [(one.id, one.image, one.status) for one in found.containers] == [
        ("default/web", programs.PAUSE, "RUNNING"),
        ("default/web:c", "example.org/web:1", "RUNNING"),
    ]
    assert {one.network_namespace for one in found.containers} == {f"cni-{pod['metadata']['uid']}"}
    running = {program.pid: program for program in programs.all_programs(boot)}
    program = running[found.containers[1].pid]
    assert (program.command, program.arguments) == ("serve", "/bin/serve --port=80")
    boot.cluster.objects.delete("pods", ("default", "web"))
    assert program.pid not in {program.pid for program in programs.all_programs(boot)}


async def everyone_is_asked(call: Call, worker: Boot) -> None:
    hosts = [call.boot.hostname, worker.hostname]
    joined: Message = await unary(
        as_admin(call.boot, nodes=hosts),
        "/machine.MachineService/Processes",
        Empty(),
        program_calls.processes,
        services_pb2.ProcessesResponse,
    )
    assert isinstance(joined, services_pb2.ProcessesResponse)
    assert sorted(message.metadata.hostname for message in joined.messages) == sorted(hosts)
    of_worker = next(one for one in joined.messages if one.metadata.hostname == worker.hostname)
    assert "etcd" not in {process.command for process in of_worker.processes}


async def healthy(call: Call, worker: Boot) -> None:
    request = cluster_pb2.HealthCheckRequest()
    said: list[str] = []
    await hear(call, request, said)
    assert call.boot.machine.hardware.address in said[0]
    assert worker.machine.hardware.address in said[0]
    assert all(line.endswith(": OK") for line in said[1:])
    assert "waiting for etcd to be healthy: OK" in said

    worker.set_node_ready(False)
    said.clear()
    with pytest.raises(Refusal) as caught:
        await hear(call, request, said)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert said[-1] == f"waiting for all Kubernetes nodes to be ready: not ready: {worker.hostname}"

    request.wait_timeout.FromSeconds(60)
    checking = health.health_check(call, request)
    async for one in checking:
        if "not ready" in one.message:
            worker.set_node_ready(True)
    assert one.message.endswith(": OK")

    named = cluster_pb2.ClusterInfo(control_plane_nodes=[call.boot.hostname], worker_nodes=["192.0.2.99"])
    with pytest.raises(Refusal, match=r"no answer from 192\.0\.2\.99"):
        await hear(call, cluster_pb2.HealthCheckRequest(cluster_info=named), [])
    with pytest.raises(Refusal, match="only available on control plane nodes"):
        await hear(as_admin(worker), request, [])


async def hear(call: Call, request: cluster_pb2.HealthCheckRequest, said: list[str]) -> None:
    """Everything that a check says, until it ends. Raises Refusal."""
    async for progress in health.health_check(call, request):
        said.append(progress.message)


async def test_before_the_bootstrap_a_cluster_is_not_healthy() -> None:
    async with bench(1) as b:
        machine = b.fleet.machines[0]
        await install(b, machine)
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            await client.apply_configuration(config(MachineType.CONTROLPLANE))
        boot = await in_stage(machine, "booting")
        with pytest.raises(Refusal, match="etcd"):
            await hear(as_admin(boot), cluster_pb2.HealthCheckRequest(), [])


# --- the database


def test_a_database_has_its_pages_in_order() -> None:
    data = bolt.database({"members": {b"1": b"{}"}, "key": {}}, 16)
    assert len(data) == 16 * bolt.PAGE
    for number in (0, 1):
        header = struct.unpack_from("<QHHI", data, number * bolt.PAGE)
        assert header == (number, 0x04, 0, 0)
        meta = struct.unpack_from("<IIIIQQQQQQ", data, number * bolt.PAGE + 16)
        assert (meta[0], meta[1], meta[2], meta[7], meta[8]) == (0xED0CDAED, 2, bolt.PAGE, 16, number)
        root, free = meta[4], meta[6]
        _, flags, count, _ = struct.unpack_from("<QHHI", data, free * bolt.PAGE)
        assert (flags, count) == (0x10, 12)
        assert struct.unpack_from(f"<{count}Q", data, free * bolt.PAGE + 16) == tuple(range(4, 16))
        assert [key for _, key, _ in leaf(data, root * bolt.PAGE)] == [b"key", b"members"]
    (_, (flags, _, bucket)) = leaf(data, 3 * bolt.PAGE)
    assert flags == 1
    assert leaf(bucket, 16) == [(0, b"1", b"{}")]


def leaf(data: bytes, start: int) -> list[tuple[int, bytes, bytes]]:
    """Elements of a leaf page: flags, key, value."""
    _, flags, count, _ = struct.unpack_from("<QHHI", data, start)
    assert flags == 0x02
    found = []
    for index in range(count):
        place = start + 16 + 16 * index
        flag, offset, key, value = struct.unpack_from("<IIII", data, place)
        begin = place + offset
        found.append((flag, data[begin : begin + key], data[begin + key : begin + key + value]))
    return found


def test_a_checksum_known_from_elsewhere() -> None:
    assert bolt._fnv1a(b"") == 0xCBF29CE484222325
    assert bolt._fnv1a(b"foobar") == 0x85944171F73967E8


def test_too_many_members_do_not_fit() -> None:
    with pytest.raises(ValueError, match="fit into pages"):
        bolt.database({"members": {b"1": bytes(bolt.PAGE)}}, 16)
