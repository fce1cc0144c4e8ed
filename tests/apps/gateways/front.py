"""What operators put in front of several gateways: one address for all of them, TCP and UDP, that goes to those which
answer. Each machine stays where it is until its gateway is out."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Self

from nodeagent.dial import Stream, pump


class Front:
    """A load balancer on `host` for gateways on hosts of their own; the ports are the same everywhere."""

    def __init__(self, host: str, port: int, udp_port: int, *gateways: str) -> None:
        self.host, self.port, self.udp_port = host, port, udp_port
        self.gateways = list(gateways)
        self.out: set[str] = set()
        """Gateways that get nothing, and whose datagrams get nowhere."""
        self.streams: set[asyncio.Task[None]] = set()
        self._turn = 0
        self._hanging = False
        self._kept: list[Stream] = []
        self._clients: dict[Any, _Client] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Entry(self), (self.host, self.udp_port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self._udp.close()
        for client in self._clients.values():
            client.transport.close()
        self._hanging = False
        self.cut()
        await asyncio.gather(*self.streams, return_exceptions=True)
        for _, writer in self._kept:
            writer.close()

    def cut(self) -> None:
        """Break every TCP connection."""
        for task in self.streams:
            task.cancel()

    def forget_machines(self) -> None:
        """Break every TCP connection on the machines' side; gateways are not told."""
        self._hanging = True
        self.cut()

    def turn(self) -> list[str]:
        """The gateways, the one whose turn it is first."""
        self._turn += 1
        start = self._turn % len(self.gateways)
        return [name for name in self.gateways[start:] + self.gateways[:start] if name not in self.out]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.streams.add(task)
        try:
            for host in self.turn():
                with contextlib.suppress(OSError):
                    await self._relay((reader, writer), await asyncio.open_connection(host, self.port))
                    break
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()
            self.streams.discard(task)

    async def _relay(self, machine: Stream, gateway: Stream) -> None:
        try:
            await asyncio.gather(pump(machine[0], gateway[1]), pump(gateway[0], machine[1]))
        finally:
            if self._hanging:
                self._kept.append(gateway)
            else:
                gateway[1].close()

    def take(self, datagram: bytes, source: Any) -> None:
        """A datagram of a machine."""
        client = self._clients.get(source)
        if client is None:
            client = self._clients[source] = _Client(self, source)
        client.send(datagram)

    def give(self, datagram: bytes, client: Any) -> None:
        """A datagram for a machine."""
        self._udp.sendto(datagram, client)


class _Entry(asyncio.DatagramProtocol):
    def __init__(self, front: Front) -> None:
        self._front = front

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._front.take(data, addr)


class _Client(asyncio.DatagramProtocol):
    """One machine's datagrams: gateways see it under a port of its own, at which any of them reaches it."""

    def __init__(self, front: Front, source: Any) -> None:
        self._front, self._source = front, source
        self._waiting: list[bytes] = []
        self.transport: asyncio.DatagramTransport = None  # type: ignore[assignment]
        self._gateway = front.turn()[0] if front.turn() else front.gateways[0]
        loop = asyncio.get_running_loop()
        self._opening = loop.create_task(loop.create_datagram_endpoint(lambda: self, (front.host, 0)))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        for datagram in self._waiting:
            self.send(datagram)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if addr[0] not in self._front.out:
            self._front.give(data, self._source)

    def send(self, datagram: bytes) -> None:
        if self.transport is None:
            self._waiting.append(datagram)
            return
        if self._gateway in self._front.out and (others := self._front.turn()):
            self._gateway = others[0]
        self.transport.sendto(datagram, (self._gateway, self._front.udp_port))
