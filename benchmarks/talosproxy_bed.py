"""The processes of `talosproxy.py`: `python -m benchmarks.talosproxy_bed machine|gateway|client ...`.

A machine in maintenance mode, made of grpcio behind TLS; the public port, gRPC server and proxy of a gateway with a
gate that lets everybody in; and a client that calls the machine itself and through the gateway.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from socket import SOCK_STREAM
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.gateways.public import PublicPort
from apps.gateways.upstream import on_socket
from benchmarks import processes
from benchmarks.installation import free_port
from nodeagent import tls
from nodeagent.dial import Stream
from nodeagent.proxy.ports import Call, Passage, Target
from nodeagent.proxy.server import TalosProxy
from nodeagent.proxy.upstream import MESSAGE_LIMIT, raw
from nodeagent.rpc import Channel, Limits, Method
from nodeagent.sockets import new_socket_path
from talos import certificates, pki, resources
from talos.gen.cosi import state_pb2
from talos.gen.machine import system_pb2
from talos.resources import types

HOST = "127.0.0.1"
UUID = "11111111-2222-3333-4444-555555555555"
UNARY, STREAM, GET = (
    "/machine.MachineService/Version",
    "/machine.MachineService/Read",
    "/cosi.resource.State/Get",
)

CALLS, AT_ONCE = 1000, 64
ROUNDS = 3
"""Each way is measured so often, in turn; what else the machine does hits both."""
FRAME = 64 * 1024
BULK = 128 << 20
GO_WINDOW = 65535 * 32
"""Of a stream, in Talos' own client."""

_OPTIONS = [("grpc.max_receive_message_length", MESSAGE_LIMIT)]


# The machine


class Machine(grpc.GenericRpcHandler):
    """Answers with bytes that were made before."""

    def __init__(self) -> None:
        version = system_pb2.VersionInfo(tag="v1.14.1", sha="0123abcd", os="linux", arch="amd64")
        self._version = system_pb2.VersionResponse(messages=[system_pb2.Version(version=version)]).SerializeToString()
        kind = types.SYSTEM_INFORMATION
        about = resources.Resource(resources.Metadata(kind.namespace, kind.name, kind.id, "1"), {"uuid": UUID})
        self._about = state_pb2.GetResponse(resource=resources.encode(about)).SerializeToString()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        if details.method == STREAM:
            return grpc.unary_stream_rpc_method_handler(self._stream)
        answer = self._version if details.method == UNARY else self._about

        async def unary(_: bytes, context: Any) -> bytes:
            return answer

        return grpc.unary_unary_rpc_method_handler(unary)

    async def _stream(self, request: bytes, context: Any) -> None:
        frame = bytes(FRAME)
        for _ in range(int(request)):
            await context.write(frame)


async def machine() -> None:
    path = new_socket_path()
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((Machine(),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    now = datetime.now(UTC)
    ca = certificates.self_signed_ca([], Ed25519PrivateKey.generate(), now, now + timedelta(days=1))
    context = tls.server_context(pki.apid_server(ca, tls.MAINTENANCE_NAME, now, [ip_address(HOST)]))

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = tls.TlsStream(reader, writer, context, server_side=True)
        await stream.handshake()
        await tls.relay(await asyncio.open_unix_connection(str(path)), stream)

    await _listening(await asyncio.start_server(accept, HOST, 0))


# The gateway


class Ticket:
    def __init__(self) -> None:
        self.withdrawn: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def over(self, outcome: str) -> None:
        pass


class Gate:
    async def admit(self, call: Call) -> Passage:
        return Passage((Target("machine", UUID, HOST, None),), False, "os:reader", Ticket())


async def gateway(port: int) -> None:
    async def dial(address: str, _: int) -> Stream:
        return await asyncio.open_connection(address, port)

    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "grpc.sock"
        proxy = TalosProxy(Gate(), dial)
        server = grpc.aio.server(options=_OPTIONS)
        proxy.add_to(server)
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        now = datetime.now(UTC)
        shown = pki.kube_apiserver(pki.kubernetes_ca(now), now, [ip_address(HOST)])

        def context() -> ssl.SSLContext:
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_identity(made, shown)
            return made

        nowhere = on_socket(Path(folder) / "none.sock")
        public = PublicPort(context, nowhere, on_socket(socket), nowhere)
        number = free_port(SOCK_STREAM)
        serving = asyncio.create_task(public.serve(HOST, number))
        await asyncio.sleep(0)  # it listens
        print(number, flush=True)
        await serving


async def _listening(server: asyncio.Server) -> None:
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# The client


def _channel(port: int) -> Channel:
    """The same client both ways: nothing of the server's certificate is looked at."""
    context = tls.client_context(None, False)

    async def connect() -> tls.TlsStream:
        reader, writer = await asyncio.open_connection(HOST, port)
        stream = tls.TlsStream(reader, writer, context, piece=tls.CHUNK)
        await stream.handshake()
        return stream

    metadata = [(b"runtime", b"Talos"), (b"node", b"machine")]
    return Channel(connect, limits=Limits(MESSAGE_LIMIT, window=GO_WINDOW), metadata=metadata)


async def client(direct: int, proxied: int, gateway: int) -> None:
    ways = {"direct": _channel(direct), "proxied": _channel(proxied)}
    found: dict[str, Any] = {}
    latencies: dict[str, list[float]] = {way: [] for way in ways}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    cpu = {"calls": 0.0, "bytes": 0.0}
    for channel in ways.values():
        await _one_by_one(channel, 100)
        await _stream(channel, BULK // 8)
    for _, (way, channel) in itertools.product(range(ROUNDS), ways.items()):
        before = processes.cpu(gateway)
        latencies[way] += await _one_by_one(channel, CALLS)
        rates[way].append(await _rate(channel, CALLS))
        between = processes.cpu(gateway)
        speeds[way].append(await _stream(channel, BULK))
        if way == "proxied":
            cpu["calls"] += between - before
            cpu["bytes"] += processes.cpu(gateway) - between
    for way in ways:
        ordered = sorted(latencies[way])
        found[way] = {
            "p50": statistics.median(ordered),
            "p99": ordered[len(ordered) * 99 // 100],
            "rate": max(rates[way]),
            "speed": max(speeds[way]),
        }
    found["cpu_call"] = cpu["calls"] / (2 * CALLS * ROUNDS)
    found["cpu_byte"] = cpu["bytes"] / (BULK * ROUNDS)
    print(json.dumps(found))


async def _one_by_one(channel: Channel, count: int) -> list[float]:
    method, seconds = raw(UNARY), []
    for _ in range(count):
        began = time.perf_counter()
        await channel.unary(method, b"", 30)
        seconds.append(time.perf_counter() - began)
    return seconds


async def _rate(channel: Channel, count: int) -> float:
    method, began = raw(UNARY), time.perf_counter()

    async def some() -> None:
        for _ in range(count // AT_ONCE):
            await channel.unary(method, b"", 30)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return count // AT_ONCE * AT_ONCE / (time.perf_counter() - began)


async def _stream(channel: Channel, size: int) -> float:
    """Bytes a second."""
    method = Method(STREAM.encode(), bytes, len)
    began, received = time.perf_counter(), 0
    async for length in channel.stream(method, b"%d" % (size // FRAME), 120):
        received += length
    assert received == size // FRAME * FRAME
    return received / (time.perf_counter() - began)


ROLES: dict[str, Callable[..., Awaitable[None]]] = {"machine": machine, "gateway": gateway, "client": client}

if __name__ == "__main__":
    asyncio.run(ROLES[sys.argv[1]](*map(int, sys.argv[2:])))  # type: ignore[arg-type]
