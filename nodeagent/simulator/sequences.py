"""What a machine does from power on, and what calls make it do: initialize, install, boot, reboot, reset, shutdown,
upgrade.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodeagent.simulator import node, sinks
from nodeagent.simulator.boot import Boot, Next, Stage
from nodeagent.simulator.disk import Installation
from nodeagent.simulator.etcd import EtcdError
from nodeagent.simulator.image import Image, parse_installer
from nodeagent.simulator.sequencer import Sequence, SequenceFailed
from talos.gen.machine import events_pb2
from talos.meta import Key
from talos.resources import types

if TYPE_CHECKING:
    from nodeagent.simulator.sequencer import Body

STATE, EPHEMERAL, META = "STATE", "EPHEMERAL", "META"

#: Linux reboot(2) commands, as RestartEvent tells them.
_RESTART, _POWER_OFF, _KEXEC = 0x01234567, 0x4321FEDC, 0x45584543


async def life(boot: Boot) -> None:
    """From power on until Talos runs. Ends the boot when a sequence fails or the machine has to reboot."""
    boot.kernel_log.write("Linux version 6.18.0-talos (simulated)", priority="notice")
    boot.kernel_log.write(f"Command line: {boot.machine.kernel_arguments}", priority="notice")
    await asyncio.sleep(boot.machine.timings.boot)
    try:
        await boot.sequencer.run("initialize", _initialize)
        if boot.installation is None and boot.config.install_target is not None:
            await boot.sequencer.run("install", _install)
            return
        await boot.sequencer.run("boot", _boot)
    except SequenceFailed as failure:
        await fail(boot, str(failure))


async def fail(boot: Boot, reason: str = "") -> None:
    """A failed sequence leads to a reboot after a while."""
    boot.kernel_log.talos(f"rebooting in {boot.machine.timings.failure:g} seconds: {reason}", priority="err")
    if boot.stage is not Stage.SHUTTING_DOWN:
        boot.enter(Stage.REBOOTING)
    await asyncio.sleep(boot.machine.timings.failure)
    boot.finish(Next.REBOOT)


async def _initialize(boot: Boot, sequence: Sequence) -> None:
    boot.enter(Stage.BOOTING)
    async with sequence.phase("systemRequirements"):
        for service in ("machined", "syslogd", "udevd", "containerd"):
            boot.services.start(service)
    async with sequence.phase("meta"):
        boot.publish_facts()
        boot.publish_config("v1alpha1", boot.config)
        if boot.installation is not None and boot.config.text:
            boot.publish_config("persistent", boot.config)
    boot.refresh_status()
    boot.spawn(boot.link.run(), "link")
    boot.spawn(sinks.push_events(boot), "event sink")
    boot.spawn(sinks.send_kernel_log(boot), "kernel log")
    if boot.maintenance:
        boot.spawn(boot.apid.configure(), "apid")
        async with sequence.phase("config"):
            publish = boot.events.publish
            task = "runningMaintenance"
            publish(events_pb2.TaskEvent(task=task, action=events_pb2.TaskEvent.START))
            boot.enter(Stage.MAINTENANCE)
            await boot.until(lambda: boot.config.complete)
            publish(events_pb2.TaskEvent(task=task, action=events_pb2.TaskEvent.STOP))
            boot.enter(Stage.BOOTING)
    boot.publish_addresses()
    boot.publish_volumes()


async def _install(boot: Boot, sequence: Sequence) -> None:
    """Install as the configuration says, then boot what was installed."""
    target = boot.config.install_target
    assert target is not None
    boot.spawn(boot.apid.configure(), "apid")
    async with sequence.phase("install"):
        boot.enter(Stage.INSTALLING)
        try:
            image = parse_installer(target.image) if target.image else boot.image
        except ValueError as error:
            raise SequenceFailed(f"error running phase install: {error}") from None
        if target.image.partition("@")[0].endswith("-bad"):
            raise SequenceFailed(f"error running phase install: failed to pull {target.image}: not found")
        if boot.machine.hardware.disk(target.disk) is None:
            raise SequenceFailed(f"error running phase install: no disk {target.disk}")
        await asyncio.sleep(boot.machine.timings.image_pull + boot.machine.timings.install)
        write_installation(boot, image, target.disk)
    await _kexec(boot, sequence)


def write_installation(boot: Boot, image: Image, disk: str) -> None:
    """What the installer leaves on the disk: the image and META. A first installation brings the configuration along if
    that is a complete one; later ones leave what is there, and where to go back to.
    """
    contents = boot.machine.disk.contents
    if contents.installation is None:
        config, node_id = (boot.config.text, boot.node_id) if boot.config.complete else (b"", "")
    else:
        config, node_id = contents.config, contents.node_id
        boot.meta[Key.UPGRADE_FALLBACK] = contents.installation.version.encode()
    boot.machine.disk.install(Installation(disk, image.version, image.schematic), boot.meta, config)
    boot.machine.disk.update(node_id=node_id)


async def _boot(boot: Boot, sequence: Sequence) -> None:
    boot.enter(Stage.BOOTING)
    async with sequence.phase("saveConfig"):
        boot.machine.disk.update(config=boot.config.text, node_id=boot.node_id)
    boot.spawn(boot.kubespan.run(), "KubeSpan")
    boot.spawn(boot.discovery.run(), "discovery")
    boot.spawn(boot.apid.configure(), "apid")
    if boot.installation is None:
        boot.spawn(_install_unattended(boot), "unattended install")
    async with sequence.phase("ephemeral"):
        if boot.installation is None:  # /var would be on the system disk: there is none to come
            await asyncio.Event().wait()
    async with sequence.phase("startEverything"):
        await node.start(boot)
    boot.enter(Stage.RUNNING)
    boot.spawn(_confirm_upgrade(boot), "confirmation of an upgrade")


async def _confirm_upgrade(boot: Boot) -> None:
    """A system that runs and is ready stays: the boot entry to fall back to is forgotten."""
    while not boot.ready:
        await boot.next_status()
    if Key.UPGRADE_FALLBACK in boot.meta:
        await boot.set_meta(Key.UPGRADE_FALLBACK, None)


async def _install_unattended(boot: Boot) -> None:
    """Follow an UnattendedInstallConfig (Talos 1.14), then reboot into what was installed."""
    wanted = boot.config.unattended_install
    if not wanted or boot.minor < (1, 14):
        return
    reference = str((wanted.get("installer") or {}).get("image") or "")

    def tell(phase: str, error: str = "") -> None:
        boot.put(types.UNATTENDED_INSTALL_STATUS, {"image": reference, "phase": phase, "error": error})

    tell("installing")
    match = str(((wanted.get("provisioning") or {}).get("diskSelector") or {}).get("match") or "")
    disk = next((disk for disk in boot.machine.hardware.disks if f'"{disk.path}"' in match), None)
    try:
        image = parse_installer(reference)
    except ValueError as error:
        tell("failed", str(error))
        return
    if disk is None:
        tell("failed", f"no disk matches {match}")
        return
    await asyncio.sleep(boot.machine.timings.image_pull + boot.machine.timings.install)
    write_installation(boot, image, disk.path)
    tell("waiting-for-reboot")
    boot.sequencer.request("reboot", reboot, lambda: fail(boot))


# --- asked for by calls


async def _kexec(boot: Boot, sequence: Sequence) -> None:
    async with sequence.phase("kexec"):
        boot.enter(Stage.REBOOTING)
    boot.events.publish(events_pb2.RestartEvent(cmd=_KEXEC), sequence.actor_id)
    await boot.last_words()
    boot.finish(Next.REBOOT)


async def reboot(boot: Boot, sequence: Sequence) -> None:
    boot.enter(Stage.REBOOTING)
    async with sequence.phase("stopServices"):
        await node.stop(boot)
    boot.events.publish(events_pb2.RestartEvent(cmd=_RESTART), sequence.actor_id)
    await boot.last_words()
    boot.finish(Next.REBOOT)


async def shutdown(boot: Boot, sequence: Sequence) -> None:
    boot.enter(Stage.SHUTTING_DOWN)
    async with sequence.phase("stopServices"):
        await node.stop(boot)
    boot.events.publish(events_pb2.RestartEvent(cmd=_POWER_OFF), sequence.actor_id)
    await boot.last_words()
    boot.finish(Next.POWER_OFF)


@dataclass(frozen=True)
class ResetOrder:
    """What a reset wipes; `partitions` empty means the whole system disk."""

    graceful: bool
    then: Next
    partitions: frozenset[str]
    system_disk: bool = True


def reset(order: ResetOrder) -> Body:
    """The sequence of one reset."""

    async def body(boot: Boot, sequence: Sequence) -> None:
        boot.enter(Stage.RESETTING)
        if order.graceful:
            async with sequence.phase("leave"):
                try:
                    await node.leave_etcd(boot)
                except EtcdError as error:
                    raise SequenceFailed(f"error running phase leave: {error}") from None
        async with sequence.phase("stopServices"):
            await node.stop(boot)
        async with sequence.phase("reset"):
            await boot.discovery.leave()
            await asyncio.sleep(boot.machine.timings.wipe)
            await _wipe(boot, order)
        boot.events.publish(
            events_pb2.RestartEvent(cmd=_RESTART if order.then is Next.REBOOT else _POWER_OFF), sequence.actor_id
        )
        await boot.last_words()
        boot.finish(order.then)

    return body


async def _wipe(boot: Boot, order: ResetOrder) -> None:
    if not order.system_disk:
        return
    disk = boot.machine.disk
    everything = not order.partitions
    if everything or order.partitions & {EPHEMERAL, "ETCD"}:
        await node.lose_etcd(boot)
    if everything:
        disk.wipe_everything()
        return
    if STATE in order.partitions:
        disk.wipe_state()
    if META in order.partitions:
        disk.update(meta={})


def upgrade(image: Image) -> Body:
    """The legacy upgrade: install over the present system, then reboot. A staged one installs at once, too."""

    async def body(boot: Boot, sequence: Sequence) -> None:
        boot.enter(Stage.UPGRADING)
        installed = boot.installation
        assert installed is not None
        async with sequence.phase(sequence.name):
            await node.stop(boot)
            await asyncio.sleep(boot.machine.timings.install)
            write_installation(boot, image, installed.disk)
        await _kexec(boot, sequence)

    return body
