"""One call carried to one machine: bytes both ways, each no faster than its receiver takes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable
from typing import Any, Protocol

import grpc

from nodeagent.proxy.machines import Machines
from nodeagent.proxy.ports import Call, Passage, Target
from nodeagent.proxy.upstream import Fields, NodeCall, Status, Unanswered, forwarded, raw
from nodeagent.rpc import RpcError

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
        async with opened(call, passage, target, machines, caller) as node, alongside(_requests(caller, node)):
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


async def _requests(caller: Caller, node: NodeCall) -> None:
    while (message := await caller.read()) is not EOF:
        await node.send(message, end=False)
    await node.finish_sending()
