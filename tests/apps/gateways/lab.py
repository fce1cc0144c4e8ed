"""A gateway in this process on the test database, and simulated machines that join it over loopback."""

import asyncio
import base64
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from apps.access.actor import Actor
from apps.gateways import program
from apps.machines import actions
from apps.machines.models import Machine
from apps.machines.queries import machines
from apps.reconcile.outbox import CHANGES_CHANNEL
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent import dial
from nodeagent.simulator.boot import Boot
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.image import Image
from nodeagent.simulator.timings import Timings
from talos import pki

T = TypeVar("T")

HOST = "127.0.0.1"
GATEWAY = "gateway under test"
FAST = replace(Timings().scaled(0.02), reboot=0.05)
DEADLINE = 60.0


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass
class Lab:
    """What a test does with a gateway and its machines."""

    settings: program.Settings
    organisation: Organisation

    @property
    def owner(self) -> Actor:
        return Actor("user", "1", "owner@example.com", self.organisation.id, "owner")

    @classmethod
    def make(cls, folder: Path, dsn: str, organisation: Organisation) -> "Lab":
        """A new installation's files. Ports are free ones, and stay the same over restarts."""
        run = folder / "run"
        run.mkdir()
        (folder / "wireguard.key").write_text(base64.b64encode(os.urandom(32)).decode())
        now = datetime.now(UTC)
        authority = pki.kubernetes_ca(now)
        pair = pki.kube_apiserver(authority, now, [ip_address(HOST)])
        (folder / "ca.crt").write_bytes(authority.crt)
        (folder / "server.crt").write_bytes(pair.crt)
        (folder / "server.key").write_bytes(pair.key)
        settings = program.Settings(
            name="lab",
            wireguard_key=folder / "wireguard.key",
            run=run,
            host=HOST,
            port=free_port(socket.SOCK_STREAM),
            advertise=HOST,
            wireguard="userspace",
            wireguard_port=free_port(socket.SOCK_DGRAM),
            dsn=make_conninfo(dsn, application_name=GATEWAY),
            certificate=folder / "server.crt",
            key=folder / "server.key",
        )
        return cls(settings, organisation)

    @contextlib.asynccontextmanager
    async def gateway(self) -> AsyncIterator[None]:
        """The gateway, for as long as the block runs. An error in it ends the block."""
        running = asyncio.create_task(program.run(self.settings))
        body = asyncio.current_task()
        assert body is not None
        broken: list[BaseException] = []

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()):
                broken.append(error)
                body.cancel()

        running.add_done_callback(ended)
        try:
            yield
        except asyncio.CancelledError:
            if broken:
                raise broken[0] from None
            raise
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def fleet(
        self, token: str, count: int = 1, tunnel: bool = False, version: str = "v1.13.8", seed: str = "t"
    ) -> Fleet:
        """Simulated machines with a join token in their kernel arguments."""
        tunnelled = "grpc_tunnel=true&" if tunnel else ""
        api = f"grpc://{HOST}:{self.settings.port}?{tunnelled}jointoken={token}"
        return Fleet(FleetOptions(machines=count, api=api, image=Image(version), seed=seed, timings=FAST))

    async def token(self, name: str = "t") -> str:
        """A new join token."""
        return await self.ask(lambda: actions.create_join_token(self.owner, name).token)

    async def ask(self, work: Callable[[], T]) -> T:
        """Run database work of the organisation."""

        def scoped() -> T:
            with tenant_scope(self.organisation.id):
                return work()

        return await in_thread(scoped)

    async def until(self, look: Callable[[], T | None]) -> T:
        """What `look`, in the organisation's scope, finds at last: it looks again after every change."""
        async with await psycopg.AsyncConnection.connect(self.settings.dsn, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANGES_CHANNEL}")
            async with asyncio.timeout(DEADLINE):
                while not (found := await self.ask(look)):
                    async for _ in connection.notifies(timeout=1, stop_after=1):
                        pass
        return found

    async def machine(self, uuid: str, holds: Callable[[Machine], object] = lambda _: True) -> Machine:
        """The machine with this UUID, once it is there and `holds` is true of it."""

        def look() -> Machine | None:
            found = machines().filter(uuid=uuid).first()
            return found if found is not None and holds(found) else None

        return await self.until(look)

    async def dropped(self, machine: Machine) -> None:
        """Wait until the gateway lets a removed machine's link in no longer."""
        path = self.settings.run / "gateway.sock"
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    _, writer = await dial.through(path, str(machine.link.address), 50000)
                    writer.close()
                    await asyncio.sleep(0.1)
                except OSError:
                    return

    async def cut_database(self) -> None:
        """Break the gateway's own connections to the database, as its restart would."""
        async with await psycopg.AsyncConnection.connect(self.settings.dsn, autocommit=True) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND application_name = %s",
                [GATEWAY],
            )


def complete(machine: Machine) -> bool:
    """Everything of the inventory that a machine in maintenance mode tells."""
    seen = machine.observation
    return bool(
        seen.connected and seen.reachable and seen.stage == "maintenance" and seen.hostname and seen.talos_version
        and seen.cores and seen.memory_mib and seen.disks and seen.addresses and seen.network.get("links")
        and seen.boot_id and seen.platform and seen.kernel_cmdline
    )  # fmt: skip


async def logged(boot: Boot, text: str) -> None:
    """Wait until a machine's kernel log holds a line with this text."""
    async with asyncio.timeout(DEADLINE):
        async for message in boot.kernel_log.read():
            if text in message.text:
                return
