"""What a connected machine takes of the server's memory: all its processes with 1,000 machines, less those with 100,
for each of the 900. So what a server holds for any number of them (programs, connections to the database) is not in it.

Compared with an idle TLS connection, which is what anybody needs who follows a machine at all.
"""

from __future__ import annotations

from benchmarks import floors
from benchmarks.bench import THOUSAND, Bench
from benchmarks.rows import Row

FEW = 100
GOAL = 150.0


def measure(bench: Bench) -> list[Row]:
    """Memory once all have come."""
    few = bench.joined(FEW)
    with bench.installation() as server:
        empty = server.memory()
    with bench.machines(THOUSAND) as (_, machines, many):
        theirs = machines.memory() / many.count / 1000
    ours = (many.memory - few.memory) / (many.count - few.count) / 1000
    floor = floors.tls_memory() / 1000
    return [
        Row("memory of the server", ours, "kB/machine", floor, "an idle TLS connection", GOAL),
        Row("the server with 1,000 machines", many.memory / 1e6, "MB", empty / 1e6, "the empty server"),
        Row("memory of the simulated machines", theirs, "kB/machine", None, ""),
    ]
