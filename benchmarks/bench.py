"""What measurements share: servers with machines that have joined. One of 1,000 serves all that need so many."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psycopg

from benchmarks.factory import Factory
from benchmarks.installation import Installation, Late
from benchmarks.machines import Machines

THOUSAND = 1000
CONTROL_PLANES, MACHINES = 3, 5
"""Of a cluster."""
TALOS, KUBERNETES = "v1.13.8", "v1.36.2"
READY_SECONDS = 600.0
JOIN_SECONDS, LOOK = 600.0, 0.1

THERE = """
    SELECT count(*) FROM machines_machineobservation
    WHERE connected AND reachable AND stage <> '' AND hostname <> '' AND cores > 0 AND memory_mib > 0
        AND disks <> '[]' AND cardinality(addresses) > 0 AND boot_id <> ''
"""
"""How many machines are connected with their inventory shown."""


@dataclass(frozen=True)
class Joined:
    """How `count` machines came: seconds since the first Provision call, seconds of processor, bytes of the server."""

    count: int
    median: float
    last: float
    cpu: float
    fleet_cpu: float
    memory: int


@dataclass(frozen=True)
class Ready:
    """How `count` clusters came to be: seconds, seconds of processor; calls to all machines since their first one."""

    count: int
    seconds: float
    cpu: float
    fleet_cpu: float
    calls: dict[str, int]


class Bench:
    """The servers of one run."""

    def __init__(self) -> None:
        self._ending = ExitStack()
        self._thousand: tuple[Installation, Machines, Joined] | None = None
        self._clusters: dict[int, Ready] = {}
        self._joined: dict[int, Joined] = {}

    def __enter__(self) -> Self:
        self._factory = self._ending.enter_context(Factory())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    def installation(self) -> Installation:
        """An empty server, to be entered."""
        return Installation(self._factory.url)

    @contextmanager
    def machines(self, count: int) -> Iterator[tuple[Installation, Machines, Joined]]:
        """A server with so many machines. That with 1,000 is made once and kept until the end."""
        if count == THOUSAND:
            if self._thousand is None:
                self._thousand = self._join(count, self._ending)
            yield self._thousand
        else:
            with ExitStack() as ending:
                yield self._join(count, ending)

    def joined(self, count: int) -> Joined:
        """How so many machines came, in this run."""
        if count not in self._joined:
            with self.machines(count):
                pass
        return self._joined[count]

    def clusters(self, count: int) -> Ready:
        """So many clusters made at once, on a server that is gone afterwards."""
        if count not in self._clusters:
            with self.machines(count * MACHINES) as (server, machines, _), server.database() as database:
                server.wait_for(lambda: _at_rest(database), READY_SECONDS, "the machines to have nothing to be done")
                self._clusters[count] = _made(server, machines, database, count)
        return self._clusters[count]

    def _join(self, count: int, ending: ExitStack) -> tuple[Installation, Machines, Joined]:
        server = ending.enter_context(self.installation())
        machines = ending.enter_context(Machines(count, server.join_url(), self._factory.url))
        cpu, fleet_cpu = server.cpu(), machines.cpu()
        machines.power_on()
        with server.database() as database:
            median, last = _arrivals(database, count)
        joined = Joined(count, median, last, server.cpu() - cpu, machines.cpu() - fleet_cpu, server.memory())
        self._joined[count] = joined
        return server, machines, joined


def there(database: psycopg.Connection[tuple[int]]) -> int:
    """How many machines are connected with their inventory shown."""
    row = database.execute(THERE).fetchone()
    return row[0] if row else 0


def _arrivals(database: psycopg.Connection[tuple[int]], count: int) -> tuple[float, float]:
    """Seconds from the first Provision call until half of them, and all, are there."""
    began, median = time.monotonic(), 0.0
    while (seen := there(database)) < count:
        if time.monotonic() - began > JOIN_SECONDS:
            raise Late(f"only {seen} of {count} machines came in {JOIN_SECONDS:g} s")
        if seen >= count / 2:
            median = median or _since_first_call(database)
        time.sleep(LOOK)
    last = _since_first_call(database)
    return median or last, last


def _since_first_call(database: psycopg.Connection[tuple[int]]) -> float:
    row = database.execute(
        "SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float FROM machines_link"
    ).fetchone()
    assert row is not None
    return float(row[0])


def _at_rest(database: psycopg.Connection[tuple[int]]) -> bool:
    """Whether no reconciler has anything to do now."""
    row = database.execute("SELECT count(*) FROM reconcile_outbox WHERE due_at < now() + interval '5 s'").fetchone()
    return row is not None and row[0] == 0


def _made(server: Installation, machines: Machines, database: psycopg.Connection[tuple[int]], count: int) -> Ready:
    uuids = [row["uuid"] for row in server.api.list("machines")]
    names = [f"bench-{number}" for number in range(count)]
    cpu, fleet_cpu, began = server.cpu(), machines.cpu(), time.monotonic()
    for number, name in enumerate(names):
        template = template_of(name, uuids[number * MACHINES : (number + 1) * MACHINES])
        server.api.post("templates", "sync", json={"template": template})

    def all_ready() -> bool:
        row = database.execute("SELECT count(*) FROM clusters_clusterstatus WHERE ready").fetchone()
        return row is not None and row[0] == count

    server.wait_for(all_ready, READY_SECONDS, f"{count} clusters to be Ready")
    seconds = time.monotonic() - began
    return Ready(count, seconds, server.cpu() - cpu, machines.cpu() - fleet_cpu, machines.calls())


def template_of(name: str, uuids: list[str]) -> str:
    """A cluster of these machines, the first three of them control planes."""

    def listed(some: list[str]) -> str:
        return "".join(f"  - {uuid}\n" for uuid in some)

    return (
        f"kind: Cluster\nname: {name}\nkubernetes:\n  version: {KUBERNETES}\ntalos:\n  version: {TALOS}\n"
        f"---\nkind: ControlPlane\nmachines:\n{listed(uuids[:CONTROL_PLANES])}"
        f"---\nkind: Workers\nmachines:\n{listed(uuids[CONTROL_PLANES:])}"
    )
