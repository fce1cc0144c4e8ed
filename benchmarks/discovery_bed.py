"""The processes of `discovery.py`: `python -m benchmarks.discovery_bed floor|load ...`.

*floor* is a bare grpc.aio server with the methods of the discovery service: it takes bytes, gives bytes that were made
before, and hands each update to everybody who watches. It reads nothing, checks nothing, keeps nothing. *load* is the
client, the same for the floor and for the service.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import uvloop

from benchmarks import processes
from benchmarks.installation import free_port
from kubespan.discovery import entries
from kubespan.discovery.service import OPTIONS, SERVICE
from talos.gen.sidero import discovery_pb2 as pb

HOST = "127.0.0.1"
DATA, ENDPOINTS, ENDPOINT = 1000, 3, 32
"""Bytes of data, endpoints, and bytes of one: a node with a few addresses, encrypted."""

CLUSTERS, NODES = 100, 10
"""Clusters that are called about, and affiliates of each."""

METHODS = ("Hello", "List", "AffiliateUpdate")
CALLS, CONNECTIONS = 320, 8
"""Of a turn. One call at a time is under way on each connection."""

PACE_SECONDS = 0.006

TURNS = 30
TTL = 1800

Servers = list[tuple[list[int], list[int]]]
"""Of each the ports to be called, and the processes that count."""


# The floor


class Floor(grpc.GenericRpcHandler):
    """Answers of one size, and watchers that are told of each update of their cluster."""

    def __init__(self, affiliates: int) -> None:
        self._listing = b"".join(affiliate(n) for n in range(affiliates))
        self._hello = pb.HelloResponse(client_ip=bytes(4)).SerializeToString()
        self._event = affiliate(0)
        self._changed: defaultdict[bytes, asyncio.Future[None]] = defaultdict(asyncio.get_running_loop().create_future)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        name = details.method.rpartition("/")[2]
        if name == "Watch":
            return grpc.unary_stream_rpc_method_handler(self._watch)
        return grpc.unary_unary_rpc_method_handler({"Hello": self._hi, "List": self._list}.get(name, self._update))

    async def _hi(self, request: bytes, context: Any) -> bytes:
        return self._hello

    async def _list(self, request: bytes, context: Any) -> bytes:
        return self._listing

    async def _update(self, request: bytes, context: Any) -> bytes:
        changed = self._changed.pop(_cluster_field(request), None)
        if changed:
            changed.set_result(None)
        return b""

    async def _watch(self, request: bytes, context: Any) -> None:
        cluster = _cluster_field(request)
        changed = self._changed[cluster]
        await context.write(self._listing)
        while True:
            await asyncio.shield(changed)
            changed = self._changed[cluster]
            await context.write(self._event)


def _cluster_field(request: bytes) -> bytes:
    """The first field, with tag and length, as it is."""
    return request[: 2 + request[1]]


async def floor(affiliates: int, held: int) -> None:
    """`held` affiliates are in memory, as bytes and nothing else."""
    kept = [affiliate(n) for n in range(held)]
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((Floor(affiliates),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()
    del kept


def affiliate(number: int) -> bytes:
    """An entry of a listing, of the usual size."""
    return entries.encode(f"node-{number:039}", bytes(DATA), endpoints(number))


def endpoints(number: int) -> list[bytes]:
    """Those of a node."""
    return [number.to_bytes(4, "big") + bytes([n]) * (ENDPOINT - 4) for n in range(ENDPOINTS)]


# The load


@asynccontextmanager
async def _channels(ports: list[int], count: int) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Connections of their own, to the ports in turn."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    targets = itertools.islice(itertools.cycle(ports), count)
    channels = [grpc.aio.insecure_channel(f"{HOST}:{port}", options) for port in targets]
    try:
        for channel in channels:
            await asyncio.wait_for(channel.channel_ready(), 60)
        yield channels
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


def update(number: int, cluster: str) -> bytes:
    """What a node sends when it refreshes what it says, with another state of its data each time."""
    request = pb.AffiliateUpdateRequest(
        cluster_id=cluster,
        affiliate_id=f"node-{number % NODES:039}",
        affiliate_data=number.to_bytes(8, "big") + bytes(DATA - 8),
        affiliate_endpoints=endpoints(number % NODES),
    )
    request.ttl.FromSeconds(TTL)
    return request.SerializeToString()


def _request(method: str, number: int) -> bytes:
    cluster = cluster_id(number // NODES % CLUSTERS)
    if method == "AffiliateUpdate":
        return update(number, cluster)
    if method == "Hello":
        return pb.HelloRequest(cluster_id=cluster, client_version="v1.14.1").SerializeToString()
    return pb.ListRequest(cluster_id=cluster).SerializeToString()


def cluster_id(number: int) -> str:
    """As long as real ones."""
    return f"cluster-{number:036}"


async def _calls(channels: list[grpc.aio.Channel], method: str, count: int) -> None:
    """Some calls at once, again and again, at a pace that leaves both ends idle in between.

    So how many of them a server does in one go, which decides about their price, is the same for all servers.
    """
    calls = [channel.unary_unary(f"/{SERVICE}/{method}") for channel in channels]
    loop = asyncio.get_running_loop()
    for number in range(0, count, len(calls)):
        until = loop.time() + PACE_SECONDS
        await asyncio.gather(*(call(_request(method, number + at)) for at, call in enumerate(calls)))
        await asyncio.sleep(until - loop.time())


async def calls(servers: Servers) -> dict[str, list[float]]:
    """Seconds of processor of each server, for one call of each method.

    They take turns of a fraction of a second, so that what else the machine does is the same for all.
    """
    found: dict[str, list[list[float]]] = {method: [[] for _ in servers] for method in METHODS}
    async with AsyncExitStack() as ending:
        channels = [await ending.enter_async_context(_channels(ports, CONNECTIONS)) for ports, _ in servers]
        for some in channels:
            await _calls(some, "AffiliateUpdate", CLUSTERS * NODES)  # there is something to list
        for turn, method, (at, (_, pids)) in itertools.product(range(TURNS + 1), METHODS, enumerate(servers)):
            before = _cpu(pids)
            await _calls(channels[at], method, CALLS)
            if turn:  # the first one warms up
                found[method][at].append((_cpu(pids) - before) / CALLS)
    return {method: [statistics.median(turns) for turns in of] for method, of in found.items()}


async def events(servers: Servers, clusters: int, watchers: int, count: int) -> list[float]:
    """Seconds of processor of each server for an update that so many are told of, each on a connection of its own.

    Of each cluster one update at a time is under way. The servers take turns.
    """
    found: list[list[float]] = [[] for _ in servers]
    async with AsyncExitStack() as ending:

        async def watched(ports: list[int], cluster: str) -> Callable[[], Awaitable[None]]:
            watching = await ending.enter_async_context(_watching(ports, watchers, cluster))
            (channel,) = await ending.enter_async_context(_channels(ports, 1))
            call = channel.unary_unary(f"/{SERVICE}/AffiliateUpdate")
            numbers = itertools.count()

            async def some() -> None:
                for number in itertools.islice(numbers, count):
                    told = asyncio.gather(*(stream.read() for stream in watching))
                    await call(update(number, cluster))
                    await told

            return some

        ways = [[await watched(ports, f"watched-{n}") for n in range(clusters)] for ports, _ in servers]
        for turn, (at, (_, pids)) in itertools.product(range(TURNS + 1), enumerate(servers)):
            before = _cpu(pids)
            await asyncio.gather(*(some() for some in ways[at]))
            if turn:
                found[at].append((_cpu(pids) - before) / (clusters * count))
    return [statistics.median(took) for took in found]


@asynccontextmanager
async def _watching(ports: list[int], watchers: int, cluster: str) -> AsyncIterator[list[Any]]:
    """Watches that were told what there is."""
    request = pb.WatchRequest(cluster_id=cluster).SerializeToString()
    async with _channels(ports, watchers) as channels:
        streams = [channel.unary_stream(f"/{SERVICE}/Watch")(request) for channel in channels]
        for stream in streams:
            assert await asyncio.wait_for(stream.read(), 120) is not grpc.aio.EOF
        yield streams


async def memory(servers: Servers, watchers: int, cluster: str) -> list[int]:
    """Bytes of each server while so many watch a cluster."""
    found = []
    for ports, pids in servers:
        async with _watching(ports, watchers, cluster):
            await asyncio.sleep(1)
            found.append(sum(processes.memory(pid) for pid in pids))
    return found


async def longest(servers: Servers, seconds: float) -> dict[str, float]:
    """The longest that one of many calls took, one after another, all this time."""
    took, ((ports, _),) = list[float](), servers
    async with _channels(ports, 1) as (channel,):
        methods = [(name, channel.unary_unary(f"/{SERVICE}/{name}")) for name in METHODS]
        until = time.perf_counter() + seconds
        for number in itertools.count():
            name, call = methods[number % len(methods)]
            request = _request(name, number)
            began = time.perf_counter()
            await call(request)
            took.append(time.perf_counter() - began)
            if time.perf_counter() > until:
                break
    took.sort()
    return {"longest": took[-1], "median": took[len(took) // 2], "calls": len(took)}


def _cpu(pids: list[int]) -> float:
    """Seconds of processor that all threads have used, to the nanosecond."""
    threads = (thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


LOADS: dict[str, Callable[..., Awaitable[Any]]] = {
    "calls": calls, "events": events, "memory": memory, "longest": longest,
}  # fmt: skip


async def load(name: str, servers: Servers, *given: Any) -> None:
    print(json.dumps(await LOADS[name](servers, *given)))


def new_port() -> int:
    """A port that nobody has now."""
    return free_port(socket.SOCK_STREAM)


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    given = [json.loads(argument) for argument in arguments]
    uvloop.run(floor(*given) if role == "floor" else load(*given))  # type: ignore[arg-type]
