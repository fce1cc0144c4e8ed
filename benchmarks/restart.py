"""Everything is killed at once, with 1,000 machines connected, and started again: until all are green.

Green means that the gateway has read something from the machine since. The machines notice nothing and are not touched.
Compared with what nobody can leave out: the start of the server, then a WireGuard and a TLS handshake with each machine
on all cores.
"""

from __future__ import annotations

import time

from benchmarks import floors
from benchmarks.bench import THOUSAND, Bench
from benchmarks.processes import CORES
from benchmarks.rows import Row

GOAL, PATIENCE = 60.0, 600.0

GREEN = """
    SELECT count(*) FROM machines_machineobservation WHERE connected AND reachable AND observed_at > %s
"""


def measure(bench: Bench) -> list[Row]:
    """As after a loss of power: SIGKILL, PostgreSQL recovers too."""
    with bench.machines(THOUSAND) as (server, _, joined):
        server.kill()
        began, clock = time.time(), time.monotonic()
        server.start()
        start = time.monotonic() - clock
        with server.database() as database:

            def green() -> bool:
                row = database.execute(GREEN.replace("%s", "to_timestamp(%s)"), [began]).fetchone()
                return row is not None and row[0] >= joined.count

            server.wait_for(green, PATIENCE, "all machines to be green again")
        took, cpu = time.monotonic() - clock, server.cpu()
    least = start + joined.count * (floors.wireguard_handshake() + floors.tls_handshake()) / CORES
    return [
        Row("restart to all 1,000 green", took, "s", least, "start and handshakes", GOAL),
        Row("restart: processor", cpu, "s", least * CORES, "start and handshakes on all cores"),
    ]
