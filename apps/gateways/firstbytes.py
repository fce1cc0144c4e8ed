"""What a new connection speaks, read from its first bytes, which stay where they are."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from nodeagent import clienthello

_GRPC_PREFACE = b"PRI "

T = TypeVar("T")


class Speaks(Enum):
    """What is said on a connection, inside TLS if there is any."""

    GRPC = "gRPC"
    HTTP1 = "HTTP/1.1"
    HTTP2 = "HTTP/2"


@dataclass(frozen=True)
class Start:
    """How a connection begins."""

    secure: bool
    speaks: Speaks


async def read(connection: socket.socket) -> Start:
    """Wait until a connection said enough. Raises NotTls, and OSError when it closes first."""
    return await _peek(connection, judge)


def judge(data: bytes) -> Start | None:
    """What begins with these bytes; None while too few are known. Raises NotTls.

    TLS, then the protocols that are offered in it: gRPC clients offer HTTP/2 without HTTP/1.1, everybody who speaks
    HTTP/2 for its own sake offers both.
    """
    if data[0] == clienthello.RECORD:
        hello = clienthello.parse(data)
        if hello is None:
            return None
        if "h2" not in hello.protocols:
            return Start(True, Speaks.HTTP1)
        return Start(True, Speaks.HTTP2 if "http/1.1" in hello.protocols else Speaks.GRPC)
    if len(data) < len(_GRPC_PREFACE):
        return None
    return Start(False, Speaks.GRPC if data.startswith(_GRPC_PREFACE) else Speaks.HTTP1)


async def _peek(connection: socket.socket, known: Callable[[bytes], T | None]) -> T:
    """Ask `known` about the first bytes again and again until it answers."""
    seen = 0
    while True:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)  # readable means: more than before
        await _readable(connection)
        data = connection.recv(clienthello.LIMIT, socket.MSG_PEEK)
        if len(data) <= seen:
            raise ConnectionResetError("closed before it said enough")
        seen = len(data)
        if (answer := known(data)) is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            return answer


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def is_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, is_ready)
    try:
        await ready
    finally:
        loop.remove_reader(connection)
