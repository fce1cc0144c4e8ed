"""How many calls a machine's API gets on its way from the first Provision call to a cluster that is Ready.

Compared with the watches alone that it takes to follow a machine, begun anew after its installation and once more when
its configuration changed the way in.
"""

from __future__ import annotations

from benchmarks.bench import MACHINES, Bench
from benchmarks.rows import Row
from nodeagent import inventory
from nodeagent.simulator import resources

VERSION = (1, 13)
BEGINNINGS = 3


def measure(bench: Bench) -> list[Row]:
    """The mean over a cluster's machines."""
    calls = bench.clusters(1).calls
    watches = sum(resources.exists(kind, VERSION) for kind in inventory.WATCHED) * BEGINNINGS
    watched = calls.get("State/Watch", 0)
    return [
        Row("calls to a node's API, join to Ready", sum(calls.values()) / MACHINES, "calls", watches, "watches alone"),
        Row("those that are not watches", (sum(calls.values()) - watched) / MACHINES, "calls", None, ""),
    ]
