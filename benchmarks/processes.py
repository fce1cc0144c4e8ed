"""Processor time and memory of process trees, as Linux counts them. Shared memory is counted once, by its shares."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Process:
    """One process as it was when looked at. `cpu` is seconds, those of children it has waited for included."""

    pid: int
    parent: int
    cpu: float

    @property
    def command(self) -> str:
        """Its command line, empty when it is gone."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return ""

    @property
    def memory(self) -> int:
        """Bytes: its own pages, and its share of those it has in common with others."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        return 0


def tree(root: int) -> list[Process]:
    """A process and all that come from it."""
    found = {process.pid: process for process in _all()}
    wanted = {root}
    grown = True
    while grown:
        more = {process.pid for process in found.values() if process.parent in wanted} - wanted
        wanted |= more
        grown = bool(more)
    return [found[pid] for pid in wanted if pid in found]


def living() -> set[int]:
    """Ids of all processes that have not ended."""
    return {process.pid for process in _all() if process.memory}


def cpu(root: int) -> float:
    """Seconds of processor that a tree has used."""
    return sum(process.cpu for process in tree(root))


def memory(root: int) -> int:
    """Bytes that a tree holds."""
    return sum(process.memory for process in tree(root))


def _all() -> list[Process]:
    processes = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                processes.append(Process(int(name), int(fields[1]), sum(map(int, fields[11:15])) / TICK))
    return processes
