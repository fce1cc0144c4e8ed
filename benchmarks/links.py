"""What a simulated machine takes for its link and its network stack alone: thousands of them fit in a process.

A WireGuard identity with its socket, a session with the server, and one TCP connection over it, open at both ends.
Compared with an idle TLS connection.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import subprocess
import sys

from benchmarks import floors, processes
from benchmarks.bench import Bench
from benchmarks.rows import Row
from nodeagent.dial import Stream
from nodeagent.wireguard.noise import Identity
from nodeagent.wireguard.userspace import UserspaceEngine

COUNT, AT_ONCE, PORT = 500, 25, 8090
SERVER = "fdae:41e4:649b:9303::1"
GOAL, DIAL_SECONDS = 20.0, 60.0


def measure(bench: Bench) -> list[Row]:
    """The machines are in a process of their own; the server is in another."""
    server = subprocess.Popen(_command("server"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        done = subprocess.run(_command("machines", port), capture_output=True, text=True, check=True)
    finally:
        server.kill()
        server.wait()
    size = json.loads(done.stdout) / 1000
    floor = floors.tls_memory() / 1000
    return [Row("link and stack of a simulated machine", size, "kB/machine", floor, "an idle TLS connection", GOAL)]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.links", *arguments]


def _key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def _address(number: int) -> str:
    return f"fdae:41e4:649b:9303:1::{number:x}"


async def _server() -> None:
    engine = UserspaceEngine(_key(0), SERVER, ("127.0.0.1", 0))
    open_streams: list[Stream] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_streams.append((reader, writer))
        writer.write(await reader.readexactly(1))

    await engine.serve(PORT, answer)
    for number in range(1, COUNT + 1):
        await engine.add_peer(Identity(_key(number)).public, _address(number))
    assert engine.udp_address is not None
    print(engine.udp_address[1], flush=True)
    await asyncio.Event().wait()


async def _machines(port: int) -> None:
    gc.collect()
    before = processes.memory(os.getpid())
    public = Identity(_key(0)).public

    async def machine(number: int) -> tuple[UserspaceEngine, Stream]:
        engine = UserspaceEngine(_key(number), _address(number), ("127.0.0.1", 0))
        await engine.add_peer(public, SERVER, ("127.0.0.1", port))
        reader, writer = await engine.dial(SERVER, PORT, DIAL_SECONDS)
        writer.write(b".")
        await reader.readexactly(1)
        return engine, (reader, writer)

    made: list[tuple[UserspaceEngine, Stream]] = []
    for first in range(1, COUNT + 1, AT_ONCE):
        made += await asyncio.gather(*(machine(first + number) for number in range(AT_ONCE)))
    gc.collect()
    print((processes.memory(os.getpid()) - before) / len(made))


if __name__ == "__main__":
    asyncio.run(_server() if sys.argv[1] == "server" else _machines(int(sys.argv[2])))
