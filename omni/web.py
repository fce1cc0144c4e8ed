"""The HTTP server of the web process, which learns from the gateway who called."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from nodeagent import internal
from nodeagent.caller import Caller, announced, caller_of
from nodeagent.dial import join
from nodeagent.internal import Identity


class RelayedHttp(HttpToolsProtocol):
    """HTTP whose caller and scheme are those of the connection that the gateway relays."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if caller := _caller(transport):
            self.client, self.scheme = (caller.address, caller.port), caller.scheme  # type: ignore[assignment]


class RelayedWebSocket(WebSocketsSansIOProtocol):
    """The same for a connection that became a websocket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if caller := _caller(transport):
            self.client = (caller.address, caller.port)
            self.scheme = "wss" if caller.scheme == "https" else "ws"


def _caller(transport: asyncio.Transport) -> Caller | None:
    """Who is behind a relayed connection, by the abstract name of its socket."""
    name = transport.get_extra_info("peername")
    text = name.decode(errors="replace") if isinstance(name, bytes) else name
    return caller_of(text.lstrip("\0")) if isinstance(text, str) else None


def server(trusted_proxies: Sequence[str]) -> uvicorn.Server:
    """A server of `omni.asgi`; `await server(...).serve(sockets)` handles signals itself.

    Whom a connection comes from is known from its relay or its address; only `trusted_proxies`, addresses or networks,
    may say that they speak for somebody else.
    """
    return uvicorn.Server(
        uvicorn.Config(
            "omni.asgi:application",
            http=RelayedHttp,
            ws=RelayedWebSocket,
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            server_header=False,
            ws_max_size=1 << 20,
            timeout_graceful_shutdown=3,
        )
    )


def unix_socket(path: Path) -> socket.socket:
    """A listening socket for relays on this host."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1024)
    return listener


async def take_relayed(host: str, port: int, identity: Identity, target: Path) -> asyncio.Server:
    """Take connections that gateways on other hosts relay, and hand them to the socket `target` as relays here do."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            async with asyncio.timeout(internal.CONNECT_TIMEOUT):
                caller = await announced(reader)
                upstream = await asyncio.open_unix_connection(sock=await caller.connect(target))
            await join((reader, writer), upstream)
        writer.close()

    return await internal.listen(host, port, identity, relay)
