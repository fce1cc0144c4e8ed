"""exec and attach: the streams of a program, over a websocket or SPDY."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, Protocol

from nodeagent.simulator.kube.containers import Container, Nothing, Stream
from nodeagent.simulator.kube.http import Connection, Failure, Request
from nodeagent.simulator.kube.spdy import Session, SpdyStream
from nodeagent.simulator.kube.websocket import WebSocket, accept
from nodeagent.simulator.objects import Object

SPDY, WEBSOCKET = "spdy/3.1", "websocket"
_NAMES = ("stdin", "stdout", "stderr", "error", "resize")
"""In the order of a websocket's channels."""
_CLOSE_CHANNEL = 255
_WEBSOCKET_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_SPDY_PROTOCOL = "v4.channel.k8s.io"


class Channels(Protocol):
    """The streams between a client and a program."""

    async def run(self) -> None:
        """Receive until the client leaves. Raises OSError."""

    async def open(self, names: list[str]) -> dict[str, Stream]:
        """The streams with these names, once the client has opened them."""

    async def finish(self, status: Object) -> None:
        """Say how the program ended. Raises OSError."""


async def execute(connection: Connection, request: Request, container: Container) -> None:
    """Run the command that is asked for."""
    command = request.query.get("command", [])

    async def run(streams: dict[str, Stream]) -> int:
        return await container.run(command, *(streams.get(name, Nothing()) for name in _NAMES[:3]))

    await _serve(connection, request, run)


async def attach(connection: Connection, request: Request, container: Container) -> None:
    """The program of every container says back, and logs, what is said to it. Who says nothing hears what it logs."""

    async def run(streams: dict[str, Stream]) -> int:
        stdin, stdout = streams.get("stdin"), streams.get("stdout", Nothing())
        if stdin is None:
            async for _, line in container.log.follow(len(container.log.lines)):
                await stdout.write(line + b"\n")
            return 0
        while data := await stdin.read():
            await container.log.write(data)
            await stdout.write(data)
        return 0

    await _serve(connection, request, run)


async def until_left(reading: Coroutine[Any, Any, None], work: Coroutine[Any, Any, None]) -> None:
    """Do some work while the client is there. Raises what the work raises."""
    tasks = [asyncio.create_task(work), asyncio.create_task(reading)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(results[0], Exception):
        raise results[0]


async def _serve(connection: Connection, request: Request, run: Any) -> None:
    channels = await _channels(connection, request)
    wanted = [name for name in _NAMES[:3] if request.is_asked(name)]

    async def work() -> None:
        code = await run(await channels.open(wanted))
        await channels.finish(_status(code))

    await until_left(channels.run(), work())


async def _channels(connection: Connection, request: Request) -> Channels:
    """Switch to the protocol that the client wants. Raises Failure."""
    if request.upgrade == SPDY:
        headers = [("X-Stream-Protocol-Version", _SPDY_PROTOCOL)]
        early = await connection.switch([*headers, ("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")])
        return _Spdy(connection, early)
    if request.upgrade == WEBSOCKET:
        offered = [protocol.strip() for protocol in request.header("sec-websocket-protocol").split(",")]
        chosen = next((protocol for protocol in _WEBSOCKET_PROTOCOLS if protocol in offered), None)
        if chosen is None:
            raise Failure(400, "BadRequest", f"unable to negotiate protocol: client offers {offered}")
        return _WebSocket(await switch_to_websocket(connection, request, chosen))
    raise Failure(400, "BadRequest", "Upgrade request required")


async def switch_to_websocket(connection: Connection, request: Request, protocol: str) -> WebSocket:
    key = accept(request.header("sec-websocket-key"))
    headers = [("Sec-WebSocket-Accept", key), ("Sec-WebSocket-Protocol", protocol)]
    early = await connection.switch([*headers, ("Connection", "Upgrade"), ("Upgrade", "websocket")])
    return WebSocket(connection.stream.read, connection.stream.write, early)


def _status(code: int) -> Object:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


class _Channel:
    """One stream on a websocket: each message begins with its number."""

    def __init__(self, socket: WebSocket, number: int) -> None:
        self._socket, self._number = socket, number
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue(16)

    async def read(self) -> bytes:
        return await self.pieces.get()

    async def write(self, data: bytes) -> None:
        await self._socket.write(bytes([self._number]) + data)


class _WebSocket:
    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._channels = [_Channel(socket, number) for number in range(len(_NAMES))]

    async def run(self) -> None:
        while message := await self._socket.read():
            number, data = message[0], message[1:]
            if number == _CLOSE_CHANNEL and data:
                number, data = data[0], b""
            elif not data:
                continue
            if number < len(_NAMES):
                await self._channels[number].pieces.put(data)

    async def open(self, names: list[str]) -> dict[str, Stream]:
        return {name: self._channels[_NAMES.index(name)] for name in names}

    async def finish(self, status: Object) -> None:
        await self._channels[_NAMES.index("error")].write(json.dumps(status).encode())
        await self._socket.close()


class _Spdy:
    def __init__(self, connection: Connection, early: bytes) -> None:
        self._session = Session(connection.stream.read, connection.stream.write, early, self._opened)
        self._streams: dict[str, SpdyStream] = {}
        self._changed = asyncio.Event()

    def _opened(self, stream: SpdyStream) -> None:
        self._streams[stream.headers.get("streamtype", "")] = stream
        self._changed.set()

    async def run(self) -> None:
        await self._session.run()

    async def open(self, names: list[str]) -> dict[str, Stream]:
        while not {*names, "error"} <= self._streams.keys():
            self._changed.clear()
            await self._changed.wait()
        return dict(self._streams)

    async def finish(self, status: Object) -> None:
        await self._streams["error"].write(json.dumps(status).encode())
        for stream in self._streams.values():
            await stream.close()
