"""What 1,000 machines cost while nothing happens on them: processor of the server over half a minute.

Compared with keepalives alone: a datagram each way every 25 seconds, sealed and opened.
"""

from __future__ import annotations

import time

from benchmarks import floors
from benchmarks.bench import THOUSAND, Bench
from benchmarks.rows import Row

SETTLE, SECONDS = 10.0, 30.0


def measure(bench: Bench) -> list[Row]:
    """Per cent of one core."""
    with bench.machines(THOUSAND) as (server, machines, joined):
        time.sleep(SETTLE)
        cpu, fleet = server.cpu(), machines.cpu()
        time.sleep(SECONDS)
        ours, theirs = (server.cpu() - cpu) / SECONDS * 100, (machines.cpu() - fleet) / SECONDS * 100
    floor = floors.idle_link() * joined.count * 100
    return [
        Row("1,000 idle machines: processor", ours, "% of a core", floor, "keepalives alone"),
        Row("1,000 idle machines: of the simulated machines", theirs, "% of a core", None, ""),
    ]
