"""One call carried to several machines: every node's answer with its name on it, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import grpc

from nodeagent.proxy import envelope, methods
from nodeagent.proxy.machines import Machines
from nodeagent.proxy.ports import Call, Passage, Target
from nodeagent.proxy.relay import EOF, Caller, alongside, opened
from nodeagent.proxy.upstream import MESSAGE_LIMIT, SMALL, Fields, NodeCall, Status, Unanswered
from nodeagent.rpc import RpcError

_WAITING = 2
"""Messages of the caller that wait for a node: a request and its end, where there is only one."""


async def one_to_many(call: Call, passage: Passage, machines: Machines, caller: Caller) -> Status:
    """Carry a call to its targets, until all have answered. Nodes that fail are told of among the answers."""
    fan = (_Streams if methods.streams(call.method) else _Replies)(call, passage, machines, caller)
    return await fan.carry()


class _Node:
    """One target of the call, and what it still has to be sent."""

    def __init__(self, target: Target) -> None:
        self.name, self.target = target.name, target
        self.requests: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        self.over = False

    async def send_to(self, node: NodeCall) -> None:
        while (message := await self.requests.get()) is not None:
            await node.send(message, end=False)
        await node.finish_sending()

    def end(self) -> None:
        """It takes no more requests; whoever waits to give it one goes on."""
        self.over = True
        while not self.requests.empty():
            self.requests.get_nowait()


class _Fan:
    """What both kinds of answers have in common."""

    def __init__(self, call: Call, passage: Passage, machines: Machines, caller: Caller) -> None:
        self._call, self._passage, self._machines, self._caller = call, passage, machines, caller
        self._nodes = [_Node(target) for target in passage.targets]
        self._leading: list[tuple[str, str | bytes]] = []
        self._trailing: list[tuple[str, str | bytes]] = []

    async def carry(self) -> Status:
        async with alongside(self._requests()), asyncio.TaskGroup() as following:
            for node in self._nodes:
                following.create_task(self._follow(node))
        return await self._status()

    async def _requests(self) -> None:
        """Every message of the caller to every node, as fast as the slowest takes them."""
        message: bytes | None = b""
        while message is not None:
            read = await self._caller.read()
            message = None if read is EOF else read
            for node in self._nodes:
                if not node.over:
                    await node.requests.put(message)

    async def _follow(self, node: _Node) -> None:
        try:
            opening = opened(self._call, self._passage, node.target, self._machines, self._caller)
            async with opening as call, alongside(node.send_to(call)):
                self._leading += await call.leading()
                status = await self._answers(node, call)
        except Unanswered as unanswered:
            status = unanswered.status
        finally:
            node.end()
        self._trailing += (field for field in status.trailing if not field[0].startswith("grpc-"))
        if status.code is not grpc.StatusCode.OK:
            await self._failed(node, status)

    async def _answers(self, node: _Node, call: NodeCall) -> Status:
        """Take a node's answers to their end."""
        raise NotImplementedError

    async def _failed(self, node: _Node, status: Status) -> None:
        """Tell of a node that failed."""
        raise NotImplementedError

    async def _status(self) -> Status:
        """Say what is left to be said. Every node is over."""
        return Status(trailing=_merged(self._trailing))


class _Streams(_Fan):
    """Frames of all nodes, as they come."""

    def __init__(self, call: Call, passage: Passage, machines: Machines, caller: Caller) -> None:
        super().__init__(call, passage, machines, caller)
        self._writing = asyncio.Lock()
        self._began = False

    async def _answers(self, node: _Node, call: NodeCall) -> Status:
        try:
            while (frame := await call.receive()) is not None:
                await self._write(envelope.marked_frame(node.name, frame))
        except RpcError:
            pass  # told by `ending`
        return call.ending(node.name)

    async def _failed(self, node: _Node, status: Status) -> None:
        await self._write(envelope.failed_frame(node.name, status))

    async def _write(self, frame: bytes) -> None:
        async with self._writing:
            if not self._began:
                self._began = True
                await self._caller.send_initial_metadata(_merged(self._leading))
            await self._caller.write(frame)


class _Replies(_Fan):
    """One answer of all nodes, in the order in which they gave theirs."""

    def __init__(self, call: Call, passage: Passage, machines: Machines, caller: Caller) -> None:
        super().__init__(call, passage, machines, caller)
        self._replies: list[bytes] = []
        self._size, self._too_large = 0, False

    async def carry(self) -> Status:
        try:
            return await super().carry()
        finally:
            self._machines.held.add(-self._size)

    def _keep(self, reply: bytes) -> None:
        """Take a node's answer; none any more once they are too many."""
        self._size += len(reply)
        self._machines.held.add(len(reply))
        self._too_large |= self._size > MESSAGE_LIMIT or (self._size > SMALL and self._machines.held.full)
        if self._too_large:
            self._replies.clear()
        else:
            self._replies.append(reply)

    async def _answers(self, node: _Node, call: NodeCall) -> Status:
        try:
            reply = await call.receive()
            await call.receive()  # the status
        except RpcError:
            pass  # told by `ending`
        status = call.ending(node.name)
        if status.code is not grpc.StatusCode.OK:
            return status
        try:
            self._keep(envelope.marked_reply(node.name, reply or b""))
        except envelope.NotOneMessage as error:
            details = f"the answer of node {node.name} cannot be joined with others: {error}. Call the node by itself"
            return Status(grpc.StatusCode.INTERNAL, details)
        return status

    async def _failed(self, node: _Node, status: Status) -> None:
        self._keep(envelope.failed_reply(node.name, status))

    async def _status(self) -> Status:
        if self._too_large:
            details = f"the answers of {len(self._nodes)} nodes have {self._size:,} bytes together; call fewer at once"
            return Status(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
        await self._caller.send_initial_metadata(_merged(self._leading))
        await self._caller.write(b"".join(self._replies))
        return await super()._status()


def _merged(fields: Iterable[tuple[str, str | bytes]]) -> Fields:
    """What several nodes said, each thing once."""
    return tuple(dict.fromkeys(fields))
