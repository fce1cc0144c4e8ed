"""The HTTP server of the web process, which learns from the gateway who called."""

import asyncio
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from nodeagent.caller import Caller, caller_of


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


def server(socket: Path | None = None, host: str = "", port: int = 0) -> uvicorn.Server:
    """A server of `omni.asgi` on a unix socket or an address. `await server(...).serve()` handles signals itself."""
    return uvicorn.Server(
        uvicorn.Config(
            "omni.asgi:application",
            uds=str(socket) if socket else None,
            host=host or "127.0.0.1",
            port=port,
            http=RelayedHttp,
            ws=RelayedWebSocket,
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws_max_size=1 << 20,
            timeout_graceful_shutdown=3,
        )
    )
