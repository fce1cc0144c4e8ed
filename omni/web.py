"""The HTTP server of the web process, which learns from the gateway who called."""

import asyncio
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from nodeagent.caller import caller_of


class RelayedHttp(HttpToolsProtocol):
    """HTTP whose caller and scheme are those of the connection that the gateway relays."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if caller := caller_of(transport.get_extra_info("peername")):
            self.client, self.scheme = (caller.address, caller.port), caller.scheme  # type: ignore[assignment]


class RelayedWebSocket(WebSocketsSansIOProtocol):
    """The same for a connection that became a websocket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if caller := caller_of(transport.get_extra_info("peername")):
            self.client = (caller.address, caller.port)
            self.scheme = "wss" if caller.scheme == "https" else "ws"


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
