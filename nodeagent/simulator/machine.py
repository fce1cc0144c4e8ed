"""A machine: hardware, disks, and one boot after another."""

from __future__ import annotations

import asyncio
import logging

import grpc

from nodeagent.simulator import kubelet, sequences
from nodeagent.simulator.boot import Boot, Next
from nodeagent.simulator.configuration import is_address
from nodeagent.simulator.disk import Disk
from nodeagent.simulator.hardware import Hardware
from nodeagent.simulator.image import Image
from nodeagent.simulator.timings import Timings
from nodeagent.simulator.world import World
from talos import siderolink
from talos.kernelargs import MachineAPI

log = logging.getLogger(__name__)

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Machine:
    """`medium` is what it boots from while nothing is installed; `listen_address` an address of this host on which its
    ports are open as well (its LAN, for clients that are not on the overlay). `trusted_roots` (PEM) replace the
    system's for a control plane with `https://`.
    """

    def __init__(
        self,
        world: World,
        hardware: Hardware,
        medium: Image,
        *,
        kernel_arguments: str = "",
        disk: Disk | None = None,
        timings: Timings | None = None,
        listen_address: str | None = None,
        factory: str = "https://factory.talos.dev/",
        trusted_roots: bytes | None = None,
    ) -> None:
        self.world = world
        self.hardware = hardware
        self.medium = medium
        self.kernel_arguments = kernel_arguments
        self.disk = disk or Disk()
        self.timings = timings or Timings()
        self.listen_address = listen_address
        self.factory = factory
        self.trusted_roots = trusted_roots
        self.boot: Boot | None = None
        """The present boot; None while the machine is off or between two boots."""
        self._booted = asyncio.Condition()

    @property
    def image(self) -> Image:
        """What the machine boots now."""
        installed = self.disk.installation
        return Image(installed.version, installed.schematic) if installed else self.medium

    async def run(self) -> None:
        """Switch on; returns when the machine is switched off by a call. Cancel to pull the plug."""
        while True:
            boot = Boot(self)
            then = await self._live(boot)
            log.info("%s: %s", self.hardware.uuid, then)
            if then is Next.POWER_OFF:
                return
            await asyncio.sleep(self.timings.reboot)

    async def booted(self) -> Boot:
        """Wait for a boot other than none."""
        async with self._booted:
            await self._booted.wait_for(lambda: self.boot is not None)
        assert self.boot is not None
        return self.boot

    async def dial(self, host: str, port: int) -> Stream:
        """Connect from this machine: over its link to overlay addresses, else from this host. Raises OSError."""
        if self.boot is not None and is_address(host) and siderolink.has_purpose(host, siderolink.Purpose.SIDEROLINK):
            return await self.boot.link.dial(host, port)
        return await asyncio.open_connection(host, port)

    def channel(self, api: MachineAPI) -> grpc.aio.Channel:
        """A connection of its own to the machine API of the control plane."""
        target = f"[{api.host}]:{api.port}" if ":" in api.host else f"{api.host}:{api.port}"
        options = [("grpc.use_local_subchannel_pool", 1)]
        if not api.tls:
            return grpc.aio.insecure_channel(target, options)
        credentials = grpc.ssl_channel_credentials(self.trusted_roots)
        return grpc.aio.secure_channel(target, credentials, options)

    async def _live(self, boot: Boot) -> Next:
        async with self._booted:
            self.boot = boot
            self._booted.notify_all()
        self.world.enter(boot)
        try:
            boot.spawn(sequences.life(boot), "life")
            return await boot.run_until_end()
        finally:
            self.boot = None
            self.world.leave(boot)
            await boot.ports.close_all()
            await boot.link.close()
            if boot.node_ready is not None:
                self._lose_node(boot)
            if boot.member is not None and self.disk.contents.etcd is not None:
                await self.world.etcd.stop(self.disk.contents.etcd.cluster, boot.member.id)

    def _lose_node(self, boot: Boot) -> None:
        """The cluster finds out that the node is silent, unless another boot speaks up in time."""

        def check() -> None:
            silent = self.boot is None or self.boot.node_ready is None
            if silent and boot.cluster is not None:
                kubelet.lose_node(boot.cluster.objects, boot.hostname)

        asyncio.get_running_loop().call_later(self.timings.node_lost, check)
