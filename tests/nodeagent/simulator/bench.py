"""Simulated machines on a bench: no link, but a caller may pretend to be anywhere."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from nodeagent.client import NodeClient
from nodeagent.simulator.boot import Boot
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.image import Image
from nodeagent.simulator.machine import Machine
from nodeagent.simulator.mesh import Mesh
from nodeagent.simulator.timings import Timings
from nodeagent.tls import Credentials
from talos import pki, secrets
from talos.config import patch
from talos.config.document import encode
from talos.config.generate import GenerateInput, generate
from talos.contract import VersionContract
from talos.machinetype import MachineType
from talos.pem import CertKey
from talos.resources import ResourceType

OVERLAY = "fdae:41e4:649b:9303::1"
"""Where the control plane calls from: administrator in maintenance mode."""
LAN = "192.0.2.7"

SCHEMATIC = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
FACTORY_IMAGE = f"factory.example.org/metal-installer/{SCHEMATIC}:v1.13.8"

PATIENCE = 60.0
"""Seconds until a test gives up."""

FAST = replace(Timings().scaled(0.01), reboot=0.05, node_lost=0.2)


@functools.cache
def bundle() -> secrets.Bundle:
    """One set of secrets for all tests: they take a while to make."""
    return secrets.new_bundle(datetime.now(UTC), VersionContract.parse("v1.13"))


@dataclass
class Bench:
    """A fleet and ways to call its machines."""

    fleet: Fleet
    _callers: set[asyncio.Task[None]] = field(default_factory=set)

    async def connect(
        self, machine: Machine, port: int, source: str = OVERLAY
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to an open port of a machine, from any address. Raises ConnectionRefusedError."""
        opened = machine.boot.ports.find(port) if machine.boot else None
        if opened is None:
            raise ConnectionRefusedError(f"port {port} is closed")
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=theirs)
        task = asyncio.create_task(opened.accept(reader, writer, source))
        self._callers.add(task)
        task.add_done_callback(self._callers.discard)
        return await asyncio.open_connection(sock=ours)

    def client(self, machine: Machine, *roles: str, source: str = OVERLAY, bundle_: secrets.Bundle | None = None):
        """Without roles: as one calls a machine in maintenance mode."""
        credentials = None
        if roles:
            made = bundle_ or bundle()
            credentials = Credentials(made.os.crt, pki.talos_client(made.os, roles, datetime.now(UTC)))
        return NodeClient(lambda: self.connect(machine, 50000, source), credentials, name=machine.hardware.uuid)


@contextlib.asynccontextmanager
async def bench(
    machines: int = 1,
    version: str = "v1.13.8",
    timings: Timings = FAST,
    mesh: Mesh | None = None,
    **options: object,
) -> AsyncIterator[Bench]:
    """Machines that have just been switched on."""
    chosen = FleetOptions(machines=machines, image=Image(version), timings=timings, **options)  # type: ignore[arg-type]
    async with asyncio.timeout(PATIENCE), Fleet(chosen, mesh=mesh) as fleet:
        yield Bench(fleet)


async def in_stage(machine: Machine, stage: str) -> Boot:
    """Wait until a boot of the machine is in a stage."""
    while True:
        boot = await machine.booted()
        if boot.stage == stage:
            return boot
        await boot.next_status()


async def next_boot(machine: Machine, before: Boot, stage: str = "maintenance") -> Boot:
    """Wait until another boot than `before` is in a stage."""
    while (boot := await machine.booted()) is before:
        await before.next_status()
        await asyncio.sleep(0)
    return await in_stage(machine, stage) if boot.stage != stage else boot


async def install(b: Bench, machine: Machine) -> Boot:
    """Install in maintenance mode and reboot; the boot from the disk, in maintenance again."""
    first = await in_stage(machine, "maintenance")
    async with b.client(machine) as client:
        await client.wait_for_answer(5)
        pinned = await client.pull_image(FACTORY_IMAGE.replace("v1.13.8", machine.medium.version))
        async for _ in client.install(pinned, "/dev/vda"):
            pass
        await client.reboot()
    return await next_boot(machine, first)


async def until(boot: Boot, kind: ResourceType, holds: Callable[[dict[str, Any]], bool], namespace: str = "") -> None:
    """Wait until the specs of all resources of a type, by id, are as they should be."""
    collection = boot.store.collection(kind, namespace)
    while not holds({id: resource.spec for id, resource in collection.items.items()}):
        await collection.after(collection.position)


async def configure(b: Bench, machine: Machine, data: bytes) -> Boot:
    """Install a machine and give it its configuration; the boot that follows it."""
    await install(b, machine)
    async with b.client(machine) as client:
        await client.wait_for_answer(5)
        await client.apply_configuration(data)
    return await in_stage(machine, "booting")


async def run_cluster(b: Bench, control_planes: int, workers: int = 0, patches: Sequence[str] = ()) -> list[Machine]:
    """Make a cluster of the first machines, the control planes first, and wait until all are ready."""
    machines = b.fleet.machines[: control_planes + workers]

    async def join(number: int, machine: Machine) -> None:
        await install(b, machine)
        kind = MachineType.CONTROLPLANE if number < control_planes else MachineType.WORKER
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            await client.apply_configuration(config(kind, patches=patches))

    await asyncio.gather(*(join(number, machine) for number, machine in enumerate(machines)))
    async with b.client(machines[0], "os:admin") as client:
        await client.wait_for_answer(5)
        boot = await machines[0].booted()
        while not boot.services.up("cri"):
            await boot.next_status()
        await client.bootstrap()
    for machine in machines:
        boot = await in_stage(machine, "running")
        while not boot.ready:
            await boot.next_status()
    return machines


def config(
    machine_type: MachineType = MachineType.CONTROLPLANE,
    *,
    contract: str = "v1.13",
    kubernetes: str = "1.36.3",
    endpoint: str = "https://127.0.0.1:6443",
    disk: str = "/dev/vda",
    image: str = "ghcr.io/siderolabs/installer:v1.13.8",
    patches: Sequence[str] = (),
) -> bytes:
    """A configuration of the tests' cluster."""
    given = GenerateInput(
        cluster_name="bench",
        endpoint=endpoint,
        kubernetes_version=kubernetes,
        bundle=bundle(),
        contract=VersionContract.parse(contract),
        install_disk=disk,
        install_image=image,
    )
    return encode(patch.apply(generate(given, machine_type), map(patch.load_patch, patches))).encode()


def admin() -> CertKey:
    """An administrator of the tests' cluster's Kubernetes."""
    return pki.kubernetes_admin(bundle().k8s, datetime.now(UTC))
