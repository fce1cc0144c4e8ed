"""etcd as a control plane shows it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping

import grpc
from google.protobuf.empty_pb2 import Empty

from nodeagent.simulator import bolt, node
from nodeagent.simulator.calls import Call, Implementation, Refusal, unknown
from nodeagent.simulator.etcd import (
    DATABASE,
    STORAGE_VERSION,
    VERSION,
    EtcdCluster,
    EtcdError,
    Member,
    MemberNotFound,
    database,
)
from nodeagent.simulator.rpc.files import CHUNK
from nodeagent.simulator.rpc.life import require_control_plane
from nodeagent.simulator.services import State
from talos.gen import common_pb2
from talos.gen.machine import etcd_pb2


def _member(call: Call, what: str) -> tuple[EtcdCluster, Member]:
    """This machine's cluster and member; Refusal when it has none."""
    boot = call.boot
    require_control_plane(boot, what)
    data = boot.machine.disk.contents.etcd
    cluster = boot.machine.world.etcd.cluster(data.cluster) if data else None
    if boot.member is None or cluster is None or boot.member.id not in cluster.members:
        raise unknown("failed to create etcd client: etcd is not running")
    return cluster, boot.member


async def _asked_member(call: Call, what: str) -> tuple[EtcdCluster, Member]:
    """As `_member`, for questions: before the bootstrap Talos waits for its etcd, until the caller's deadline."""
    require_control_plane(call.boot, what)
    service = call.boot.services.get("etcd")
    if service is not None and service.state is State.PREPARING:
        await asyncio.Event().wait()
    return _member(call, what)


async def member_list(call: Call, request: etcd_pb2.EtcdMemberListRequest) -> etcd_pb2.EtcdMemberListResponse:
    cluster, _ = await _asked_member(call, "member list")
    if not request.query_local and not cluster.has_quorum:
        raise unknown("failed to list etcd members: context deadline exceeded")
    members = [
        etcd_pb2.EtcdMember(
            id=member.id,
            hostname=member.name,
            peer_urls=[f"https://{member.url_host}:2380"],
            client_urls=[f"https://{member.url_host}:2379"],
        )
        for _, member in sorted(cluster.members.items())
    ]
    names = [member.hostname for member in members]
    return etcd_pb2.EtcdMemberListResponse(messages=[etcd_pb2.EtcdMembers(legacy_members=names, members=members)])


async def status(call: Call, request: Empty) -> etcd_pb2.EtcdStatusResponse:
    cluster, member = await _asked_member(call, "etcd status")
    status = etcd_pb2.EtcdMemberStatus(
        protocol_version=VERSION,
        db_size=DATABASE,
        db_size_in_use=bolt.IN_USE,
        leader=cluster.leader,
        raft_index=cluster.index,
        raft_term=cluster.term,
        raft_applied_index=cluster.index,
        errors=[] if cluster.has_quorum else ["etcdserver: no leader"],
        member_id=member.id,
        storage_version=STORAGE_VERSION if call.boot.minor >= (1, 11) else "",
    )
    return etcd_pb2.EtcdStatusResponse(messages=[etcd_pb2.EtcdStatus(member_status=status)])


async def leave(call: Call, request: etcd_pb2.EtcdLeaveClusterRequest) -> etcd_pb2.EtcdLeaveClusterResponse:
    _member(call, "leave etcd cluster")
    try:
        await node.leave_etcd(call.boot)
    except EtcdError as error:
        raise unknown(f"failed to leave cluster: {error}") from None
    return etcd_pb2.EtcdLeaveClusterResponse(messages=[etcd_pb2.EtcdLeaveCluster()])


async def remove(call: Call, request: etcd_pb2.EtcdRemoveMemberByIDRequest) -> etcd_pb2.EtcdRemoveMemberByIDResponse:
    cluster, _ = _member(call, "remove etcd member")
    try:
        await call.boot.machine.world.etcd.remove(cluster.fingerprint, request.member_id)
    except MemberNotFound as error:
        raise Refusal(grpc.StatusCode.NOT_FOUND, str(error)) from None
    except EtcdError as error:
        raise unknown(f"failed to remove member: {error}") from None
    return etcd_pb2.EtcdRemoveMemberByIDResponse(messages=[etcd_pb2.EtcdRemoveMemberByID()])


async def forfeit(call: Call, request: etcd_pb2.EtcdForfeitLeadershipRequest) -> etcd_pb2.EtcdForfeitLeadershipResponse:
    cluster, member = _member(call, "forfeit leadership")
    try:
        leader = call.boot.machine.world.etcd.forfeit(cluster.fingerprint, member.id)
    except EtcdError as error:
        raise unknown(str(error)) from None
    return etcd_pb2.EtcdForfeitLeadershipResponse(messages=[etcd_pb2.EtcdForfeitLeadership(member=leader)])


async def alarm_list(call: Call, request: Empty) -> etcd_pb2.EtcdAlarmListResponse:
    _member(call, "etcd alarm list")
    return etcd_pb2.EtcdAlarmListResponse(messages=[etcd_pb2.EtcdAlarm()])


async def alarm_disarm(call: Call, request: Empty) -> etcd_pb2.EtcdAlarmDisarmResponse:
    _member(call, "etcd alarm disarm")
    return etcd_pb2.EtcdAlarmDisarmResponse(messages=[etcd_pb2.EtcdAlarmDisarm()])


async def defragment(call: Call, request: Empty) -> etcd_pb2.EtcdDefragmentResponse:
    _member(call, "etcd defragment")
    return etcd_pb2.EtcdDefragmentResponse(messages=[etcd_pb2.EtcdDefragment()])


async def snapshot(call: Call, request: etcd_pb2.EtcdSnapshotRequest) -> AsyncIterator[common_pb2.Data]:
    """The database, and its digest, as etcd appends it."""
    cluster, _ = _member(call, "etcd snapshot")
    content = database(cluster)
    data = content + hashlib.sha256(content).digest()
    for start in range(0, len(data), CHUNK):
        yield common_pb2.Data(bytes=data[start : start + CHUNK])


async def recover(call: Call, request: AsyncIterator[common_pb2.Data]) -> etcd_pb2.EtcdRecoverResponse:
    require_control_plane(call.boot, "etcd recover")
    hashed, size = hashlib.sha256(), 0
    async for frame in request:
        hashed.update(frame.bytes)
        size += len(frame.bytes)
    call.boot.kernel_log.talos(f"received an etcd snapshot of {size} bytes, SHA-256 {hashed.hexdigest()}")
    return etcd_pb2.EtcdRecoverResponse(messages=[etcd_pb2.EtcdRecover()])


CALLS: Mapping[str, Implementation] = {
    "EtcdMemberList": member_list,
    "EtcdStatus": status,
    "EtcdLeaveCluster": leave,
    "EtcdRemoveMemberByID": remove,
    "EtcdForfeitLeadership": forfeit,
    "EtcdAlarmList": alarm_list,
    "EtcdAlarmDisarm": alarm_disarm,
    "EtcdDefragment": defragment,
    "EtcdSnapshot": snapshot,
    "EtcdRecover": recover,
}
