"""A client's connection: what it sends becomes exchanges, until it leaves or is sent away."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, TooManyStreamsError
from h2.settings import SettingCodes, Settings

from nodeagent.dial import CHUNK, Stream
from nodeagent.h2front.client import Client
from nodeagent.h2front.exchange import Exchange, Route
from nodeagent.h2front.floods import HEADER_LIMIT, Flood, Meter
from nodeagent.h2front.upstream import Pool
from nodeagent.quiet import Quiet

STREAMS = 250
"""Requests of one client at once; one more ends the connection."""

STREAM_WINDOW = 256 * 1024
"""Bytes of one request's body that may wait for a server."""

CONNECTION_WINDOW = 1024 * 1024
"""The same for all requests of one client together."""

SILENCE = 60.0
"""Seconds of silence after which a client is asked whether it is there, or let go if it has no request open."""

ANSWER = 20.0
"""Seconds that it has for the answer."""

LINGER = 1.0
"""Seconds in which a client that is sent away may read why: closing unread data would reset that."""

_DEFAULT_WINDOW = 65_535
_TABLE = 4096  # bytes of compression state we keep for what we send, however much a client offers

log = logging.getLogger(__name__)
_quiet = Quiet()


async def serve(client: Stream, route: Route) -> None:
    """Speak HTTP/2 with a client until it leaves; `route` says where its requests go. The caller closes the stream."""
    front = _Front(client, route)
    watch = asyncio.create_task(front.watch())
    try:
        with contextlib.suppress(OSError):
            await front.run()
    finally:
        watch.cancel()
        await front.close()


class _Http2(H2Connection):
    MAX_CLOSED_STREAMS = 1024  # ended streams that are remembered, to tell late frames from wrong ones


class _Front:
    def __init__(self, client: Stream, route: Route) -> None:
        self._reader, self._writer = client
        self._route = route
        self._meter = Meter(time.monotonic())
        self._http = _Http2(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,  # h11 has read them
                normalize_outbound_headers=False,
            )
        )
        self._http.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIMIT,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            },
        )
        self._client = Client(self._http, self._writer, self._meter)
        self._pool = Pool()
        self._exchanges: dict[int, tuple[Exchange, asyncio.Task[None]]] = {}
        self._heard = 0

    async def run(self) -> None:
        """Take what the client sends. Raises OSError when it breaks."""
        self._http.initiate_connection()
        self._http.increment_flow_control_window(CONNECTION_WINDOW - _DEFAULT_WINDOW)
        self._client.push()
        try:
            while data := await self._reader.read(CHUNK):
                self._heard += 1
                self._meter.feed(data, time.monotonic())
                for event in self._http.receive_data(data):
                    self._take(event)
                await self._client.flush()
        except ProtocolError as error:
            await self._send_away(error)

    async def watch(self) -> None:
        """Let go of clients that are gone, and of those that want nothing more."""
        while True:
            heard = self._heard
            await asyncio.sleep(SILENCE)
            if self._heard != heard:
                continue
            if not self._exchanges:
                self._http.close_connection()
                self._client.push()
                self._writer.close()
                return
            self._http.ping(b"present?")
            self._client.push()
            await asyncio.sleep(ANSWER)
            if self._heard == heard:
                self._writer.transport.abort()
                return

    async def close(self) -> None:
        """End every exchange."""
        tasks = [task for _, task in self._exchanges.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.close()

    async def _send_away(self, error: ProtocolError) -> None:
        """Say why, and hear the client out, which may be in the middle of a flood; nothing it says counts any more."""
        address = (self._writer.get_extra_info("peername") or ("",))[0]
        reason = str(error) if isinstance(error, Flood) else type(error).__name__  # h2's texts quote headers
        if _quiet.left_out(f"{address} {reason}") is not None:
            log.info("HTTP/2 with %s is ended: %s", address, reason)
        crowd = isinstance(error, TooManyStreamsError)
        self._http.clear_outbound_data_buffer()
        self._http.close_connection(ErrorCodes.ENHANCE_YOUR_CALM if crowd else error.error_code)
        self._client.push()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while await self._reader.read(CHUNK):
                    pass

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._begin(event)
        elif isinstance(event, DataReceived):
            size = event.flow_controlled_length
            if exchange := self._exchange(event.stream_id):
                exchange.data(event.data, size)
            else:
                self._client.consumed(event.stream_id, size)
        elif isinstance(event, StreamEnded):
            if exchange := self._exchange(event.stream_id):
                exchange.end()
        elif isinstance(event, StreamReset):
            if event.stream_id in self._exchanges:
                self._exchanges[event.stream_id][1].cancel()
        elif isinstance(event, WindowUpdated):
            self._opened([event.stream_id] if event.stream_id else list(self._exchanges))
        elif isinstance(event, RemoteSettingsChanged):
            if self._http.encoder.header_table_size > _TABLE:
                self._http.encoder.header_table_size = _TABLE
            self._opened(list(self._exchanges))
        elif isinstance(event, ConnectionTerminated):
            raise ConnectionAbortedError("the client leaves")

    def _begin(self, event: RequestReceived) -> None:
        stream = event.stream_id
        exchange = Exchange(self._client, stream, event.headers, event.stream_ended is not None)
        task = asyncio.create_task(exchange.run(self._route, self._pool))
        self._exchanges[stream] = exchange, task

        def over(task: asyncio.Task[None]) -> None:
            del self._exchanges[stream]
            exchange.leave()
            if not task.cancelled() and (error := task.exception()):
                log.error("HTTP/2: %r", error)

        task.add_done_callback(over)

    def _exchange(self, stream: int) -> Exchange | None:
        return self._exchanges[stream][0] if stream in self._exchanges else None

    def _opened(self, streams: Sequence[int]) -> None:
        for stream in streams:
            if exchange := self._exchange(stream):
                exchange.opened.set()
