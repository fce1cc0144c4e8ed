"""Kubernetes as a user's own program asks it: over TLS that checks the name of the address."""

import asyncio
import json
import ssl
from typing import Any

from nodeagent.tls import TlsStream


async def connected(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to an address that control planes share, once one of them carries it; whoever waits has a limit."""
    while True:
        try:
            return await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.1)


async def nodes(host: str, port: int, context: ssl.SSLContext) -> list[dict[str, Any]]:
    """The nodes that the API at an address knows."""
    stream = TlsStream(*await connected(host, port), context, server_hostname=host)
    try:
        await stream.handshake()
        await stream.write(b"GET /api/v1/nodes HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := await stream.read():
            answer += data
    finally:
        stream.close()
    found: list[dict[str, Any]] = json.loads(answer.partition(b"\r\n\r\n")[2])["items"]
    return found
