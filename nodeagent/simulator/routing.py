"""apid's routing: a call is for this machine, for one other (`node`) or for several (`nodes`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import Message

from nodeagent.simulator.boot import Boot
from nodeagent.simulator.calls import Call, Implementation, Refusal
from talos.gen import common_pb2

_FAN_OUT = tuple(
    f"/{service}/"
    for service in (
        "machine.MachineService",
        "cluster.ClusterService",
        "inspect.InspectService",
        "storage.StorageService",
        "time.TimeService",
    )
)


async def unary(call: Call, path: str, request: Any, implementation: Implementation, output: type[Message]) -> Message:
    """Answer, of the type `output`. Raises Refusal; a fan-out never does because of one node."""
    targets = _fan_out(call, path)
    if targets is None:
        result: Message = await implementation(call.on(_single(call)), request)
        return result

    async def one(target: str) -> Message:
        try:
            response: Any = await implementation(call.on(_resolve(call, target)), request)
        except Refusal as refusal:
            return common_pb2.EmptyResponse(messages=[common_pb2.Empty(metadata=_failure(target, refusal))])
        for message in response.messages:
            message.metadata.hostname = target
        return response

    joined = output()
    for answer in asyncio.as_completed([one(target) for target in targets]):
        joined.MergeFromString((await answer).SerializeToString())
    return joined


async def stream(
    call: Call, path: str, request: Any, implementation: Implementation, output: type[Message]
) -> AsyncIterator[Message]:
    """The frames of all targets as they come."""
    targets = _fan_out(call, path)
    if targets is None:
        async for frame in implementation(call.on(_single(call)), request):
            yield frame
        return

    frames: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=16)

    async def follow(target: str) -> None:
        try:
            async for frame in implementation(call.on(_resolve(call, target)), request):
                frame.metadata.hostname = target
                await frames.put(frame)
        except Refusal as refusal:
            only_metadata = common_pb2.Empty(metadata=_failure(target, refusal))
            await frames.put(output.FromString(only_metadata.SerializeToString()))
        await frames.put(None)

    followers = [asyncio.create_task(follow(target)) for target in targets]
    try:
        open_streams = len(followers)
        while open_streams:
            frame = await frames.get()
            if frame is None:
                open_streams -= 1
            else:
                yield frame
    finally:
        for follower in followers:
            follower.cancel()


def _routed(call: Call) -> bool:
    return not call.caller.maintenance and not call.caller.trustd and "proxyfrom" not in call.metadata


def _fan_out(call: Call, path: str) -> list[str] | None:
    """The targets of a call to several nodes; None for a call to one."""
    if not _routed(call) or "nodes" not in call.metadata:
        return None
    if not path.startswith(_FAN_OUT):
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"one-2-many proxying is not supported for method {path}")
    return call.metadata["nodes"]


def _single(call: Call) -> Boot:
    nodes = call.metadata.get("node")
    if not nodes or not _routed(call):
        return call.boot
    if len(nodes) > 1:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "node metadata must be single-valued")
    return _resolve(call, nodes[0])


def _resolve(call: Call, target: str) -> Boot:
    """The machine with that address or host name, seen from this one."""
    own = call.boot
    if target in own.addresses or target == own.hostname:
        return own
    if not own.config.machine_type.is_control_plane:
        raise Refusal(grpc.StatusCode.PERMISSION_DENIED, "no request forwarding")
    other = own.machine.world.find(target)
    if other is None or other.config.accepted_cas[:1] != own.config.accepted_cas[:1]:
        raise Refusal(
            grpc.StatusCode.UNAVAILABLE, f'connection error: desc = "transport: dial {target}:50000: no route to host"'
        )
    return other


def _failure(target: str, refusal: Refusal) -> common_pb2.Metadata:
    code, _ = refusal.code.value
    return common_pb2.Metadata(
        hostname=target,
        error=f"rpc error: code = {_go_name(refusal.code)} desc = {refusal.details}",
        status=common_pb2.Status(code=code, message=refusal.details),
    )


def _go_name(code: grpc.StatusCode) -> str:
    """How grpc-go prints a code: `PermissionDenied`."""
    if code is grpc.StatusCode.CANCELLED:
        return "Canceled"
    return "".join(word.capitalize() for word in code.name.split("_"))
