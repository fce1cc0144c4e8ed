"""The scenarios of `wireguard.py`, each a process of its own: `python -m benchmarks.wireguard_bed SCENARIO`.

`engine` and `wireguard-go` need namespaces: run them by `unshare -Urnm`. The machine is in a second network namespace,
at the other end of a veth pair. `udp` and `grpc` have both ends in two processes over loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from benchmarks import processes
from nodeagent.dial import Stream
from nodeagent.siderolink.tunnel import ADDRESS_KEY, Tunnels
from nodeagent.wireguard.noise import Identity
from nodeagent.wireguard.userspace import UserspaceEngine
from talos.gen.sidero import link_pb2, link_pb2_grpc

SERVER, MACHINE = "fdae:41e4:649b:9303::1", "fdae:41e4:649b:9303:1:2:3:4"
OUR_HOST, ITS_HOST = "192.0.2.1", "192.0.2.2"
TAG = "[fdae:41e4:649b:9303::99]:50888"
PORT, UDP_PORT = 50000, 51000
MTU = 1280
BULK = 64 << 20
CHUNK = 1 << 18
GIGABYTE = 1_000_000_000
KEYS = {SERVER: bytes(range(32)), MACHINE: bytes(range(32, 64))}
"""Private keys; they protect nothing but these namespaces."""


def public(address: str) -> bytes:
    return Identity(KEYS[address]).public


def run(*command: str, stdin: str | None = None) -> str:
    """What a command prints. Raises RuntimeError with what it says."""
    done = subprocess.run(command, input=stdin, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


# The machine: takes everything and answers a byte at the end


async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(CHUNK):
        pass
    writer.write(b".")
    await writer.drain()
    writer.close()


async def kernel_sink() -> None:
    server = await asyncio.start_server(sink, MACHINE, PORT)
    print("ready", flush=True)
    await server.serve_forever()


async def engine_sink(transport: str, port: int) -> None:
    """A machine made of software, linked to the server on loopback."""
    engine = UserspaceEngine(KEYS[MACHINE], MACHINE, ("127.0.0.1", 0) if transport == "udp" else None)
    await engine.serve(PORT, sink)
    if transport == "udp":
        await engine.add_peer(public(SERVER), SERVER, ("127.0.0.1", port))
    else:
        await engine.add_peer(public(SERVER), SERVER, TAG)
        await relay(engine, port)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def relay(engine: UserspaceEngine, port: int) -> None:
    """Carry the engine's packets in one stream, as Talos does."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    stream = link_pb2_grpc.WireGuardOverGRPCServiceStub(channel).CreateStream(metadata=[(ADDRESS_KEY, TAG)])
    packets: asyncio.Queue[bytes] = asyncio.Queue()

    async def send() -> None:
        while True:
            await stream.write(link_pb2.PeerPacket(Data=await packets.get()))

    async def receive() -> None:
        while (packet := await stream.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            engine.feed(TAG, packet.Data)

    engine.attach(TAG, packets.put_nowait)
    tasks.extend((asyncio.ensure_future(send()), asyncio.ensure_future(receive())))


tasks: list[asyncio.Future[None]] = []
"""What runs until the process ends."""


# Our end


async def send_bulk(stream: Stream, size: int) -> None:
    reader, writer = stream
    data = bytes(CHUNK)
    for _ in range(size // CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
    await reader.readexactly(1)
    writer.close()


async def measured(dial: Callable[[], Awaitable[Stream]], cpu: Callable[[], float]) -> dict[str, float]:
    """Seconds and seconds of processor for a gigabyte, after a warm-up."""
    await send_bulk(await dial(), CHUNK * 16)
    began, used = time.monotonic(), cpu()
    await send_bulk(await dial(), BULK)
    scale = GIGABYTE / BULK
    return {"s": (time.monotonic() - began) * scale, "cpu": (cpu() - used) * scale}


def own_cpu() -> float:
    return time.process_time()


async def engine() -> dict[str, float]:
    """Ours to a real `wireguard-go`."""
    async with machine_namespace():
        ours = UserspaceEngine(KEYS[SERVER], SERVER, (OUR_HOST, UDP_PORT))
        await ours.add_peer(public(MACHINE), MACHINE, (ITS_HOST, UDP_PORT))
        return await measured(lambda: ours.dial(MACHINE, PORT), own_cpu)


async def wireguard_go() -> dict[str, float]:
    """A `wireguard-go` in our place; its processor is that of the process and of TCP in this one."""
    async with machine_namespace(), device("server0", SERVER, MACHINE, ITS_HOST) as process:

        def cpu() -> float:
            return own_cpu() + processes.cpu(process.pid)

        return await measured(lambda: asyncio.open_connection(MACHINE, PORT), cpu)


async def both_ends(transport: str) -> dict[str, float]:
    """Ours to ours over loopback."""
    server = grpc.aio.server()
    ours = UserspaceEngine(KEYS[SERVER], SERVER, ("127.0.0.1", 0) if transport == "udp" else None)
    if transport == "udp":
        await ours.add_peer(public(MACHINE), MACHINE)
        port = ours.udp_address[1] if ours.udp_address else 0
    else:
        tunnels = Tunnels(ours, _unknown)
        tunnels.allow(TAG)
        link_pb2_grpc.add_WireGuardOverGRPCServiceServicer_to_server(tunnels, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        await ours.add_peer(public(MACHINE), MACHINE, TAG)
    async with child(sys.executable, "-m", "benchmarks.wireguard_bed", "engine-sink", transport, str(port)):
        found = await measured(lambda: ours.dial(MACHINE, PORT), own_cpu)
    await server.stop(None)
    return found


async def _unknown(tag: str) -> None:
    """Nobody else carries a tunnel."""


# Namespaces


@contextlib.asynccontextmanager
async def child(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that says when it is ready."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{' '.join(command)} did not start")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def machine_namespace() -> AsyncIterator[None]:
    """A machine at the other end of a veth pair."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "set", "lo", "up")
    run("ip", "netns", "add", "machine")
    run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", "netns", "machine")
    for namespace, link, host in (((), "veth0", OUR_HOST), (("-n", "machine"), "veth1", ITS_HOST)):
        run("ip", *namespace, "address", "add", f"{host}/24", "dev", link)
        run("ip", *namespace, "link", "set", link, "up")
    inside = ("ip", "netns", "exec", "machine")
    async with (
        device("machine0", MACHINE, SERVER, OUR_HOST, inside),
        child(*inside, sys.executable, "-m", "benchmarks.wireguard_bed", "kernel-sink"),
    ):
        yield


@contextlib.asynccontextmanager
async def device(
    name: str, address: str, peer: str, peer_host: str, inside: tuple[str, ...] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A `wireguard-go` with a TUN, linked to its only peer."""
    process = await asyncio.create_subprocess_exec(
        *inside, "wireguard-go", "--foreground", name,
        env={**os.environ, "LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            with contextlib.suppress(RuntimeError):
                run(*inside, "wg", "show", name)
                break
            await asyncio.sleep(0.02)
        private = b64encode(KEYS[address]).decode()
        run(*inside, "wg", "set", name, "private-key", "/dev/stdin", "listen-port", str(UDP_PORT), stdin=private)
        key = b64encode(public(peer)).decode()
        endpoint = f"{peer_host}:{UDP_PORT}"
        run(*inside, "wg", "set", name, "peer", key, "allowed-ips", f"{peer}/128", "endpoint", endpoint)
        run(*inside, "ip", "address", "add", f"{address}/64", "dev", name, "nodad")
        run(*inside, "ip", "link", "set", name, "mtu", str(MTU), "up")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


SCENARIOS: dict[str, Callable[[], Any]] = {
    "engine": engine,
    "wireguard-go": wireguard_go,
    "udp": lambda: both_ends("udp"),
    "grpc": lambda: both_ends("grpc"),
}


def main() -> None:
    match sys.argv[1:]:
        case ["kernel-sink"]:
            asyncio.run(kernel_sink())
        case ["engine-sink", transport, port]:
            asyncio.run(engine_sink(transport, int(port)))
        case [scenario]:
            print(json.dumps(asyncio.run(SCENARIOS[scenario]())))


if __name__ == "__main__":
    main()
