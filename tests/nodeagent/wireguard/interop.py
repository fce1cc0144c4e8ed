"""The userspace engine against `wireguard-go` with a real TUN, and the kernel's TCP behind it.

Runs as `unshare -Urnm python -m tests.nodeagent.wireguard.interop SCENARIO`: one network namespace holds both, the
engine on UDP loopback, the machine's overlay address on the TUN.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import struct
import subprocess
import sys
import time
from base64 import b64encode

from nodeagent.wireguard import device
from nodeagent.wireguard.noise import Identity
from nodeagent.wireguard.userspace import UserspaceEngine

SERVER, MACHINE = "fdae:41e4:649b:9303::1", "fdae:41e4:649b:9303:1:2:3:4"
MACHINE_UDP = ("127.0.0.1", 51000)
INTERFACE = "machine0"
PORT = 50000
BULK = 12 << 20


def run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


class Bed:
    """The engine and a wireguard-go that know each other's keys."""

    engine: UserspaceEngine
    machine_key: bytes

    async def __aenter__(self) -> Bed:
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        run("ip", "link", "set", "lo", "up")
        private = os.urandom(32)
        self.machine_key = Identity(private).public
        self._private = b64encode(private).decode()
        self.engine = UserspaceEngine(os.urandom(32), SERVER, ("127.0.0.1", 0))
        self._process = await asyncio.create_subprocess_exec(
            "wireguard-go", "--foreground", INTERFACE,
            env={**os.environ, "LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"},
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await self._wait_for_control_socket()
        run(
            "wg", "set", INTERFACE, "private-key", "/dev/stdin", "listen-port", str(MACHINE_UDP[1]), stdin=self._private
        )
        run("ip", "address", "add", f"{MACHINE}/64", "dev", INTERFACE, "nodad")
        run("ip", "link", "set", INTERFACE, "mtu", "1280", "up")
        return self

    async def _wait_for_control_socket(self) -> None:
        while True:
            with contextlib.suppress(RuntimeError):
                run("wg", "show", INTERFACE)
                return
            await asyncio.sleep(0.02)

    def machine_knows_server(self, with_endpoint: bool) -> None:
        host, port = self.engine.udp_address or ("", 0)
        endpoint = ("endpoint", f"{host}:{port}") if with_endpoint else ()
        key = b64encode(self.engine.public_key).decode()
        run("wg", "set", INTERFACE, "peer", key, "allowed-ips", f"{SERVER}/128", *endpoint)

    async def linked(self) -> Bed:
        await self.engine.add_peer(self.machine_key, MACHINE)
        self.machine_knows_server(with_endpoint=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.close()
        self._process.kill()
        await self._process.wait()


async def kernel_connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(SERVER, port, local_addr=(MACHINE, 0))


async def kernel_serve(handler) -> asyncio.Server:
    return await asyncio.start_server(handler, MACHINE, PORT, family=socket.AF_INET6)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
    """Send `size` random bytes to an echo and compare what comes back, to its end."""
    sent, received, count = hashlib.sha256(), hashlib.sha256(), 0

    async def send() -> None:
        left = size
        while left:
            data = os.urandom(min(left, 1 << 16))
            left -= len(data)
            sent.update(data)
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    while data := await reader.read(1 << 16):
        received.update(data)
        count += len(data)
    await sending
    assert count == size, f"{count} of {size} bytes came back"
    assert received.digest() == sent.digest()
    writer.close()
    await writer.wait_closed()


async def until_handshake(bed: Bed) -> None:
    while (state := await bed.engine.peer(bed.machine_key)) is None or state.last_handshake is None:
        await asyncio.sleep(0.02)
    assert abs(state.last_handshake - time.time()) < 30


async def machine_initiates(bed: Bed) -> None:
    await bed.linked()
    listener = await bed.engine.serve(PORT, echo)
    await exchange(*await kernel_connect(PORT), 1000)
    await until_handshake(bed)
    state = await bed.engine.peer(bed.machine_key)
    assert state is not None
    assert state.endpoint == MACHINE_UDP
    listener.close()


async def server_initiates(bed: Bed) -> None:
    bed.machine_knows_server(with_endpoint=False)
    await bed.engine.add_peer(bed.machine_key, MACHINE, MACHINE_UDP)
    await until_handshake(bed)
    server = await kernel_serve(echo)
    await exchange(*await bed.engine.dial(MACHINE, PORT), 1000)
    server.close()


async def bulk_dialled_by_server(bed: Bed) -> None:
    bed.machine_knows_server(with_endpoint=False)
    await bed.engine.add_peer(bed.machine_key, MACHINE, MACHINE_UDP)
    server = await kernel_serve(echo)
    await exchange(*await bed.engine.dial(MACHINE, PORT), BULK)
    server.close()


async def bulk_dialled_by_machine(bed: Bed) -> None:
    await bed.linked()
    await bed.engine.serve(PORT, echo)
    await exchange(*await kernel_connect(PORT), BULK)
    counters = await bed.engine.counters()
    assert counters.dropped_malformed == counters.dropped_unauthenticated == 0


async def one_percent_loss(bed: Bed) -> None:
    await bed.linked()
    run("nft", "add table inet rig")
    run("nft", "add chain inet rig input { type filter hook input priority 0; }")
    run("nft", "add rule inet rig input meta l4proto udp numgen random mod 1000 < 10 counter drop")
    await bed.engine.serve(PORT, echo)
    await exchange(*await kernel_connect(PORT), BULK // 4)
    server = await kernel_serve(echo)
    await exchange(*await bed.engine.dial(MACHINE, PORT), BULK // 4)
    server.close()
    assert "counter packets 0 " not in run("nft", "list ruleset")


async def ping(bed: Bed) -> None:
    await bed.linked()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setblocking(False)
        raw.bind((MACHINE, 0))
        data = os.urandom(1100)
        await loop.sock_sendto(raw, bytes((128, 0, 0, 0, 1, 2, 3, 4)) + data, (SERVER, 0))
        while (answer := await loop.sock_recv(raw, 2000))[0] != 129:
            pass
        assert answer[4:] == bytes((1, 2, 3, 4)) + data


async def closed_ports_refuse(bed: Bed) -> None:
    await bed.linked()
    await bed.engine.listen(PORT, asyncio.Protocol, admit=lambda address: address != MACHINE)
    refused = 0
    for attempt in (kernel_connect(9), kernel_connect(PORT), bed.engine.dial(MACHINE, 9)):
        try:
            await attempt
        except ConnectionRefusedError:
            refused += 1
    assert refused == 3


async def cookie_under_load(bed: Bed) -> None:
    device.INITIATIONS_BEFORE_LOAD = 0
    await bed.linked()
    await bed.engine.serve(PORT, echo)
    await exchange(*await kernel_connect(PORT), 1000)
    assert (await bed.engine.counters()).cookies_sent == 1


async def resets_arrive_both_ways(bed: Bed) -> None:
    await bed.linked()

    async def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        if kernel := writer.get_extra_info("socket"):
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def is_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"x")
        try:
            await reader.read()
        except ConnectionResetError:
            return True
        return False

    await bed.engine.serve(PORT, abort)
    assert await is_reset(*await kernel_connect(PORT))
    server = await kernel_serve(abort)
    assert await is_reset(*await bed.engine.dial(MACHINE, PORT))
    server.close()


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        machine_initiates,
        server_initiates,
        bulk_dialled_by_server,
        bulk_dialled_by_machine,
        one_percent_loss,
        ping,
        closed_ports_refuse,
        cookie_under_load,
        resets_arrive_both_ways,
    )
}


async def main(name: str) -> None:
    async with asyncio.timeout(100), Bed() as bed:
        await SCENARIOS[name](bed)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
