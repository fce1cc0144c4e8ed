"""The agent's half of the tunnel: one connection to the server, from hello to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections import deque

from nodeagent.dial import Stream
from nodeagent.rpc import Call, Channel, Methods, RpcError
from nodeagent.tunnel.lookout import Lookout
from nodeagent.tunnel.protocol import CONNECTION_KEY, CONNECTION_LIMIT, PIECE, PORTS, REASON_LIMIT, Scope
from nodeagent.tunnel.reach import Way, words
from talos.gen.omni import agent_pb2_grpc
from talos.gen.omni.agent_pb2 import Found, FromAgent, Goodbye, Heartbeat, Hello, Lost, Open, Piece, Refused, ToAgent

WELCOME_TIMEOUT = 30.0
"""Seconds the server may take to let an agent in: many may come at once."""

DIAL_TIMEOUT = 10.0
"""Seconds for connecting to a machine; the server waits a little longer."""

FAREWELL = 5.0
"""Seconds the server is given to hear that the agent stops."""

_SERVICE = agent_pb2_grpc.AgentServiceStub(Methods())

log = logging.getLogger(__name__)


class ServerSilent(ConnectionError):
    """Nothing was heard of the server for three heartbeats."""


class Session:
    """One connection to the server."""

    def __init__(self, way: Way, hello: Hello, scope: Scope, lookout: Lookout) -> None:
        self._hello, self._scope, self._lookout = hello, scope, lookout
        scheme = "https" if way.address.secure else "http"
        self._channel = Channel(way.open, "the server", way.address.authority, scheme)
        self._server = way.address
        self._carrying: dict[bytes, asyncio.Task[None]] = {}
        self._messages: deque[FromAgent] = deque()
        self._news = asyncio.Event()
        self.welcomed = False
        """The server let it in."""

    async def run(self, stop: asyncio.Event) -> None:
        """Carry connections until `stop` or until the connection ends. Raises RpcError (what the server says, or
        UNAVAILABLE with its cause) or ServerSilent."""
        try:
            async with self._channel.duplex(_SERVICE.Control) as control:
                await self._control(control, stop)
        finally:
            self._lookout.tell = None
            carrying = list(self._carrying.values())
            for task in carrying:
                task.cancel()
            await asyncio.gather(*carrying, return_exceptions=True)
            await self._channel.close()

    async def _control(self, control: Call, stop: asyncio.Event) -> None:
        await control.send(FromAgent(hello=self._hello), end=False)
        try:
            async with asyncio.timeout(WELCOME_TIMEOUT):
                first = await control.receive()
        except TimeoutError:
            raise ServerSilent(f"no welcome within {WELCOME_TIMEOUT:.0f} s") from None
        if first is None or first.WhichOneof("message") != "welcome":
            raise ServerSilent("it answered with something else than a welcome")
        welcome = first.welcome
        self.welcomed = True
        log.info("connected to %s as agent %s (%s)", self._server, self._hello.name, welcome.agent_id)
        for address, reason in self._lookout.state.items():
            self._tell(address, reason)
        self._lookout.tell = self._tell
        heartbeat = max(welcome.heartbeat_seconds, 0.1)
        listening = asyncio.ensure_future(self._listen(control, 3 * heartbeat))
        speaking = asyncio.ensure_future(self._speak(control, heartbeat))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({listening, speaking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                speaking.cancel()
                await control.send(FromAgent(goodbye=Goodbye()), end=True)
                await asyncio.wait({listening}, timeout=FAREWELL)
            else:
                await listening
        finally:
            for task in (listening, speaking, stopping):
                task.cancel()
            await asyncio.gather(listening, speaking, stopping, return_exceptions=True)

    async def _listen(self, control: Call, patience: float) -> None:
        while True:
            try:
                async with asyncio.timeout(patience):
                    message: ToAgent | None = await control.receive()
            except TimeoutError:
                raise ServerSilent(f"nothing was heard of it for {patience:g} s") from None
            if message is None:
                return
            match message.WhichOneof("message"):
                case "open":
                    self._open(message.open)
                case "abort":
                    if (task := self._carrying.get(message.abort.connection)) is not None:
                        task.cancel()

    async def _speak(self, control: Call, heartbeat: float) -> None:
        while not control.over:
            if not self._messages:
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(heartbeat):
                        await self._news.wait()
            message = self._messages.popleft() if self._messages else FromAgent(heartbeat=Heartbeat())
            await control.send(message, end=False)

    def _say(self, message: FromAgent) -> None:
        self._messages.append(message)
        self._news.set()

    def _tell(self, address: str, reason: str | None) -> None:
        if reason is None:
            self._say(FromAgent(found=Found(address=address)))
        else:
            self._say(FromAgent(lost=Lost(address=address, reason=reason[:REASON_LIMIT])))

    # -- connections ---------------------------------------------------------------------------------------------------

    def _open(self, order: Open) -> None:
        """Connect, or say why not. The server gets to what the operator listed and to nothing else."""
        if order.address not in self._scope or order.port not in PORTS:
            reason = f"{order.address[:80]}:{order.port} is not among the nodes, networks and ports that it may reach"
            self._refuse(order, reason)
        elif order.connection in self._carrying:
            self._refuse(order, "it was asked for this connection before")
        elif len(self._carrying) >= CONNECTION_LIMIT:
            self._refuse(order, f"it carries {CONNECTION_LIMIT:,} connections already")
        else:
            task = self._carrying[order.connection] = asyncio.ensure_future(self._carry(order))
            task.add_done_callback(lambda _: self._carrying.pop(order.connection, None))

    def _refuse(self, order: Open, reason: str) -> None:
        log.debug("refused %s:%d: %s", order.address, order.port, reason)
        self._say(FromAgent(refused=Refused(connection=order.connection, reason=reason)))

    async def _carry(self, order: Open) -> None:
        target = f"{order.address}:{order.port}"
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                machine = await asyncio.open_connection(order.address, order.port, limit=PIECE)
        except TimeoutError:
            return self._refuse(order, f"{target} does not answer")
        except OSError as error:
            return self._refuse(order, f"{target}: {words(error).lower()}")
        complete = False
        try:
            metadata = [(CONNECTION_KEY.encode(), order.connection.hex().encode())]
            async with self._channel.duplex(_SERVICE.Carry, metadata) as call:
                complete = await relay(machine, call)
        except RpcError as error:
            # heard only while it is still awaited: something between us and the server takes no more streams
            self._refuse(order, f"its server does not take the connection: {error.details}")
        finally:
            if complete:
                machine[1].close()
            else:
                reset(machine[1])


async def relay(machine: Stream, call: Call) -> bool:
    """Carry bytes between a connection and a `Carry` call until the server ends the call.

    False, or RpcError, when one of them broke; leaving the call then breaks the other.
    """
    reader, writer = machine

    async def outwards() -> None:
        try:
            while data := await reader.read(PIECE):
                await call.send(Piece(data=data), end=False)
            await call.send(Piece(end=True), end=False)
        except OSError:  # the machine reset the connection
            call.close()

    upwards = asyncio.ensure_future(outwards())
    try:
        while (piece := await call.receive()) is not None:
            writer.write(piece.data)
            if piece.end:
                writer.write_eof()
            await writer.drain()
    except OSError:
        return False
    else:
        return True
    finally:
        upwards.cancel()
        await asyncio.gather(upwards, return_exceptions=True)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other end sees a reset, not an end."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
