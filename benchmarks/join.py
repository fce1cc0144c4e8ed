"""Machines that are switched on all at once, from the first Provision call to "connected, inventory shown".

Time: how long until the last one is there. Processor: what the server spent on each. Both are compared with the least
that any server needs for a machine (`floors.join`); a ratio of 10 means ten times that. What the simulated machines
themselves spend is a figure of its own: it is not ours, but takes the same cores.
"""

from __future__ import annotations

from benchmarks import floors
from benchmarks.bench import Bench, Joined
from benchmarks.processes import CORES
from benchmarks.rows import Row

SIZES = (100, 300, 1000)


def measure(bench: Bench) -> list[Row]:
    """Each size on a server of its own; the last one is left running for others."""
    rows = []
    for size in SIZES:
        with bench.machines(size) as (_, _, joined):
            rows += _rows(joined)
    return rows


def _rows(joined: Joined) -> list[Row]:
    name, floor = f"{joined.count:,} machines at once", floors.join()
    least = floor * joined.count / CORES
    return [
        Row(f"{name}: the median is there", joined.median, "s", least / 2, "half of them on all cores"),
        Row(f"{name}: the last is there", joined.last, "s", least, "floor of joining on all cores"),
        Row(f"{name}: processor", joined.cpu / joined.count * 1000, "ms/machine", floor * 1000, "floor of joining"),
        Row(f"{name}: of the simulated machines", joined.fleet_cpu / joined.count * 1000, "ms/machine", None, ""),
    ]
