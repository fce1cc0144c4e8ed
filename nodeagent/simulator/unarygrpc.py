"""Unary gRPC calls over a stream that somebody else opened: grpcio dials addresses of the host only, while event sink
and trustd are on the overlay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeVar
from urllib.parse import unquote

import grpc
import h2.config
import h2.connection
import h2.events
import h2.exceptions
from google.protobuf.message import Message

Response = TypeVar("Response", bound=Message)

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ByteStream(Protocol):
    """What a connection has to offer."""

    async def read(self) -> bytes:
        """Some bytes; none at the end."""

    async def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class PlainStream:
    """A reader and a writer as a ByteStream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        return await self._reader.read(64 * 1024)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


class CallError(Exception):
    """The server answered with a status other than OK."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code, self.details = code, details


class UnaryChannel:
    """One connection, one call at a time."""

    def __init__(self, stream: ByteStream, authority: str, scheme: str = "http") -> None:
        self._stream, self._authority, self._scheme = stream, authority, scheme
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._started = False

    async def call(
        self,
        path: str,
        request: Message,
        response: type[Response],
        metadata: Sequence[tuple[str, str]] = (),
    ) -> Response:
        """Raises CallError for a refusal, ConnectionError when the connection does not last."""
        if not self._started:
            self._h2.initiate_connection()
            self._started = True
        payload = request.SerializeToString()
        number = self._h2.get_next_available_stream_id()
        self._h2.send_headers(
            number,
            [
                (":method", "POST"),
                (":scheme", self._scheme),
                (":path", path),
                (":authority", self._authority),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                *metadata,
            ],
        )
        await self._send(number, b"\0" + len(payload).to_bytes(4, "big") + payload)
        body, headers = await self._receive(number)
        code = _CODES.get(int(headers.get("grpc-status", "2")), grpc.StatusCode.UNKNOWN)
        if code is not grpc.StatusCode.OK:
            raise CallError(code, unquote(headers.get("grpc-message", "")))
        return response.FromString(body[5:])

    def close(self) -> None:
        self._stream.close()

    async def _send(self, number: int, data: bytes) -> None:
        position = 0
        while position < len(data):
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if room <= 0:
                await self._pump()
                continue
            self._h2.send_data(number, data[position : position + room])
            position += room
        self._h2.end_stream(number)
        await self._flush()

    async def _receive(self, number: int) -> tuple[bytes, dict[str, str]]:
        body = bytearray()
        headers: dict[str, str] = {}
        while True:
            for event in await self._pump():
                if isinstance(event, h2.events.ConnectionTerminated):
                    raise ConnectionResetError("the server ended the connection")
                if getattr(event, "stream_id", None) != number:
                    continue
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    headers.update((str(name), str(value)) for name, value in event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self._h2.acknowledge_received_data(event.flow_controlled_length, number)
                elif isinstance(event, h2.events.StreamReset):
                    raise ConnectionResetError("the server reset the call")
                elif isinstance(event, h2.events.StreamEnded):
                    return bytes(body), headers

    async def _pump(self) -> list[h2.events.Event]:
        await self._flush()
        data = await self._stream.read()
        if not data:
            raise ConnectionResetError("the server closed the connection")
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise ConnectionAbortedError(f"not a gRPC server: {error}") from error
        await self._flush()
        return events

    async def _flush(self) -> None:
        if data := self._h2.data_to_send():
            await self._stream.write(data)
