"""What gRPC libraries hide: pings, streams, and clients that open the door and never read. Spoken in plain HTTP/2."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.events
import h2.settings

from kubespan.discovery.limiter import Limiter
from kubespan.discovery.service import SERVICE
from kubespan.discovery.watching import ROOM_EACH, SMALL
from talos.gen.sidero import discovery_pb2 as pb
from tests.kubespan.discovery.lab import CALL, CLUSTER, known, serving, update

READ = 1 << 16


class Client:
    """A client that speaks HTTP/2 by itself. It takes no more than `window` bytes of an answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, window: int | None) -> None:
        self._reader, self._writer = reader, writer
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._http.initiate_connection()
        self._patient = window is not None
        if window is not None:
            self._http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.data: dict[int, bytes] = {}
        self.headers: dict[int, dict[str, str]] = {}
        self.ended: set[int] = set()
        self.pongs = 0
        self.goodbye: h2.events.ConnectionTerminated | None = None
        self.heard = asyncio.Event()

    def call(self, method: str, request: bytes) -> int:
        """Begin a call; gives its stream."""
        stream = self._http.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "http"), (":path", f"/{SERVICE}/{method}"), (":authority", "here")]
        self._http.send_headers(stream, [*headers, ("content-type", "application/grpc"), ("te", "trailers")])
        self._http.send_data(stream, b"\0" + len(request).to_bytes(4, "big") + request, end_stream=True)
        self.data[stream], self.headers[stream] = b"", {}
        return stream

    def ping(self) -> None:
        self._http.ping(b"12345678")

    def send(self) -> None:
        self._writer.write(self._http.data_to_send())

    async def listen(self) -> None:
        """Take in what comes, until the other end closes."""
        self.send()
        while data := await self._reader.read(READ):
            for event in self._http.receive_data(data):
                self._hear(event)
            self.send()
            self.heard.set()
            self.heard.clear()

    def _hear(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            self.data[event.stream_id] += event.data
            if not self._patient:
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            self.headers[event.stream_id].update({name.decode(): value.decode() for name, value in event.headers})
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goodbye = event

    def messages(self, stream: int) -> list[bytes]:
        """The messages of a stream that are whole."""
        found, data = [], self.data[stream]
        while len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5], "big"):
            length = int.from_bytes(data[1:5], "big")
            assert data[0] == 0, "nobody asked for compression"
            found.append(data[5 : 5 + length])
            data = data[5 + length :]
        return found

    async def until(self, stream: int, count: int) -> list[bytes]:
        """Wait for so many messages."""
        async with asyncio.timeout(CALL):
            while len(self.messages(stream)) < count:
                await self.heard.wait()
        return self.messages(stream)


@asynccontextmanager
async def connected(port: int, window: int | None = None) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(reader, writer, window)
    listening = asyncio.create_task(client.listen())
    try:
        yield client
    finally:
        listening.cancel()
        writer.transport.abort()


WATCH = pb.WatchRequest(cluster_id=CLUSTER).SerializeToString()


async def test_answers_to_the_byte() -> None:
    async with serving() as service, connected(service.port) as client:
        hello = client.call("Hello", b"\x0a\x01c\x12\x07v1.14.0")
        client.send()
        assert await client.until(hello, 1) == [b"\x12\x04\x7f\x00\x00\x01"]
        updated = client.call("AffiliateUpdate", b"\x0a\x01c\x12\x01a\x1a\x01d\x22\x02e1\x22\x02e2\x2a\x02\x08\x3c")
        client.send()
        assert await client.until(updated, 1) == [b""]
        entry = b"\x0a\x0e\x0a\x01a\x12\x01d\x1a\x02e1\x1a\x02e2"
        listed, watched = client.call("List", b"\x0a\x01c"), client.call("Watch", b"\x0a\x01c")
        client.send()
        assert await client.until(listed, 1) == [entry]
        assert await client.until(watched, 1) == [entry]
        deleted = client.call("AffiliateDelete", b"\x0a\x01c\x12\x01a")
        client.send()
        assert await client.until(deleted, 1) == [b""]
        assert await client.until(watched, 2) == [entry, b"\x0a\x03\x0a\x01a\x10\x01"]
        assert client.headers[deleted]["grpc-status"] == "0"


async def test_nobody_is_sent_away_for_pings() -> None:
    """Nodes ping while they watch, which grpcio takes for an attack unless it is told otherwise."""
    async with serving() as service, connected(service.port) as client:
        watch = client.call("Watch", WATCH)
        client.send()
        await client.until(watch, 1)
        async with asyncio.timeout(CALL):
            for count in range(1, 51):
                client.ping()
                client.send()
                while client.pongs < count:
                    await client.heard.wait()
        await service.update("a", b"d")
        assert len(await client.until(watch, 2)) == 2
        assert client.goodbye is None


async def test_a_thousand_watches_on_one_connection() -> None:
    async with serving() as service, connected(service.port) as client:
        watches = [client.call("Watch", WATCH) for _ in range(1000)]
        client.send()
        for watch in watches:
            await client.until(watch, 1)
        await service.update("a", b"d")
        for watch in watches:
            assert known(pb.WatchResponse.FromString((await client.until(watch, 2))[1])) == {"a": (b"d", [])}


async def test_who_did_not_read_gets_the_last_state_of_each() -> None:
    async with serving() as service, connected(service.port, window=0) as client:
        await service.update("a", b"0")
        watch = client.call("Watch", WATCH)
        client.send()
        async with asyncio.timeout(CALL):
            while not service.core.state.subscriptions:
                await asyncio.sleep(0.01)
        for number in range(2000):
            service.core.update(update(f"b-{number % 50}", b"%d" % number * 200, [b"e"]))
            service.core.update(update("a", b"%d" % number))
            await asyncio.sleep(0)
        service.core.delete(pb.AffiliateDeleteRequest(cluster_id=CLUSTER, affiliate_id="b-7"))
        client._http.increment_flow_control_window(1 << 24)
        client._http.increment_flow_control_window(1 << 24, watch)
        client.send()
        copy: dict[str, tuple[bytes, list[bytes]]] = {}
        read = 0
        async with asyncio.timeout(CALL):
            while copy != await service.list():
                for message in client.messages(watch)[read:]:
                    read += 1
                    event = pb.WatchResponse.FromString(message)
                    if event.deleted:
                        del copy[event.affiliates[0].id]
                    else:
                        copy.update(known(event))
                await asyncio.sleep(0.01)
        assert read < 200, "what was no longer true was not told"
        assert watch not in client.ended


def resident() -> int:
    """Bytes of memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


async def test_watches_that_never_read_cost_little_and_disturb_nobody() -> None:
    """A thousand of a cluster that is as large as one may be, from one address, while it changes all the time."""
    async with serving(limiter=Limiter(rate=1000, burst=5000)) as service:
        for number in range(1024):
            service.core.update(update(str(number), b"d" * 2000, ttl=1800))
        assert service.core.state.size(CLUSTER) > 2_000_000
        before = resident()
        async with connected(service.port, window=0) as client:
            for _ in range(1000):
                client.call("Watch", WATCH)
                client.call("List", pb.ListRequest(cluster_id=CLUSTER).SerializeToString())
            client.send()
            async with asyncio.timeout(CALL):
                while service.core.calls.methods["Watch"].received < 1000:
                    await asyncio.sleep(0.01)
            for turn in range(10):
                for number in range(1024):
                    service.core.update(update(str(number), b"%d" % turn * 2000, ttl=1800))
                await service.update("a", b"d", cluster="another")
            assert service.core.room._all <= ROOM_EACH
            assert resident() - before < 150_000_000
            watch, first = await service.watch("another")
            assert known(first) == {"a": (b"d", [])}
            await service.update("b", b"d", cluster="another")
            assert known(await watch.read()) == {"b": (b"d", [])}
        async with asyncio.timeout(CALL):  # nothing is left of them when they are gone
            while service.core.room._shares or service.core.state.subscriptions > 1:
                await asyncio.sleep(0.01)


async def test_small_clusters_are_watched_while_others_wait_for_room() -> None:
    async with serving(limiter=Limiter()) as service, connected(service.port, window=0) as client:
        for number in range(1024):
            service.core.update(update(str(number), b"d" * 1000, ttl=1800))
        assert service.core.state.size(CLUSTER) > SMALL
        for _ in range(50):
            client.call("Watch", WATCH)
        client.send()
        async with asyncio.timeout(CALL):
            while service.core.calls.methods["Watch"].received < 50:
                await asyncio.sleep(0.01)
        await service.update("a", b"d", cluster="small")
        _, first = await service.watch("small")
        assert known(first) == {"a": (b"d", [])}


async def test_a_client_that_breaks_the_rules_of_http_costs_its_connection_alone() -> None:
    async with serving() as service:
        watch, _ = await service.watch()
        for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000):
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(noise)
            async with asyncio.timeout(CALL):
                while await reader.read(READ):
                    pass
            writer.close()
        await service.update("a", b"d")
        assert known(await watch.read()) == {"a": (b"d", [])}
