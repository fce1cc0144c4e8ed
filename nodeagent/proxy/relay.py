"""One call carried to one machine: bytes both ways, each no faster than its receiver takes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Iterable
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from nodeagent.proxy.machines import Machines
from nodeagent.proxy.ports import Call, Passage, Target
from nodeagent.proxy.upstream import Fields, NodeCall, Status, Unanswered, forwarded, raw
from nodeagent.rpc import RpcError
from talos.gen.cosi import state_pb2

_READS: dict[str, Any] = {
    "/cosi.resource.State/Get": state_pb2.GetRequest,
    "/cosi.resource.State/List": state_pb2.ListRequest,
    "/cosi.resource.State/Watch": state_pb2.WatchRequest,
}

EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it


class Caller(Protocol):
    """The end of a call that somebody else began: grpcio's `ServicerContext`, as far as a relay needs it."""

    async def read(self) -> bytes:
        """The next message, `EOF` after the last."""

    async def write(self, message: bytes) -> None:
        """Give a message back; returns when the caller has room for more."""

    async def send_initial_metadata(self, metadata: Fields) -> None:
        """Once, before the first message."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline."""


async def one_to_one(call: Call, passage: Passage, machines: Machines, caller: Caller) -> Status:
    """Carry a call to its only target, until it has a status."""
    (target,) = passage.targets
    try:
        first = await _first_of_read(call, passage, caller)
        async with opened(call, passage, target, machines, caller) as node, alongside(_requests(first, caller, node)):
            if leading := await node.leading():
                await caller.send_initial_metadata(leading)
            try:
                while (message := await node.receive()) is not None:
                    await caller.write(message)
            except RpcError:
                pass  # told by `ending`
            return node.ending(target.name)
    except Unanswered as unanswered:
        return unanswered.status


@contextlib.asynccontextmanager
async def opened(
    call: Call, passage: Passage, target: Target, machines: Machines, caller: Caller
) -> AsyncGenerator[NodeCall]:
    """The call begun at one of its targets. Raises Unanswered."""
    metadata = forwarded(call.metadata, passage.talos_role)
    async with machines.call(target, raw(call.method), metadata, caller.time_remaining) as node:
        yield node


@contextlib.asynccontextmanager
async def alongside(work: Awaitable[None]) -> AsyncGenerator[None]:
    """Something that goes on while the block does, and ends with it."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _first_of_read(call: Call, passage: Passage, caller: Caller) -> list[bytes]:
    """The request of a read of resources, looked at when some are closed to the caller; else nothing is read yet.

    Raises Unanswered for one of those.
    """
    request_type = _READS.get(call.method) if passage.closed else None
    message = await caller.read() if request_type else EOF
    if request_type is None or message is EOF:
        return []
    try:
        wanted = request_type.FromString(message).type
    except DecodeError:
        raise Unanswered(grpc.StatusCode.INVALID_ARGUMENT, "the request is no read of resources") from None
    if wanted in passage.closed:
        text = f"{wanted} may hold secrets: reading them needs more than the role of a reader"
        raise Unanswered(grpc.StatusCode.PERMISSION_DENIED, text)
    return [message]


async def _requests(first: Iterable[bytes], caller: Caller, node: NodeCall) -> None:
    for message in first:
        await node.send(message, end=False)
    while (message := await caller.read()) is not EOF:
        await node.send(message, end=False)
    await node.finish_sending()
