"""WireGuard over gRPC: packets of machines whose UDP is blocked.

A machine opens one stream and names itself by the virtual address that `Provision` gave it; each message is one
WireGuard packet. The address only says which peer the packets are for: WireGuard itself authenticates them.

Which status ends a stream matters (Talos): `ABORTED peer replaced` and `PERMISSION_DENIED peer not allowed` make Talos
up to 1.14.0 give up its tunnel until the next reboot or another virtual address, anything else makes it open a new
stream with its next packet. So those two go only to streams that are dead or unwanted, and a name that is merely
unknown gets `UNAVAILABLE`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, NoReturn

import grpc

from nodeagent.wireguard.engine import Engine
from talos.gen.sidero import link_pb2, link_pb2_grpc

ADDRESS_KEY = "x-siderolink-ipv6-addr"
"""Metadata in which a machine sends its virtual address and port, `[address]:port`."""

QUEUE = 100
"""Packets kept for a slow machine; the oldest are dropped first."""

PACKET_LIMIT = 2048
"""Bytes of the largest WireGuard packet taken; those of a link with MTU 1280 have at most 1312."""

MESSAGE_LIMIT = 64 * 1024
"""Bytes of a message that ends its stream: no machine sends such a one."""

SILENCE = 90.0
"""Seconds without a packet after which a stream counts as dead: a living machine sends one every 25."""

REMEMBERED = 10_000
"""Virtual addresses of removed peers that are remembered, to tell their machines to stay away."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Stream:
    """One open stream. `ended` is set to the status that ends it."""

    tag: str
    ended: asyncio.Future[Any]
    heard_at: float
    packets: deque[bytes] = field(default_factory=lambda: deque(maxlen=QUEUE))
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    def emit(self, packet: bytes) -> None:
        self.packets.append(packet)
        self.waiting.set()

    def end(self, code: grpc.StatusCode, text: str) -> None:
        if not self.ended.done():
            self.ended.set_result((code, text))


class Tunnels(link_pb2_grpc.WireGuardOverGRPCServiceServicer):
    """The streams of all machines, and which of them are let in."""

    def __init__(self, engine: Engine, look_up: Callable[[str], Awaitable[None]]) -> None:
        """`look_up` allows a name that is unknown here if it is known elsewhere, before it is refused."""
        self._engine, self._look_up = engine, look_up
        self._tags: dict[IPv6Address, str] = {}
        self._streams: dict[str, _Stream] = {}
        self._removed: dict[IPv6Address, None] = {}

    def allow(self, tag: str) -> None:
        """Let the machine with this virtual address (`[address]:port`) open its stream."""
        address = parse_tag(tag)
        self._removed.pop(address, None)
        self._tags[address] = tag

    def disallow(self, tag: str, *, for_good: bool) -> None:
        """Let nobody in under this virtual address any more and end its stream; `for_good` tells Talos to stay away."""
        address = parse_tag(tag)
        self._tags.pop(address, None)
        stream = self._streams.get(tag)
        if for_good:
            self._removed[address] = None
            if len(self._removed) > REMEMBERED:
                del self._removed[next(iter(self._removed))]
            if stream:
                stream.end(grpc.StatusCode.PERMISSION_DENIED, "peer not allowed")
        elif stream:
            stream.end(grpc.StatusCode.UNAVAILABLE, "the link has another virtual address now")

    def alive(self, tag: str) -> bool:
        """Whether a stream is open under this virtual address and the machine was heard on it lately."""
        stream = self._streams.get(tag)
        return stream is not None and time.monotonic() - stream.heard_at < SILENCE

    def hang_up(self, tag: str) -> None:
        """End the stream under this virtual address; the machine, if it is there still, opens another."""
        stream = self._streams.pop(tag, None)
        if stream:
            self._engine.detach(tag, stream.emit)
            stream.end(grpc.StatusCode.UNAVAILABLE, "another server carries this link now")

    def close(self) -> None:
        """End all streams; their machines open new ones."""
        for stream in self._streams.values():
            stream.end(grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    async def CreateStream(self, request_iterator: AsyncIterator[link_pb2.PeerPacket], context: Any) -> None:
        """Carry packets both ways until the machine leaves or another stream of it comes."""
        tag = await self._admit(context)
        loop = asyncio.get_running_loop()
        stream = _Stream(tag, loop.create_future(), time.monotonic())
        if older := self._streams.get(tag):
            older.end(grpc.StatusCode.ABORTED, "peer replaced")
        self._streams[tag] = stream
        emit = stream.emit
        self._engine.attach(tag, emit)
        tasks: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._receive(stream, request_iterator)),
            asyncio.ensure_future(self._send(stream, context)),
        ]
        try:
            await asyncio.wait({*tasks, stream.ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._engine.detach(tag, emit)
            if self._streams.get(tag) is stream:
                del self._streams[tag]
        if stream.ended.done():
            await context.abort(*stream.ended.result())

    async def _admit(self, context: Any) -> str:
        """The tag of the machine that calls, or an end of the call."""
        values = [value for key, value in context.invocation_metadata() if key == ADDRESS_KEY]
        if len(values) != 1 or not isinstance(values[0], str):
            await self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"metadata {ADDRESS_KEY} must be sent once")
        try:
            address = parse_tag(values[0])
        except ValueError as error:
            await self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"metadata {ADDRESS_KEY}: {error}")
        if address not in self._tags and address not in self._removed:
            await self._look_up(values[0])
        if address in self._tags:
            return self._tags[address]
        if address in self._removed:
            await self._refuse(context, grpc.StatusCode.PERMISSION_DENIED, "peer not allowed")
        await self._refuse(context, grpc.StatusCode.UNAVAILABLE, "no link has this virtual address")

    async def _refuse(self, context: Any, code: grpc.StatusCode, text: str) -> NoReturn:
        await context.abort(code, text)
        raise AssertionError("abort does not return")

    async def _receive(self, stream: _Stream, packets: AsyncIterator[link_pb2.PeerPacket]) -> None:
        clock = time.monotonic
        async for packet in packets:
            stream.heard_at = clock()
            if len(packet.Data) > MESSAGE_LIMIT:
                stream.end(grpc.StatusCode.RESOURCE_EXHAUSTED, f"a packet of {len(packet.Data):,} bytes")
                return
            if len(packet.Data) <= PACKET_LIMIT:
                self._engine.feed(stream.tag, packet.Data)

    async def _send(self, stream: _Stream, context: Any) -> None:
        while True:
            await stream.waiting.wait()
            stream.waiting.clear()
            while stream.packets:
                await context.write(link_pb2.PeerPacket(Data=stream.packets.popleft()))


def parse_tag(text: str) -> IPv6Address:
    """The address of `[address]:port`. Raises ValueError."""
    bracketed, _, port = text.rpartition(":")
    if not (bracketed.startswith("[") and bracketed.endswith("]") and port.isdecimal()):
        raise ValueError(f"{text!r:.80} is not [address]:port")
    return IPv6Address(bracketed[1:-1])
