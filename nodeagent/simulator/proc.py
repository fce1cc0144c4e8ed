"""What /proc says, as messages and as the text of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodeagent.simulator import figures, programs
from nodeagent.simulator.image import KERNEL
from talos.gen.machine import system_pb2
from talos.resources import types

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

_FLAGS = "fpu tsc msr pae cx8 apic sep mtrr pge cmov pat mmx fxsr sse sse2 ht syscall nx lm pni sse4_1 sse4_2 aes avx"
_MEMINFO = {
    "memtotal": "MemTotal", "memfree": "MemFree", "memavailable": "MemAvailable", "buffers": "Buffers",
    "cached": "Cached", "swapcached": "SwapCached", "active": "Active", "inactive": "Inactive",
    "swaptotal": "SwapTotal", "swapfree": "SwapFree", "dirty": "Dirty", "anonpages": "AnonPages", "mapped": "Mapped",
    "shmem": "Shmem", "slab": "Slab", "kernelstack": "KernelStack", "pagetables": "PageTables",
}  # fmt: skip
_CPU_TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "soft_irq", "steal", "guest", "guest_nice")
_TICKS = 100
"""A second, in /proc/stat."""


def meminfo(boot: Boot) -> system_pb2.MemInfo:
    uptime = programs.uptime(boot)
    return figures.memory(boot, uptime, programs.resident(boot, uptime) // 1024)


def links(boot: Boot) -> list[system_pb2.NetDev]:
    """Counters of each link that the machine has."""
    names = sorted(link.id for link in boot.store.list(types.LINK_STATUS))
    return figures.links(boot, names, programs.uptime(boot))


def processors(boot: Boot) -> list[system_pb2.CPUInfo]:
    hardware = boot.machine.hardware
    clocks = figures.frequencies(boot, programs.uptime(boot))
    return [
        system_pb2.CPUInfo(
            processor=number,
            vendor_id="GenuineIntel",
            cpu_family="15",
            model="107",
            model_name="QEMU Virtual CPU version 2.5+",
            stepping="1",
            microcode="0x1",
            cpu_mhz=clocks[number].current_frequency / 1000,
            cache_size="16384 KB",
            physical_id="0",
            siblings=hardware.cores,
            core_id=str(number),
            cpu_cores=hardware.cores,
            apic_id=str(number),
            initial_apic_id=str(number),
            fpu="yes",
            fpu_exception="yes",
            cpu_id_level=13,
            wp="yes",
            flags=_FLAGS.split(),
            bogo_mips=figures.FREQUENCY_KHZ[1] / 500,
            cl_flush_size=64,
            cache_alignment=64,
            address_sizes="40 bits physical, 48 bits virtual",
        )
        for number in range(hardware.cores)
    ]


def files(boot: Boot) -> dict[str, str]:
    """Path to text."""
    uptime = programs.uptime(boot)
    stat, load = figures.system_stat(boot, uptime), figures.load(boot, uptime)
    running = programs.all_programs(boot)
    threads = sum(program.threads for program in running)
    return {
        "/proc/cmdline": f"{boot.machine.kernel_arguments}\n",
        "/proc/cpuinfo": "".join(_processor(processor) for processor in processors(boot)),
        "/proc/loadavg": f"{load.load1:.2f} {load.load5:.2f} {load.load15:.2f} "
        f"{stat.process_running}/{threads} {running[-1].pid}\n",
        "/proc/meminfo": _table(meminfo(boot)),
        "/proc/net/dev": _link_table(links(boot)),
        "/proc/stat": _stat(stat),
        "/proc/sys/kernel/hostname": f"{boot.hostname}\n",
        "/proc/sys/kernel/osrelease": f"{KERNEL}\n",
        "/proc/sys/kernel/random/boot_id": f"{boot.id}\n",
        "/proc/uptime": f"{uptime:.2f} {stat.cpu_total.idle:.2f}\n",
        "/proc/version": f"Linux version {KERNEL} (simulated) #1 SMP PREEMPT_DYNAMIC\n",
    }


def _processor(cpu: system_pb2.CPUInfo) -> str:
    lines: dict[str, Any] = {
        "processor": cpu.processor,
        "vendor_id": cpu.vendor_id,
        "cpu family": cpu.cpu_family,
        "model": cpu.model,
        "model name": cpu.model_name,
        "stepping": cpu.stepping,
        "microcode": cpu.microcode,
        "cpu MHz": f"{cpu.cpu_mhz:.3f}",
        "cache size": cpu.cache_size,
        "physical id": cpu.physical_id,
        "siblings": cpu.siblings,
        "core id": cpu.core_id,
        "cpu cores": cpu.cpu_cores,
        "flags": " ".join(cpu.flags),
        "bogomips": f"{cpu.bogo_mips:.2f}",
    }
    return "".join(f"{name}{chr(9) * (1 if len(name) > 7 else 2)}: {value}\n" for name, value in lines.items()) + "\n"


def _table(info: system_pb2.MemInfo) -> str:
    return "".join(f"{shown + ':':16}{getattr(info, name):>8} kB\n" for name, shown in _MEMINFO.items())


def _link_table(links: list[system_pb2.NetDev]) -> str:
    head = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast"
        "|bytes    packets errs drop fifo colls carrier compressed\n"
    )
    rows = [
        f"{link.name:>6}: {link.rx_bytes} {link.rx_packets} 0 0 0 0 0 {link.rx_multicast} "
        f"{link.tx_bytes} {link.tx_packets} 0 0 0 0 0 0\n"
        for link in links
    ]
    return head + "".join(rows)


def _stat(stat: system_pb2.SystemStat) -> str:
    def times(cpu: system_pb2.CPUStat) -> str:
        return " ".join(str(int(getattr(cpu, name) * _TICKS)) for name in _CPU_TIMES)

    cores = "".join(f"cpu{number} {times(cpu)}\n" for number, cpu in enumerate(stat.cpu))
    return (
        f"cpu  {times(stat.cpu_total)}\n{cores}ctxt {stat.context_switches}\nbtime {stat.boot_time}\n"
        f"processes {stat.process_created}\nprocs_running {stat.process_running}\nprocs_blocked 0\n"
    )
