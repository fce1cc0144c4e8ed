"""The talosctl proxy: calls to machines, taken as bytes on a gRPC server and carried to the machines they are for."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from functools import partial
from typing import Any

import grpc

from nodeagent.caller import Caller, caller_of
from nodeagent.dial import Dial
from nodeagent.proxy import methods
from nodeagent.proxy.fanout import one_to_many
from nodeagent.proxy.machines import Machines
from nodeagent.proxy.ports import Call, Gate, Passage, Refused
from nodeagent.proxy.relay import one_to_one
from nodeagent.proxy.upstream import Fields, Status, Unanswered
from nodeagent.ticket import Ticket

AT_ONCE = 4096
"""Calls under way from one address, which may be that of a whole office. Each open stream of a dashboard is one."""

log = logging.getLogger(__name__)


class TalosProxy(grpc.GenericRpcHandler):
    """Takes every call to machines on a gRPC server, asks the gate, and carries it.

    `dial` opens connections to (a target's address, port).
    """

    def __init__(self, gate: Gate, dial: Dial) -> None:
        self._gate, self._machines = gate, Machines(dial)
        self._under_way: Counter[str] = Counter()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer on this server, which has to take messages of up to `MESSAGE_LIMIT` bytes."""
        server.add_generic_rpc_handlers((self,))

    async def close(self) -> None:
        """Close the connections to machines; calls on them end."""
        await self._machines.close()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """How a call is handled; None for those that are not for machines."""
        metadata = tuple((key, value) for key, value in details.invocation_metadata or ())
        if not methods.for_machines(details.method, metadata):
            return None
        return grpc.stream_stream_rpc_method_handler(partial(self._handle, details.method, metadata))

    async def _handle(self, method: str, metadata: Fields, _: object, context: Any) -> None:
        peer = context.peer()
        caller = caller_of(peer) or Caller("http", peer, 0)
        status = await self._bounded(Call(method, metadata, caller), context)
        if status.code is not grpc.StatusCode.OK:
            await context.abort(status.code, status.details, status.trailing)
        context.set_trailing_metadata(status.trailing)

    async def _bounded(self, call: Call, context: Any) -> Status:
        address = call.caller.address
        if self._under_way[address] >= AT_ONCE:
            details = f"{AT_ONCE:,} calls from {address} are under way; end some of them first"
            return Status(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
        self._under_way[address] += 1
        try:
            return await self._carry(call, context)
        except Exception:  # its text is for our log alone
            log.exception("a call of %s from %s failed", call.method, address)
            return Status(grpc.StatusCode.INTERNAL, "the call could not be carried; the server's log says why")
        finally:
            self._under_way[address] -= 1
            if not self._under_way[address]:
                del self._under_way[address]

    async def _carry(self, call: Call, context: Any) -> Status:
        try:
            passage = await self._gate.admit(call)
        except Refused as refused:
            return Status(refused.code, str(refused))
        outcome = grpc.StatusCode.CANCELLED  # unless something better is known: the caller left
        try:
            relay = _relay(call, passage)
            status = await _while_admitted(passage.ticket, relay(call, passage, self._machines, context))
            outcome = status.code
        except Unanswered as unanswered:
            status, outcome = unanswered.status, unanswered.code
        finally:
            passage.ticket.over(outcome.name)
        return status


def _relay(call: Call, passage: Passage) -> Any:
    """How it is carried. Raises Unanswered for several targets of a method that has no place for their names."""
    if not passage.fan_out:
        return one_to_one
    if methods.fans_out(call.method):
        return one_to_many
    if len(passage.targets) == 1:
        return one_to_one
    raise Unanswered(grpc.StatusCode.INVALID_ARGUMENT, f"one-2-many proxying is not supported for method {call.method}")


async def _while_admitted(ticket: Ticket, carrying: Coroutine[Any, Any, Status]) -> Status:
    """Its status, or that of a caller who may not go on when the ticket is withdrawn."""
    task = asyncio.ensure_future(carrying)
    either: set[asyncio.Future[Any]] = {task, ticket.withdrawn}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return Status(grpc.StatusCode.PERMISSION_DENIED, ticket.withdrawn.result())
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
