"""The whole gateway and a simulated machine, one of them on `wireguard-go`, a TUN and the kernel's TCP.

Runs as `unshare -Urnm python -m tests.apps.gateways.wireguardgo SIDE FOLDER SLUG TOKEN`, SIDE being
machine or gateway, with the database's address in the environment: the network namespace holds both ends, the database
is reached by its unix socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import django

from nodeagent.simulator.machine import Machine

INTERFACE = "siderolink"
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


class WireGuardGo:
    """What a simulated machine needs of an engine, from a `wireguard-go` of its own."""

    def __init__(self, private_key: bytes, address: str, udp: object) -> None:
        self._private, self._address = b64encode(private_key).decode(), address
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._servers: list[asyncio.Server] = []

    async def _ready(self) -> None:
        async with self._starting:
            if self._process is not None:
                return
            self._process = await asyncio.create_subprocess_exec(
                "wireguard-go", "--foreground", INTERFACE,
                env={**os.environ, "LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"},
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            while True:  # there is nothing to wait for but its control socket
                with contextlib.suppress(RuntimeError):
                    run("wg", "show", INTERFACE)
                    break
                await asyncio.sleep(0.02)
            run("wg", "set", INTERFACE, "private-key", "/dev/stdin", stdin=self._private)
            run("ip", "address", "add", f"{self._address}/64", "dev", INTERFACE, "nodad")
            run("ip", "link", "set", INTERFACE, "mtu", "1280", "up")

    async def add_peer(self, public_key: bytes, address: str, endpoint: tuple[str, int]) -> None:
        await self._ready()
        host, port = endpoint
        run(
            "wg", "set", INTERFACE, "peer", b64encode(public_key).decode(), "allowed-ips", f"{address}/128",
            "endpoint", f"{host}:{port}", "persistent-keepalive", "25",
        )  # fmt: skip

    async def peer(self, public_key: bytes) -> Any:
        handshakes = dict(line.split("\t") for line in run("wg", "show", INTERFACE, "latest-handshakes").splitlines())
        return type("Peer", (), {"last_handshake": float(handshakes[b64encode(public_key).decode()])})

    async def serve(self, port: int, handler: Callable[..., Awaitable[None]]) -> asyncio.Server:
        await self._ready()
        server = await asyncio.start_server(handler, self._address, port, family=socket.AF_INET6)
        self._servers.append(server)
        return server

    async def dial(self, host: str, port: int) -> Stream:
        return await asyncio.open_connection(host, port, local_addr=(self._address, 0))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        if self._process is not None:
            self._process.kill()
            await self._process.wait()


async def lab_of(folder: Path, slug: str) -> Any:
    from apps.tenants.models import Organisation
    from apps.tenants.rls import ask
    from apps.tenants.threads import in_thread
    from tests.apps.gateways.lab import Lab

    found = await in_thread(lambda: ask("find_organisation", slug))
    return Lab.make(folder, os.environ["OMNI_DATABASE_URL"], Organisation(id=found[0][0], slug=slug))


async def gateway(folder: Path, slug: str, token: str) -> None:
    """Machines join a gateway on an interface by each kind of link, and are back after its restart."""
    from apps.machines.history import log_lines
    from apps.machines.models import MachineEvent
    from tests.apps.gateways import behind
    from tests.apps.gateways.lab import complete

    lab = await lab_of(folder, slug)
    lab.settings = replace(lab.settings, wireguard="wireguard-go")
    net = behind.network()
    async with (
        lab.fleet(token) as udp,
        lab.fleet(token, tunnel=True, seed="tunnel") as tunnel,
        behind.fleet(net) as apart,
        behind.running_agent(lab, token, behind.host(net)),
    ):
        joined = [
            (udp.machines[0], complete),
            (tunnel.machines[0], complete),
            (apart.machines[0], behind.up),  # some of the inventory is for administrators
        ]
        async with lab.gateway():
            for simulated, is_seen in joined:
                machine = await lab.machine(simulated.hardware.uuid, is_seen)
                said = {"machine": machine, "kind": "MachineStatusEvent"}
                await lab.until(lambda said=said: MachineEvent.objects.filter(**said).exists())
            over_udp = await lab.machine(udp.machines[0].hardware.uuid, lambda m: m.link.last_endpoint)
            assert len(run("wg", "show", f"omni{lab.settings.wireguard_port}", "peers").split()) == 2
            assert not over_udp.link.last_endpoint.startswith("127.64."), "a tunnel's socket was taken for an endpoint"
        async with lab.gateway():
            for simulated, is_seen in joined:
                machine = await lab.machine(simulated.hardware.uuid, is_seen)

                def heard(simulated: Machine = simulated, machine: Any = machine) -> bool:
                    """Each look says a line more: what is written into a connection that just broke is lost."""
                    assert simulated.boot
                    simulated.boot.kernel_log.talos("still here")
                    return any(b"still here" in line for _, line in log_lines(machine))

                await lab.until(heard)


async def machine(folder: Path, slug: str, token: str) -> None:
    """A machine joins, is followed, tells events and lines; then the gateway restarts under it."""
    from apps.machines.history import log_lines
    from apps.machines.models import MachineEvent
    from nodeagent.simulator import link
    from tests.apps.gateways.lab import complete

    link.UserspaceEngine = WireGuardGo  # type: ignore[assignment, misc]
    lab = await lab_of(folder, slug)
    async with lab.fleet(token) as fleet:
        simulated = fleet.machines[0]
        async with lab.gateway():
            machine = await lab.machine(simulated.hardware.uuid, lambda m: complete(m) and m.link.last_endpoint)
            await lab.until(lambda: MachineEvent.objects.filter(machine=machine, kind="MachineStatusEvent").exists())
            await lab.until(lambda: any(b"siderolink provisioned" in line for _, line in log_lines(machine)))
            handshakes = run("wg", "show", INTERFACE, "latest-handshakes").split()
            assert b64decode(handshakes[0])
            assert int(handshakes[1]) > 0
        async with lab.gateway():
            assert simulated.boot
            simulated.boot.kernel_log.talos("still here")
            await lab.until(lambda: any(b"still here" in line for _, line in log_lines(machine)))
            again = await lab.machine(machine.uuid, complete)
            assert again.link.address == machine.link.address


if __name__ == "__main__":
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "set", "lo", "up")
    django.setup()
    side = {"machine": machine, "gateway": gateway}[sys.argv[1]]
    asyncio.run(side(Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
    print("joined")
