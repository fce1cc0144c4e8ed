"""What a machine's kernel would count: processor time, load, memory, traffic.

Nothing is kept and nothing runs: every figure follows from the hardware and the seconds since the boot began, so two
questions at one moment agree, counters only grow, and a machine that nobody asks costs nothing.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from nodeagent.simulator.hardware import Hardware
from nodeagent.simulator.resources import LINK
from talos.gen.machine import system_pb2

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

MIB_IN_KIB = 1024
SECTOR = 512
FREQUENCY_KHZ = (800_000, 2_000_000)
"""Least and most of every processor; the latter is what its resource says."""

_STEP_KHZ = 200_000


@dataclass(frozen=True)
class Wave:
    """A quantity that swings around its mean by a part of it (`swing` < 1), with a period in seconds."""

    mean: float
    swing: float
    period: float
    phase: float

    def at(self, time: float) -> float:
        return self.mean * (1 + self.swing * math.sin(self._angle(time)))

    def between(self, start: float, end: float) -> float:
        """What it adds up to as a rate, from one time to another."""
        turned = math.cos(self._angle(start)) - math.cos(self._angle(end))
        return self.mean * (end - start + self.swing * self.period / math.tau * turned)

    def _angle(self, time: float) -> float:
        return math.tau * time / self.period + self.phase


def chance(hardware: Hardware, name: str) -> float:
    """A number from 0 to 1 that a machine always has for a name."""
    return zlib.crc32(f"{hardware.uuid}/{name}".encode()) / 2**32


def wave(hardware: Hardware, name: str, mean: float, swing: float = 0.5) -> Wave:
    """The wave of a name: each machine has its own, of half a minute to two minutes."""
    period = 30 + 90 * chance(hardware, f"{name} period")
    return Wave(mean, swing, period, math.tau * chance(hardware, f"{name} phase"))


# --- processors


def busy(hardware: Hardware, core: int) -> Wave:
    """The part of its time that a core works."""
    return wave(hardware, f"core {core}", 0.04 + 0.10 * chance(hardware, f"core {core}"))


def busy_seconds(hardware: Hardware, start: float, end: float) -> float:
    """What all cores worked from one time to another, in seconds of one."""
    return sum(busy(hardware, core).between(start, end) for core in range(hardware.cores))


def system_stat(boot: Boot, uptime: float) -> system_pb2.SystemStat:
    hardware = boot.machine.hardware
    cores = [_cpu(busy(hardware, core).between(0, uptime), uptime) for core in range(hardware.cores)]
    worked = busy_seconds(hardware, 0, uptime)
    interrupts = [int(uptime * 250), int(worked * 900), int(worked * 120)]
    soft = {"timer": 210, "net_tx": 9, "net_rx": 160, "block": 22, "tasklet": 1, "sched": 180, "rcu": 140}
    counted = {name: int(worked * rate) for name, rate in soft.items()}
    return system_pb2.SystemStat(
        boot_time=int(boot.started),
        cpu_total=total(cores, system_pb2.CPUStat()),
        cpu=cores,
        irq_total=sum(interrupts),
        irq=interrupts,
        context_switches=int(uptime * 600 + worked * 5_000),
        process_created=int(200 + uptime * 0.8 + worked * 4),
        process_running=1 + round(_load_at(hardware, uptime)),
        soft_irq_total=sum(counted.values()),
        soft_irq=system_pb2.SoftIRQStat(**counted),
    )


def _cpu(worked: float, uptime: float) -> system_pb2.CPUStat:
    parts = {"user": 0.60, "nice": 0.01, "system": 0.30, "iowait": 0.04, "irq": 0.02, "soft_irq": 0.03}
    return system_pb2.CPUStat(
        idle=max(0.0, uptime - worked),
        **{name: part * worked for name, part in parts.items()},
    )


def load(boot: Boot, uptime: float) -> system_pb2.LoadAvg:
    one, five, fifteen = (_average(boot.machine.hardware, uptime, minutes * 60) for minutes in (1, 5, 15))
    return system_pb2.LoadAvg(load1=one, load5=five, load15=fifteen)


def _average(hardware: Hardware, uptime: float, window: float) -> float:
    """Over a window, of which the time before the boot counts as idle."""
    return round(busy_seconds(hardware, max(0.0, uptime - window), uptime) / window, 2)


def _load_at(hardware: Hardware, uptime: float) -> float:
    return sum(busy(hardware, core).at(uptime) for core in range(hardware.cores))


def frequencies(boot: Boot, uptime: float) -> list[system_pb2.CPUFreqStats]:
    """The clock of each core follows its work, in steps."""
    hardware, (least, most) = boot.machine.hardware, FREQUENCY_KHZ
    steps = (most - least) // _STEP_KHZ
    return [
        system_pb2.CPUFreqStats(
            current_frequency=least + _STEP_KHZ * min(steps, int(steps * 4 * busy(hardware, core).at(uptime))),
            minimum_frequency=least,
            maximum_frequency=most,
            governor="schedutil",
        )
        for core in range(hardware.cores)
    ]


# --- memory


def memory(boot: Boot, uptime: float, resident_kib: int) -> system_pb2.MemInfo:
    """`resident_kib` is what programs hold; the rest is caches, the kernel's own, and free."""
    hardware = boot.machine.hardware
    whole = hardware.memory * MIB_IN_KIB
    kernel = whole // 64
    slab, page_tables, stacks = kernel // 2, resident_kib // 200, 120 * hardware.cores
    cached = int(wave(hardware, "cached", whole / 10, 0.1).at(uptime))
    buffers = whole // 200
    free = max(0, whole - kernel - resident_kib - page_tables - stacks - cached - buffers)
    return system_pb2.MemInfo(
        memtotal=whole,
        memfree=free,
        memavailable=free + cached * 4 // 5 + slab // 2,
        buffers=buffers,
        cached=cached,
        active=resident_kib // 3 + cached // 2,
        inactive=resident_kib * 2 // 3 + cached // 2,
        activeanon=resident_kib // 3,
        inactiveanon=resident_kib * 2 // 3,
        activefile=cached // 2,
        inactivefile=cached // 2,
        dirty=int(wave(hardware, "dirty", 600, 0.9).at(uptime)),
        anonpages=resident_kib,
        mapped=resident_kib // 3,
        shmem=cached // 20,
        slab=slab,
        sreclaimable=slab // 2,
        sunreclaim=slab // 2,
        kernelstack=stacks,
        pagetables=page_tables,
        commitlimit=whole // 2,
        committedas=resident_kib * 2,
        vmalloctotal=34_359_738_367,
        vmallocused=kernel // 4,
        hugepagesize=2 * MIB_IN_KIB,
        directmap4k=whole // 50,
        directmap2m=whole - whole // 50,
    )


# --- disks and links


def disks(boot: Boot, uptime: float) -> list[system_pb2.DiskStat]:
    """The system disk works; the others were only looked at."""
    hardware, installed = boot.machine.hardware, boot.installation
    return [
        _disk(hardware, disk.name, uptime, working=installed is not None and installed.disk == disk.path)
        for disk in hardware.disks
    ]


def _disk(hardware: Hardware, name: str, uptime: float, *, working: bool) -> system_pb2.DiskStat:
    """Reads are of the start, mostly; writes go on."""
    reads = int(240 + 40 * chance(hardware, name))
    writes = 0
    if working:
        reads += int(6_000 * (1 - math.exp(-uptime / 60)) + wave(hardware, f"{name} read", 1.5).between(0, uptime))
        writes = int(wave(hardware, f"{name} write", 18).between(0, uptime))
    return system_pb2.DiskStat(
        name=name,
        read_completed=reads,
        read_merged=reads // 9,
        read_sectors=reads * 48,
        read_time_ms=reads // 3,
        write_completed=writes,
        write_merged=writes // 3,
        write_sectors=writes * 24,
        write_time_ms=writes // 2,
        io_time_ms=(reads + writes) // 3,
        io_time_weighted_ms=reads // 3 + writes // 2,
    )


def links(boot: Boot, names: Iterable[str], uptime: float) -> list[system_pb2.NetDev]:
    """Of these links: what is said on the machine itself, to the network, and over the overlay as a part of that."""
    hardware = boot.machine.hardware
    rates = {"lo": (26_000, 26_000), LINK: (90_000, 60_000)}
    return [_link(hardware, name, *rates.get(name, (1_500, 4_000)), uptime) for name in names]


def _link(hardware: Hardware, name: str, received: float, sent: float, uptime: float) -> system_pb2.NetDev:
    incoming = int(wave(hardware, f"{name} rx", received).between(0, uptime))
    outgoing = incoming if name == "lo" else int(wave(hardware, f"{name} tx", sent).between(0, uptime))
    return system_pb2.NetDev(
        name=name,
        rx_bytes=incoming,
        rx_packets=incoming // 640,
        rx_multicast=int(uptime / 30) if name == LINK else 0,
        tx_bytes=outgoing,
        tx_packets=outgoing // 580 if name != "lo" else incoming // 640,
    )


Sum = TypeVar("Sum", system_pb2.CPUStat, system_pb2.DiskStat, system_pb2.NetDev)


def total(parts: Iterable[Sum], into: Sum) -> Sum:
    """Add up every number of some messages."""
    for part in parts:
        for field, value in part.ListFields():
            if field.name != "name":
                setattr(into, field.name, getattr(into, field.name) + value)
    return into
