"""Processes, containers and connections."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

import grpc
from google.protobuf.empty_pb2 import Empty

from nodeagent.simulator import programs
from nodeagent.simulator.boot import Boot
from nodeagent.simulator.calls import Call, Implementation, Refusal, unknown
from nodeagent.simulator.programs import Container, Program
from talos.gen import common_pb2
from talos.gen.machine import access_pb2, services_pb2

_ETCD_PEERS = 2380
_Record = access_pb2.ConnectRecord


async def processes(call: Call, request: Empty) -> services_pb2.ProcessesResponse:
    boot = call.boot
    uptime = programs.uptime(boot)
    listed = [
        services_pb2.ProcessInfo(
            pid=program.pid,
            ppid=program.parent,
            state="S",
            threads=program.threads,
            cpu_time=program.worked(boot, uptime),
            virtual_memory=program.resident(boot, uptime) * 12,
            resident_memory=program.resident(boot, uptime),
            command=program.command,
            executable=program.executable,
            args=program.arguments,
            label=_label(program),
        )
        for program in programs.all_programs(boot)
    ]
    return services_pb2.ProcessesResponse(messages=[services_pb2.Process(processes=listed)])


def _label(program: Program) -> str:
    """SELinux context."""
    if program.container is not None:
        return f"system_u:system_r:{'pod' if program.container.pod else 'sys_container'}_t:s0"
    return f"system_u:system_r:{'init' if program.executable else 'kernel'}_t:s0"


# --- containers


async def containers(call: Call, request: services_pb2.ContainersRequest) -> services_pb2.ContainersResponse:
    cri = request.driver == common_pb2.CRI
    found = []
    for program, container in _containers(call.boot, request.namespace, cri=cri):
        state = ("SANDBOX_READY" if not container.name else "CONTAINER_RUNNING") if cri else "RUNNING"
        found.append(
            services_pb2.ContainerInfo(
                namespace=container.namespace,
                id=container.id_of(cri=cri),
                image=container.image,
                pid=program.pid,
                status=state,
                pod_id=container.pod or container.id,
                name=container.name or container.pod.rpartition("/")[2] or container.id,
                network_namespace=container.network,
                internal_id=container.internal_id,
                uid=container.uid,
            )
        )
    return services_pb2.ContainersResponse(messages=[services_pb2.Container(containers=found)])


async def stats(call: Call, request: services_pb2.StatsRequest) -> services_pb2.StatsResponse:
    boot, cri = call.boot, request.driver == common_pb2.CRI
    uptime = programs.uptime(boot)
    found = [
        services_pb2.Stat(
            namespace=container.namespace,
            id=container.id_of(cri=cri),
            memory_usage=program.resident(boot, uptime),
            cpu_usage=int(program.worked(boot, uptime) * 1e9),
            pod_id=container.pod or container.id,
            name=container.name or container.pod.rpartition("/")[2] or container.id,
        )
        for program, container in _containers(boot, request.namespace, cri=cri)
    ]
    return services_pb2.StatsResponse(messages=[services_pb2.Stats(stats=found)])


def _containers(boot: Boot, namespace: str, *, cri: bool) -> list[tuple[Program, Container]]:
    """Of a namespace, each pod's together. Raises Refusal for a namespace that this driver does not have."""
    if not namespace:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the namespace of containers is missing")
    if cri and namespace != programs.KUBERNETES:
        raise unknown(f"the CRI has containers of {programs.KUBERNETES} only")
    running = [
        (program, program.container)
        for program in programs.all_programs(boot)
        if program.container is not None and program.container.namespace == namespace
    ]
    return sorted(running, key=lambda pair: pair[1].id)


# --- connections


async def netstat(call: Call, request: access_pb2.NetstatRequest) -> access_pb2.NetstatResponse:
    """Those of the host: pods' own are not simulated."""
    boot, protocols = call.boot, request.l4proto
    asked = (
        {name for name in ("tcp", "tcp6") if getattr(protocols, name)} if protocols.ListFields() else {"tcp", "tcp6"}
    )
    records = [
        record
        for record in _records(boot, with_process=request.feature.pid)
        if record.l4proto in asked and _wanted(record, request.filter)
    ]
    if request.HasField("netns") and not (request.netns.hostnetwork or request.netns.allnetns):
        records = []
    return access_pb2.NetstatResponse(messages=[access_pb2.Netstat(connectrecord=records)])


def _wanted(record: _Record, filter: int) -> bool:
    listens = record.state == _Record.LISTEN
    return filter == access_pb2.NetstatRequest.ALL or listens == (filter == access_pb2.NetstatRequest.LISTENING)


def _records(boot: Boot, *, with_process: bool) -> Iterator[_Record]:
    """What listens; etcd's connections to its peers; those to the control plane over the overlay."""
    for program in programs.all_programs(boot):
        for port in program.ports:
            yield _record(program, "tcp6", "::", port, "::", 0, _Record.LISTEN, with_process=with_process)
        if program.command == "etcd":
            for peer in _peers(boot):
                here = 33_000 + zlib.crc32(peer.encode()) % 20_000
                own = boot.machine.hardware.address
                yield _record(
                    program, "tcp", own, here, peer, _ETCD_PEERS, _Record.ESTABLISHED, with_process=with_process
                )
        if program.pid == 1 and boot.overlay:
            for number, sink in enumerate((boot.join.events, boot.join.logs)):
                if sink is not None:
                    yield _record(
                        program,
                        "tcp6",
                        boot.overlay,
                        33_000 + number + zlib.crc32(boot.overlay.encode()) % 20_000,
                        *sink,
                        _Record.ESTABLISHED,
                        with_process=with_process,
                    )


def _peers(boot: Boot) -> list[str]:
    data = boot.machine.disk.contents.etcd
    cluster = boot.machine.world.etcd.cluster(data.cluster) if data else None
    members = cluster.members.values() if cluster else ()
    return sorted(
        member.address for member in members if boot.member and member.id != boot.member.id and member.running
    )


def _record(
    program: Program,
    protocol: str,
    local: str,
    local_port: int,
    remote: str,
    remote_port: int,
    state: _Record.State,
    *,
    with_process: bool,
) -> _Record:
    record = _Record(
        l4proto=protocol,
        localip=local,
        localport=local_port,
        remoteip=remote,
        remoteport=remote_port,
        state=state,
        inode=10_000 + zlib.crc32(f"{program.pid} {local_port} {remote}".encode()) % 90_000,
        ref=1,
    )
    if with_process:
        record.process.pid, record.process.name = program.pid, program.command
    return record


CALLS: Mapping[str, Implementation] = {
    "Processes": processes,
    "Containers": containers,
    "Stats": stats,
    "Netstat": netstat,
}
