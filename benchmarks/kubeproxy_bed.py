"""The processes of `kubeproxy.py`: `python -m benchmarks.kubeproxy_bed api|gateway|client ...`.

An API server that says what was made before; the public port and the proxy of a gateway with a gate that lets everybody
in; and a client that asks the API itself and through the gateway.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import ssl
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from apps.gateways.public import PublicPort
from apps.gateways.upstream import on_socket
from benchmarks import processes
from nodeagent import tls
from nodeagent.caller import Caller
from nodeagent.dial import Stream
from nodeagent.kubeproxy.ports import Passage, Request
from nodeagent.kubeproxy.server import KubernetesProxy
from nodeagent.sockets import new_socket_path
from talos import pki

HOST = "127.0.0.1"
PREFIX = "/k8s/bench/bench"
GETS, ROUNDS, WATCHES = 1000, 3, 1000
OBJECT = json.dumps({"kind": "Pod", "metadata": {"name": "a" * 8000}}).encode()
"""About as large as a pod."""
LINES = (b"2026-01-01T00:00:00Z a line of a log, as long as they usually are, or nearly so\n" * 900)[: 64 * 1024]
BULK = 128 << 20

_NOW = datetime.now(UTC)
_WATCH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{}\r\n\r\n"
_GET = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(OBJECT) + OBJECT
_LOG = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


async def api() -> None:
    """Shows a certificate of an authority that it sends with it to whoever asks at `/ca`."""
    authority = pki.kubernetes_ca(_NOW)
    shown = pki.kube_apiserver(authority, _NOW, [ip_address(HOST)], ["kubernetes.default.svc"])
    context = tls.server_context(shown)
    context.set_alpn_protocols(["http/1.1"])
    client = pki.kubernetes_admin(authority, _NOW)

    async def answer(stream: tls.TlsStream, target: bytes) -> None:
        if b"watch" in target:
            await stream.write(_WATCH)
        elif b"log" in target:
            await stream.write(_LOG)
            piece = b"%x\r\n" % len(LINES) + LINES + b"\r\n"
            for _ in range(BULK // len(LINES)):
                await stream.write(piece)
            await stream.write(b"0\r\n\r\n")
        elif b"ca" in target:
            made = json.dumps([part.decode() for part in (authority.crt, client.crt, client.key)]).encode()
            await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(made) + made)
        else:
            await stream.write(_GET)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = tls.TlsStream(reader, writer, context, server_side=True)
        try:
            await stream.handshake()
            while head := await stream.read():
                await answer(stream, head.split(b" ")[1])
        finally:
            stream.close()

    server = await asyncio.start_server(accept, HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Ticket:
    def __init__(self) -> None:
        self.withdrawn: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def over(self, outcome: str) -> None:
        pass


class Gate:
    def __init__(self, credentials: tls.Credentials) -> None:
        self._credentials = credentials

    async def admit(self, request: Request) -> Passage:
        return Passage("ann@example.com", ("omni:operator",), (HOST,), self._credentials, Ticket())


async def gateway(port: int, path: Path) -> None:
    async def dial(address: str, _: int) -> Stream:
        return await asyncio.open_connection(address, port)

    asked = await connected(port)
    _, body = await get(asked, "/ca")
    ca, crt, key = (part.encode() for part in json.loads(body))
    await KubernetesProxy(Gate(tls.Credentials(ca, tls.CertKey(crt, key))), dial).start(path)
    shown = pki.kube_apiserver(pki.kubernetes_ca(_NOW), _NOW, [ip_address(HOST)])

    def context() -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.set_alpn_protocols(["http/1.1"])
        tls.load_identity(made, shown)
        return made

    nowhere = on_socket(new_socket_path())
    public = PublicPort(context, nowhere, nowhere, on_socket(path))
    with socket.create_server((HOST, 0)) as taken:
        number = taken.getsockname()[1]
    serving = asyncio.create_task(public.serve(HOST, number))
    print(number, flush=True)
    await serving


# The client


async def connected(port: int) -> tls.TlsStream:
    """Nothing of the server's certificate is looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    stream = tls.TlsStream(*await asyncio.open_connection(HOST, port), context, piece=tls.CHUNK)
    await stream.handshake()
    return stream


async def get(stream: tls.TlsStream, target: str) -> tuple[bytes, bytes]:
    """Head and body of an answer that has a length."""
    await stream.write(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    data = await stream.read()
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += await stream.read()
    return head, body


async def gets(stream: tls.TlsStream, prefix: str, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        await get(stream, f"{prefix}/api/v1/namespaces/a/pods/b")
        seconds.append(time.perf_counter() - began)
    return seconds


async def logs(port: int, prefix: str) -> float:
    """Bytes a second."""
    stream, received, end = await connected(port), 0, b""
    began = time.perf_counter()
    await stream.write(f"GET {prefix}/log?follow=true HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    while not end.endswith(b"\r\n0\r\n\r\n"):
        data = await stream.read()
        received += len(data)
        end = (end + data)[-7:]
    assert received > BULK - len(LINES)
    stream.close()
    return received / (time.perf_counter() - began)


async def client(direct: int, proxied: int, gateway: int, path: Path) -> None:
    ways = {"direct": (direct, ""), "proxied": (proxied, PREFIX)}
    streams = {way: await connected(port) for way, (port, _) in ways.items()}
    latencies: dict[str, list[float]] = {way: [] for way in ways}
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    cpu = {"gets": 0.0, "bytes": 0.0}
    for way, (port, prefix) in ways.items():
        await gets(streams[way], prefix, 100)
        await logs(port, prefix)
    for _, (way, (port, prefix)) in itertools.product(range(ROUNDS), ways.items()):
        before = processes.cpu(gateway)
        latencies[way] += await gets(streams[way], prefix, GETS)
        between = processes.cpu(gateway)
        speeds[way].append(await logs(port, prefix))
        if way == "proxied":
            cpu["gets"] += between - before
            cpu["bytes"] += processes.cpu(gateway) - between
    found: dict[str, object] = {
        way: {
            "p50": statistics.median(latencies[way]),
            "p99": sorted(latencies[way])[len(latencies[way]) * 99 // 100],
            "speed": max(speeds[way]),
        }
        for way in ways
    }
    found |= {"cpu_get": cpu["gets"] / (GETS * ROUNDS), "cpu_byte": cpu["bytes"] / (BULK * ROUNDS)}
    print(json.dumps(found | await watches(proxied, gateway, path)))


async def watches(port: int, gateway: int, path: Path) -> dict[str, float]:
    """Bytes of the gateway for each watch, and how many of them its public port takes."""
    request = f"GET {PREFIX}/api/v1/pods?watch=true HTTP/1.1\r\nHost: a\r\n\r\n".encode()

    async def through(open_: Callable[[], Awaitable[object]]) -> float:
        before = processes.memory(gateway)
        kept = [await open_() for _ in range(WATCHES)]
        return (processes.memory(gateway) - before) / len(kept)

    async def public() -> tls.TlsStream:
        stream = await connected(port)
        await stream.write(request)
        assert (await stream.read()).startswith(b"HTTP/1.1 200")
        return stream

    async def inside() -> Stream:
        stream = await asyncio.open_unix_connection(sock=await Caller("https", HOST, 1).connect(path))
        stream[1].write(request)
        assert (await stream[0].read(1000)).startswith(b"HTTP/1.1 200")
        return stream

    alone = await through(inside)
    whole = await through(public)
    return {"watch": whole, "front": whole - alone}


ROLES: dict[str, Callable[..., Awaitable[None]]] = {"api": api, "gateway": gateway, "client": client}

if __name__ == "__main__":
    role, *given = sys.argv[1:]
    asyncio.run(ROLES[role](*(int(one) if one.isdecimal() else Path(one) for one in given)))
