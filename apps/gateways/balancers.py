"""Keeps one balancer open for each cluster, with the backends that the database names."""

import asyncio
import logging
from uuid import UUID

from apps.clusters.models import Cluster, ClusterMachine, MachineSet
from apps.tenants import lookups
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent.balancer import Backends, Balancer
from nodeagent.dial import Dial
from nodeagent.wireguard.engine import Engine

INTERVAL = 10.0
"""Seconds between looks when nothing is heard of a change."""

log = logging.getLogger(__name__)


class Balancers:
    """The open balancers of this gateway."""

    def __init__(self, engine: Engine, dial: Dial) -> None:
        self._engine, self._dial = engine, dial
        self._open: dict[int, Balancer] = {}
        self._look = asyncio.Event()

    def look(self) -> None:
        """Something about a cluster changed."""
        self._look.set()

    async def run(self) -> None:
        """Follow the database until cancelled."""
        while True:
            self._look.clear()
            try:
                await self._follow(await in_thread(_wanted))
            except Exception:
                log.exception("balancers cannot be brought up to date, trying again")
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._look.wait()
                await asyncio.sleep(0.1)  # changes come in bursts
            except TimeoutError:
                pass

    async def _follow(self, wanted: dict[int, Backends]) -> None:
        for port in self._open.keys() - wanted.keys():
            self._open.pop(port).close()
        for port, backends in wanted.items():
            if port in self._open:
                self._open[port].backends = backends
                continue
            balancer = Balancer(self._engine, self._dial, port, backends)
            try:
                await balancer.open()
            except OSError as error:
                log.error("the balancer on port %d cannot be opened, trying again: %s", port, error)
            else:
                self._open[port] = balancer


def _wanted() -> dict[int, Backends]:
    wanted: dict[int, Backends] = {}
    for organisation_id in lookups.organisations():
        wanted |= _of_organisation(organisation_id)
    return wanted


def _of_organisation(organisation_id: UUID) -> dict[int, Backends]:
    with tenant_scope(organisation_id):
        ports = dict(Cluster.objects.values_list("id", "balancer_port"))
        members = ClusterMachine.objects.filter(machine__link__isnull=False).values_list(
            "cluster_id", "role", "machine__link__address", "leaving_at"
        )
        rows = [(cluster, role, str(address), leaving) for cluster, role, address, leaving in members]
    return {
        port: Backends(
            members=frozenset(address for cluster, _, address, _ in rows if cluster == cluster_id),
            control_planes=tuple(
                sorted(
                    address
                    for cluster, role, address, leaving in rows
                    if cluster == cluster_id and role == MachineSet.CONTROL_PLANE and leaving is None
                )
            ),
        )
        for cluster_id, port in ports.items()
    }
