"""port-forward: pairs of SPDY streams, for data and errors, directly or inside a websocket.

Ports 80 and 8080 of every pod answer HTTP, the others say back what they hear.
"""

from __future__ import annotations

import asyncio

from nodeagent.simulator.kube.http import Connection, Failure, Request
from nodeagent.simulator.kube.spdy import Session, SpdyStream
from nodeagent.simulator.kube.streams import SPDY, WEBSOCKET, switch_to_websocket
from nodeagent.simulator.kube.websocket import Read, Write

PROTOCOL = "portforward.k8s.io"
TUNNEL = f"SPDY/3.1+{PROTOCOL}"
HTTP_PORTS = ("80", "8080")


async def serve(connection: Connection, request: Request, pod: str) -> None:
    """Carry connections to ports of a pod until the client leaves. Raises Failure, OSError."""
    read: Read = connection.stream.read
    write: Write = connection.stream.write
    early = b""
    if request.upgrade == SPDY:
        headers = [("X-Stream-Protocol-Version", PROTOCOL), ("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")]
        early = await connection.switch(headers)
    elif request.upgrade == WEBSOCKET and TUNNEL in request.header("sec-websocket-protocol"):
        socket = await switch_to_websocket(connection, request, TUNNEL)
        read, write = socket.read, socket.write
    else:
        raise Failure(400, "BadRequest", "Upgrade request required")
    errors: dict[str, SpdyStream] = {}
    async with asyncio.TaskGroup() as tasks:

        def opened(stream: SpdyStream) -> None:
            number = stream.headers.get("requestid", "")
            if stream.headers.get("streamtype") == "error":
                errors[number] = stream
            else:
                tasks.create_task(_connection(stream, errors.pop(number, None), pod))

        await Session(read, write, early, opened).run()


async def _connection(data: SpdyStream, error: SpdyStream | None, pod: str) -> None:
    if data.headers.get("port") in HTTP_PORTS:
        await _answer(data, pod)
    else:
        while piece := await data.read():
            await data.write(piece)
    await data.close()
    if error is not None:
        await error.close()


async def _answer(data: SpdyStream, pod: str) -> None:
    """One HTTP request."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = await data.read()
        if not piece:
            return
        head += piece
    body = f"this is {pod}\n".encode()
    await data.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
