"""Whether a whole cluster is well, seen from one of its control planes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import grpc

from nodeagent.simulator.boot import Boot
from nodeagent.simulator.calls import Call, Implementation, Refusal
from nodeagent.simulator.rpc.life import require_control_plane
from talos.gen import cluster_pb2

_POLL = 0.5
"""Seconds until a check is made again."""


async def health_check(
    call: Call, request: cluster_pb2.HealthCheckRequest
) -> AsyncIterator[cluster_pb2.HealthCheckProgress]:
    """One check after the other, each until it holds; what it waits for is told as it changes."""
    boot, told = call.boot, request.cluster_info
    require_control_plane(boot, "cluster health check")
    named = [*told.control_plane_nodes, *told.worker_nodes]
    loop = asyncio.get_running_loop()
    deadline = loop.time() + request.wait_timeout.ToTimedelta().total_seconds()
    addresses = named or sorted(one.machine.hardware.address for one in _members(boot, named))
    yield _progress(f"discovered nodes: [{' '.join(addresses)}]")
    for what, check in _CHECKS.items():
        said = None
        while (missing := check(boot, _members(boot, named), named)) is not None:
            if missing != said:
                yield _progress(f"waiting for {what}: {missing}")
                said = missing
            if loop.time() >= deadline:
                raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, f"{what}: {missing}")
            await asyncio.sleep(_POLL)
        yield _progress(f"waiting for {what}: OK")


def _progress(text: str) -> cluster_pb2.HealthCheckProgress:
    return cluster_pb2.HealthCheckProgress(message=text)


def _members(boot: Boot, named: Sequence[str]) -> list[Boot]:
    """The running machines of the cluster, or of those that the caller names."""
    members = boot.machine.world.members(boot.config.cluster_id)
    return [one for one in members if not named or set(named) & {one.hostname, *one.addresses}]


Check = Callable[[Boot, list[Boot], Sequence[str]], str | None]
"""What is missing, or None; from the machine that was asked, those that run, and those that were named."""


def _etcd(boot: Boot, members: list[Boot], named: Sequence[str]) -> str | None:
    sick = sorted(one.hostname for one in _control_planes(members) if not one.services.up("etcd"))
    if sick:
        return f"not healthy on {', '.join(sick)}"
    data = boot.machine.disk.contents.etcd
    cluster = boot.machine.world.etcd.cluster(data.cluster) if data else None
    if cluster is None or not cluster.has_quorum:
        return "no quorum"
    strangers = {member.name for member in cluster.members.values()} - {one.hostname for one in members}
    return f"members without a machine: {', '.join(sorted(strangers))}" if strangers and not named else None


def _apid(boot: Boot, members: list[Boot], named: Sequence[str]) -> str | None:
    silent = sorted(name for name in named if not any(name in (one.hostname, *one.addresses) for one in members))
    return f"no answer from {', '.join(silent)}" if silent else _all_up("apid", members)


def _kubelet(boot: Boot, members: list[Boot], named: Sequence[str]) -> str | None:
    return _all_up("kubelet", members)


def _boot_sequence(boot: Boot, members: list[Boot], named: Sequence[str]) -> str | None:
    late = sorted(f"{one.hostname} is {one.stage}" for one in members if one.stage != "running")
    return ", ".join(late) or None


def _static_pods(boot: Boot, members: list[Boot], named: Sequence[str]) -> str | None:
    missing = sorted(
        one.hostname for one in _control_planes(members) if not one.static_pods or not all(one.static_pods.values())
    )
    return f"not ready on {', '.join(missing)}" if missing else None


def _nodes(boot: Boot, members: list[Boot], named: Sequence[str]) -> str | None:
    missing = sorted(one.hostname for one in members if not one.node_ready)
    return f"not ready: {', '.join(missing)}" if missing else None


def _all_up(service: str, members: list[Boot]) -> str | None:
    down = sorted(one.hostname for one in members if not one.services.up(service))
    return f"not healthy on {', '.join(down)}" if down else None


def _control_planes(members: list[Boot]) -> list[Boot]:
    return [one for one in members if one.config.machine_type.is_control_plane]


_CHECKS: Mapping[str, Check] = {
    "etcd to be healthy": _etcd,
    "apid to answer on all nodes": _apid,
    "kubelet to be healthy on all nodes": _kubelet,
    "all nodes to finish booting": _boot_sequence,
    "static pods of the control planes": _static_pods,
    "all Kubernetes nodes to be ready": _nodes,
}

CALLS: Mapping[str, Implementation] = {"HealthCheck": health_check}
