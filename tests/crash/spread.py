"""The roles as processes of their own, as on several hosts: each has its own address, and what they share is the
database, Redis, and one folder of keys."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from socket import SOCK_DGRAM, SOCK_STREAM

import httpx
import psycopg

from omni import postgres
from tests.apps.gateways.front import Front
from tests.apps.gateways.lab import free_port

FRONT = "127.0.0.20"
GATEWAYS = {"gateway-1": "127.0.0.21", "gateway-2": "127.0.0.22"}
WEBS = {"web-1": "127.0.0.31", "web-2": "127.0.0.32"}
OTHERS = {"worker-1": "127.0.0.41", "worker-2": "127.0.0.42", "beat-1": "127.0.0.51", "beat-2": "127.0.0.52"}

START_SECONDS = 60.0


@dataclass
class Process:
    """One role on a host of its own, started and killed at will."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.running = subprocess.Popen(
                self.command, env=self.environment, stdout=output, stderr=output, start_new_session=True
            )

    def kill(self) -> None:
        """As `kill -9` does."""
        if self.running is not None:
            self.running.kill()
            self.running.wait()

    def said(self) -> str:
        return f"--- {self.name}\n{self.log.read_text(errors='replace')[-6000:]}"


@dataclass
class Spread:
    """Two gateways, web processes, workers and beats, behind one address."""

    folder: Path
    port: int = field(default_factory=lambda: free_port(SOCK_STREAM))
    udp_port: int = field(default_factory=lambda: free_port(SOCK_DGRAM))
    internal_port: int = field(default_factory=lambda: free_port(SOCK_STREAM))
    probe_port: int = field(default_factory=lambda: free_port(SOCK_STREAM))
    redis_port: int = field(default_factory=lambda: free_port(SOCK_STREAM))
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://{FRONT}:{self.port}"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    def dsn(self, role: str) -> str:
        return f"postgresql://{role}@/omni?host={self.folder / 'run'}"

    @property
    def environment(self) -> dict[str, str]:
        """What all processes are told."""
        return os.environ | {
            "OMNI_KEYS": str(self.keys),
            "OMNI_DATABASE_URL": self.dsn(postgres.APP),
            "OMNI_OWNER_DATABASE_URL": self.dsn(postgres.OWNER),
            "OMNI_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "OMNI_URL": self.url,
        }

    def omni(self, *words: str) -> str:
        """Run a command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "omni", *words], env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Front]:
        """Everything, ready; the front is what people and machines call."""
        server = postgres.Postgres(self.folder / "postgres", self.folder / "run", self.folder / "postgres.log")
        await asyncio.to_thread(server.start)
        try:
            self._define()
            self.processes["redis"].start()
            self.omni("keys")
            self.omni("migrate")
            for process in self.processes.values():
                if process.running is None:
                    process.start()
            async with Front(FRONT, self.port, self.udp_port, *GATEWAYS.values()) as front:
                for name in self.processes:
                    await self.ready(name)
                yield front
        finally:
            for process in self.processes.values():
                process.kill()
            await asyncio.to_thread(server.stop)

    def _define(self) -> None:
        redis = shutil.which("redis-server") or shutil.which("valkey-server")
        assert redis, "the tests need redis-server; see `make tools`"
        options = ["--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self._add("redis", [redis, *options])
        webs = ",".join(f"{host}:{self.internal_port}" for host in WEBS.values())
        for name, host in GATEWAYS.items():
            self._role(name, host, "--name", name, "--listen", f"{host}:{self.port}", "--web", webs)
            self.processes[name].command += ["--advertise", FRONT, "--wireguard-port", str(self.udp_port)]
        for name, host in (WEBS | OTHERS).items():
            self._role(name, host)

    def _role(self, name: str, host: str, *options: str) -> None:
        role = name.partition("-")[0]
        command = [sys.executable, "-m", "omni", role, "--data", str(self.folder / name), *options]
        if role in ("gateway", "web"):
            command += ["--internal", f"{host}:{self.internal_port}"]
        command += ["--bind" if role == "web" else "--probe", f"{host}:{self.probe_port}"]
        self._add(name, command)

    def _add(self, name: str, command: list[str]) -> None:
        self.processes[name] = Process(name, command, self.environment, self.folder / f"{name}.log")

    async def ready(self, name: str) -> None:
        """Wait until a process that was started says so, where it does."""
        process, host = self.processes[name], (GATEWAYS | WEBS | OTHERS).get(name)
        if host is None:
            return
        async with httpx.AsyncClient(timeout=10) as client:

            async def ready() -> bool:
                assert process.running is not None
                assert process.running.poll() is None, process.said()
                try:
                    return (await client.get(f"http://{host}:{self.probe_port}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, START_SECONDS, process.said)

    # What is held where

    async def links(self) -> dict[str, tuple[str, bool, datetime | None]]:
        """(gateway, whether it hears the machine, since which handshake) of each link."""
        async with await psycopg.AsyncConnection.connect(self.dsn(postgres.OWNER), autocommit=True) as connection:
            rows = await connection.execute("SELECT id, gateway, alive, handshake_at FROM machines_link")
            return {str(row[0]): (row[1], row[2], row[3]) for row in await rows.fetchall()}

    async def now(self) -> datetime:
        """The database's time, of which handshakes are."""
        async with await psycopg.AsyncConnection.connect(self.dsn(postgres.OWNER), autocommit=True) as connection:
            row = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
        assert row is not None
        return row[0]

    async def links_back(self, links: set[str], since: datetime, seconds: float) -> float:
        """Wait until the machine of each of these links has shaken hands again; the seconds that it took."""
        started, missing = time.monotonic(), set(links)

        async def back() -> bool:
            now = await self.links()
            for link in list(missing):
                _, alive, handshake = now.get(link, ("", True, datetime.max.replace(tzinfo=since.tzinfo)))
                if alive and handshake is not None and handshake > since:
                    missing.discard(link)  # it may reboot the next moment
            return not missing

        await eventually(back, seconds, lambda: f"{len(missing)} of {len(links)} links are not back")
        return time.monotonic() - started


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float, said: Callable[[], str]) -> None:
    """Wait for what other processes do, which cannot be awaited otherwise."""
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, said()
        await asyncio.sleep(0.2)
