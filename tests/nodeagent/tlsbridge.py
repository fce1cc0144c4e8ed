"""The bridge between grpcio and a machine's TLS.

grpcio dials addresses, not streams, and cannot complete TLS with Ed25519 certificates. So its channel is plaintext to
a unix socket of our own, in a folder nobody else can enter; every connection made there is carried, inside TLS, over a
stream that the caller's `connect` opened.
"""

from __future__ import annotations

import asyncio
from typing import Self

from nodeagent import tls
from nodeagent.sockets import new_socket_path
from nodeagent.tls import Connect, Credentials

HANDSHAKE_TIMEOUT = 15.0
"""Seconds for opening the stream and the TLS handshake together."""


class TlsBridge:
    """A unix socket whose connections reach one machine inside TLS. Use as an async context manager.

    With credentials the machine must show a certificate of their CA, for `server_name` if given (a DNS name or an IP
    address). Without, it must be in maintenance mode.
    """

    def __init__(self, connect: Connect, credentials: Credentials | None, server_name: str | None = None) -> None:
        self.path = new_socket_path()
        self.last_error: OSError | None = None
        """Why the last connection failed: of the stream, or of TLS (ssl.SSLError). grpcio cannot tell."""
        self._connect = connect
        self._context = tls.client_context(credentials, server_name is not None)
        self._maintenance = credentials is None
        self._server_name = server_name
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Start to listen."""
        self._server = await asyncio.start_unix_server(self._accept, path=str(self.path))

    async def close(self) -> None:
        """Stop to listen and break what is open."""
        if self._server is None:
            return
        self._server.close()
        self.path.unlink(missing_ok=True)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            stream = await self._handshake()
            await tls.relay((reader, writer), stream)
        except OSError as error:  # ssl.SSLError and TimeoutError are OSErrors
            self.last_error = error
        except asyncio.CancelledError:
            pass  # the bridge closes; asyncio reports a cancelled connection as a failure
        finally:
            writer.close()
            self._connections.discard(task)

    async def _handshake(self) -> tls.TlsStream:
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                reader, writer = await self._connect()
                try:
                    stream = tls.TlsStream(reader, writer, self._context, server_hostname=self._server_name)
                    await stream.handshake()
                    if self._maintenance:
                        tls.require_maintenance(stream)
                except BaseException:
                    writer.close()
                    raise
        except TimeoutError:
            raise TimeoutError("the machine did not answer in time") from None
        self.last_error = None
        return stream
