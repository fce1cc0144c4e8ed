"""Bad networks between simulated machines and a gateway: they lose, repeat, delay and reorder by a seed, or are cut."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"
Address = tuple[str, int]


@dataclass
class Weather:
    """How bad it is. `seed` makes it the same each time; `delay` is the longest one in seconds."""

    seed: int = 0
    loss: float = 0.0
    repeat: float = 0.0
    delay: float = 0.0
    cut: bool = False

    def __post_init__(self) -> None:
        self.drawn = random.Random(self.seed)

    def fates(self) -> list[float]:
        """The delays after which copies of a packet arrive; none when it is lost."""
        copies = 2 if self.drawn.random() < self.repeat else 1
        if self.cut:
            return []
        return [self.drawn.random() * self.delay for _ in range(copies) if self.drawn.random() >= self.loss]


class _Datagrams(asyncio.DatagramProtocol):
    """Calls `heard(data, sender)`."""

    def __init__(self, heard: Any) -> None:
        self.datagram_received = heard


@contextlib.asynccontextmanager
async def udp_relay(target: Address, weather: Weather) -> AsyncIterator[Address]:
    """An address whose packets go to `target`, each sender's from a port of its own, and the answers back."""
    loop = asyncio.get_running_loop()
    ways: dict[Address, asyncio.Future[asyncio.DatagramTransport]] = {}

    def send(transport: asyncio.DatagramTransport, data: bytes, to: Address | None) -> None:
        def arrive() -> None:
            if not transport.is_closing():
                transport.sendto(data, to)

        for delay in weather.fates():
            loop.call_later(delay, arrive)

    async def open_way(sender: Address) -> asyncio.DatagramTransport:
        def back(data: bytes, _: Address) -> None:
            send(front, data, sender)

        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(back), remote_addr=target)
        return transport

    def heard(data: bytes, sender: Address) -> None:
        if sender not in ways:
            ways[sender] = asyncio.ensure_future(open_way(sender))
        ways[sender].add_done_callback(lambda way: send(way.result(), data, None))

    front, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(heard), local_addr=(HOST, 0))
    try:
        yield front.get_extra_info("sockname")
    finally:
        front.close()
        for way in ways.values():
            (await way).close()


class TcpRelay:
    """Connections that pass bytes on late, not at all while it is cut, and break when told to."""

    def __init__(self, target: Address, weather: Weather, source: str = HOST) -> None:
        self._target, self._weather, self._source = target, weather, source
        self._passing = asyncio.Event()
        self._passing.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> TcpRelay:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Connections stay open, and nothing gets through any more."""
        self._passing.clear()

    def heal(self) -> None:
        """What waited gets through."""
        self._passing.set()

    def reset(self) -> None:
        """All connections break."""
        for writer in self._open:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target, local_addr=(self._source, 0))
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        for one in (writer, far_writer):
            one.transport.abort()
            self._open.discard(one)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(16 * 1024):
            await asyncio.sleep(self._weather.drawn.random() * self._weather.delay)
            await self._passing.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError
