"""What a connected machine takes of the server's memory, with 1,000 of them: the growth of all its processes.

Compared with an idle TLS connection, which is what anybody needs who follows a machine at all.
"""

from __future__ import annotations

from benchmarks import floors
from benchmarks.bench import THOUSAND, Bench
from benchmarks.rows import Row

GOAL = 150.0


def measure(bench: Bench) -> list[Row]:
    """Memory after the join, less that of the empty server."""
    with bench.machines(THOUSAND) as (server, machines, joined):
        ours = (server.memory() - joined.memory_before) / joined.count / 1000
        theirs = machines.memory() / joined.count / 1000
    floor = floors.tls_memory() / 1000
    return [
        Row("memory of the server", ours, "kB/machine", floor, "an idle TLS connection", GOAL),
        Row("memory of the simulated machines", theirs, "kB/machine", None, ""),
    ]
