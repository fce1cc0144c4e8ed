"""Many machines in one process."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from nodeagent.simulator import hardware
from nodeagent.simulator.api import ApiServer
from nodeagent.simulator.disk import Disk
from nodeagent.simulator.etcd import Member
from nodeagent.simulator.image import Image
from nodeagent.simulator.machine import Machine
from nodeagent.simulator.mesh import Mesh
from nodeagent.simulator.rpc import all_services
from nodeagent.simulator.timings import Timings
from nodeagent.simulator.underlay import Faults
from nodeagent.simulator.world import World
from talos import siderolink

DEFAULT_IMAGE = Image("v1.13.8")


@dataclass(frozen=True)
class FleetOptions:
    """What the machines have in common.

    `api` is the URL of the control plane's machine API with its query, None for machines without SideroLink.
    `faults` are those of the network below KubeSpan.
    `listen_base` is the loopback address of the first machine; the others follow it, and machines without SideroLink
    have no other network. `state` is a folder for disks.
    """

    machines: int = 1
    api: str | None = None
    image: Image = DEFAULT_IMAGE
    seed: str = "talos"
    listen_base: str | None = None
    state: Path | None = None
    timings: Timings = field(default_factory=Timings)
    trusted_roots: bytes | None = None
    factory: str = "https://factory.talos.dev/"
    faults: Faults = field(default_factory=Faults)

    def kernel_arguments(self) -> str:
        """The command line of every machine."""
        words = ["talos.platform=metal", "console=ttyS0"]
        if self.api:
            server = siderolink.server_address()
            words += [
                f"siderolink.api={self.api}",
                f"talos.events.sink=[{server}]:{siderolink.API_PORT}",
                f"talos.logging.kernel=tcp://[{server}]:{siderolink.LOG_PORT}",
            ]
        return " ".join(words)


class Fleet:
    """Machines that run until they are switched off; an async context manager that pulls all plugs at its end."""

    def __init__(self, options: FleetOptions, api: ApiServer | None = None, mesh: Mesh | None = None) -> None:
        """`api` answers for all machines; without it one with every method there is. `mesh` is who knows discovery
        services and KubeSpan.
        """
        self._options = options
        self._tasks: list[asyncio.Task[None]] = []
        self._api = api or ApiServer(all_services())
        self.world = World(self._api, mesh)
        self.world.underlay.faults = options.faults
        self.machines = [self._machine(index) for index in range(options.machines)]
        for machine in self.machines:
            if data := machine.disk.contents.etcd:
                self.world.etcd.restore(data.cluster, Member(data.member, data.name, data.address))

    async def __aenter__(self) -> Self:
        await self._api.__aenter__()
        self._tasks = [asyncio.create_task(machine.run(), name=machine.hardware.uuid) for machine in self.machines]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._api.__aexit__(kind, error, trace)

    async def wait(self) -> None:
        """Until every machine is off. Raises what broke a machine, if something did."""
        await asyncio.gather(*self._tasks)

    def _machine(self, index: int) -> Machine:
        options = self._options
        built = hardware.build(options.seed, index)
        listen = None
        if options.listen_base:
            listen = str(ipaddress.ip_address(options.listen_base) + index)
            if not options.api:  # its own network is then all that it has
                built = replace(built, address=listen)
        path = None
        if options.state:
            options.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = options.state / f"{built.uuid}.json"
        return Machine(
            self.world,
            built,
            options.image,
            kernel_arguments=options.kernel_arguments(),
            disk=Disk(path),
            timings=options.timings,
            listen_address=listen,
            factory=options.factory,
            trusted_roots=options.trusted_roots,
        )
