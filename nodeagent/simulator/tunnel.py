"""WireGuard over gRPC, as Talos relays it: one stream, reopened when there is something to send."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import grpc

from nodeagent.ending import end
from nodeagent.wireguard.engine import Engine
from talos import semver
from talos.gen.sidero import link_pb2, link_pb2_grpc
from talos.kernelargs import MachineAPI

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

log = logging.getLogger(__name__)

ADDRESS_KEY = "x-siderolink-ipv6-addr"
QUEUE = 100
"""Packets waiting to be sent; the oldest are dropped."""
CREATE_RETRY = 10.0
RESTART_PAUSE = 5.0

#: The server's ways to say "stay away".
_FINAL = {
    (grpc.StatusCode.ABORTED, "peer replaced"),
    (grpc.StatusCode.PERMISSION_DENIED, "peer not allowed"),
}


class Relay:
    """Carries the packets of one engine's only peer, known as `tag` (its virtual address and port)."""

    def __init__(self, boot: Boot, engine: Engine, api: MachineAPI, tag: str) -> None:
        self._boot, self._engine, self.api, self.tag = boot, engine, api, tag
        self._packets: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
        self._comes_back = semver.parse(boot.version).core >= (1, 14, 1)
        engine.attach(tag, self._emit)
        self._task = boot.spawn(self._run(), "tunnel")

    async def close(self) -> None:
        await end([self._task])
        self._engine.detach(self.tag, self._emit)

    def _emit(self, packet: bytes) -> None:
        if self._packets.full():
            self._packets.get_nowait()
        self._packets.put_nowait(packet)

    async def _run(self) -> None:
        async with self._boot.machine.channel(self.api) as channel:
            stub = link_pb2_grpc.WireGuardOverGRPCServiceStub(channel)
            while True:
                if not await _connected(channel):
                    await asyncio.sleep(CREATE_RETRY)
                    continue
                try:
                    await self._stream(stub)
                except grpc.aio.AioRpcError as error:
                    log.debug("%s: tunnel: %s %s", self._boot.uuid, error.code().name, error.details())
                    if (error.code(), error.details()) in _FINAL:
                        if not self._comes_back:  # the timer that should restart it never fires
                            return
                        await asyncio.sleep(RESTART_PAUSE)
                        continue
                # The end of a stream shows when the next packet does not get through; that one is lost.
                await self._packets.get()

    async def _stream(self, stub: Any) -> None:
        """One stream until it ends."""
        stream = stub.CreateStream(metadata=[(ADDRESS_KEY, self.tag)])

        async def send() -> None:
            while True:
                await stream.write(link_pb2.PeerPacket(Data=await self._packets.get()))

        sender = asyncio.create_task(send())
        try:
            while True:
                packet = await stream.read()
                if packet is grpc.aio.EOF:  # type: ignore[attr-defined]
                    return
                self._engine.feed(self.tag, packet.Data)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            stream.cancel()


async def _connected(channel: grpc.aio.Channel) -> bool:
    """Connect if need be; whether that went well."""
    while True:
        state = channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            return True
        if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
            return False
        await channel.wait_for_state_change(state)
