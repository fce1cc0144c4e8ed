"""From a template sync to Ready, for one cluster of three control planes and two workers, and for ten at once.

Time is compared with the delays that the simulated machines put in themselves (installer, reboot, etcd, pods): the time
it would take if we took none. Processor is compared with what nobody can leave out for the five machines: making their
configurations and two TLS handshakes with each.
"""

from __future__ import annotations

from benchmarks import configs, floors
from benchmarks.bench import MACHINES, Bench, Ready
from benchmarks.rows import Row
from nodeagent.simulator.timings import Timings

SIZES = (1, 10)


def measure(bench: Bench) -> list[Row]:
    """Each size on a server of its own."""
    rows = []
    for size in SIZES:
        rows += _rows(bench.clusters(size))
    return rows


def delays() -> float:
    """Seconds that pass on the machines from the first call to the last one Ready: installed, rebooted, etcd with its
    pods on the first control plane, then the nodes."""
    t = Timings()
    return t.image_pull + t.install + t.reboot + t.boot + t.etcd + t.static_pods + t.node_ready


def _rows(ready: Ready) -> list[Row]:
    name = "one cluster" if ready.count == 1 else f"{ready.count} clusters at once"
    least = MACHINES * (configs.one() + 2 * floors.tls_handshake())
    return [
        Row(f"{name}: sync to Ready", ready.seconds, "s", delays(), "delays of the machines"),
        Row(f"{name}: processor", ready.cpu / ready.count, "s/cluster", least, "configurations and TLS"),
        Row(f"{name}: of the simulated machines", ready.fleet_cpu / ready.count, "s/cluster", None, ""),
    ]
