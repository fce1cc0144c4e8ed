"""The real calls: reconcilers, NodeClient and simulated machines, with their TLS, their etcd and their Kubernetes API.

Only the link is missing: connections go straight to the machines, and what a gateway would see is written here.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from apps.clusters import credentials, plan_leaving, queries
from apps.clusters.models import ClusterMachine
from apps.machines import nodes
from apps.machines.models import Link, Machine, MachineObservation, MachineStatus
from apps.reconcile.models import Outbox
from apps.reconcile.outbox import hint
from apps.reconcile.registry import RECONCILERS
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from nodeagent import errors
from nodeagent.dial import Stream
from nodeagent.follow import follow
from nodeagent.simulator.machine import Machine as Simulated
from nodeagent.tls import Credentials
from talos.contract import VersionContract
from talos.secrets import Bundle, new_bundle
from tests.apps.clusters.test_lifecycle import Lab
from tests.nodeagent.simulator.bench import Bench, bench

KINDS = ("cluster", "cluster-machine")


@cache
def bundle_for(version: str) -> Bundle:
    return new_bundle(datetime.now(UTC), VersionContract.parse(version))


class Site:
    """Simulated machines, and the part of the gateway that reconcilers depend on."""

    def __init__(self, organisation: Organisation, fleet: Bench) -> None:
        self.organisation, self.bench = organisation, fleet
        self.credentials: dict[str, Credentials | None] = {}
        self.seen: dict[str, dict[str, Any]] = {}
        self.heard = threading.Event()
        self.machines = {machine.hardware.uuid: machine for machine in fleet.fleet.machines}
        self._addresses: dict[str, Simulated] = {}
        for number, (uuid, machine) in enumerate(self.machines.items(), 16):
            self._addresses[f"fdae:41e4:649b:9303::{number:x}"] = machine
            self._register(uuid, f"fdae:41e4:649b:9303::{number:x}")

    def _register(self, uuid: str, address: str) -> None:
        with tenant_scope(self.organisation.id):
            row = Machine.new(uuid=uuid)
            Link.new(
                machine=row, claimed_uuid=uuid, state="established", transport="udp", public_key=uuid, address=address
            )
            MachineObservation.new(machine=row)
            MachineStatus.new(machine=row)

    async def dial(self, address: str, port: int) -> Stream:
        return await self.bench.connect(self._addresses[address], port)

    async def watch(self, uuid: str) -> None:
        """Follow one machine in whichever mode it is, for ever."""
        address = next(key for key, machine in self._addresses.items() if machine.hardware.uuid == uuid)
        while True:
            for held in {self.credentials.get(uuid): 0, None: 0}:
                with contextlib.suppress(errors.NodeError, OSError):
                    await self._follow(uuid, address, held)
            self._tell(uuid, {"connected": False})
            await asyncio.sleep(0.05)

    async def _follow(self, uuid: str, address: str, held: Credentials | None) -> None:
        from nodeagent.client import NodeClient

        async with NodeClient(lambda: self.dial(address, nodes.API_PORT), held) as client:
            version = await client.version()
            mode = "secure" if held else "maintenance"
            self._tell(uuid, {"connected": True, "api_mode": mode, "talos_version": version.tag})
            await follow(client, lambda told: self._tell(uuid, told))

    def _tell(self, uuid: str, told: dict[str, Any]) -> None:
        known = self.seen.setdefault(uuid, {})
        if any(known.get(name) != value for name, value in told.items()):
            known.update(told)
            self.heard.set()

    def report(self) -> None:
        with tenant_scope(self.organisation.id):
            for row in Machine.objects.select_related("observation"):
                self.credentials[row.uuid] = queries.machine_credentials(row.id)
                columns = {field.name for field in MachineObservation._meta.get_fields()}
                told = {name: value for name, value in self.seen.get(row.uuid, {}).items() if name in columns}
                MachineObservation.objects.filter(machine=row).update(**told)
                for member in ClusterMachine.objects.filter(machine=row):
                    hint("cluster-machine", member.id, self.organisation.id)
                    hint("cluster", member.cluster_id, self.organisation.id)

    def run(self, until: Callable[[], bool], seconds: float = 60) -> None:
        """Reconcile, whenever something was heard, until something is so."""
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, self.describe()
            self.heard.wait(0.2)
            self.heard.clear()
            self.report()
            for row in Outbox.objects.filter(kind__in=KINDS).order_by("id"):
                outcome = RECONCILERS[row.kind](self.organisation.id, row.object_id)
                if outcome.again_in is None:
                    Outbox.objects.filter(id=row.id, version=row.version).delete()

    def describe(self) -> str:
        with tenant_scope(self.organisation.id):
            rows = [str(row.conditions[-1:]) for row in ClusterMachine.objects.all()]
            return "; ".join([*rows, str(Lab(self).said("kubernetes")), str(Lab(self).said("etcd"))])  # type: ignore[arg-type]


@pytest.fixture
def site(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, str], Site]]:
    with contextlib.ExitStack() as stack:

        def make(machines: int, version: str) -> Site:
            context = bench(machines=machines, version=f"v{version}")
            made = Site(organisation, nodes.run(context.__aenter__(), 30))  # type: ignore[arg-type]
            stack.callback(lambda: nodes.run(context.__aexit__(None, None, None), 30))  # type: ignore[arg-type]
            monkeypatch.setattr(nodes, "dial", made.dial)
            monkeypatch.setattr(credentials, "new_secrets", bundle_for)
            monkeypatch.setattr(plan_leaving, "STAY", timedelta(seconds=1))
            for uuid in made.machines:
                task = asyncio.run_coroutine_threadsafe(made.watch(uuid), nodes._loop())
                stack.callback(task.cancel)
            return made

        yield make


def text(uuids: list[str], workers: list[str], talos: str, kubernetes: str) -> str:
    more = f"---\nkind: Workers\nmachines: {workers}\n" if workers else ""
    return (
        f"kind: Cluster\nname: lab\nkubernetes: {{version: v{kubernetes}}}\ntalos: {{version: v{talos}}}\n"
        f"---\nkind: ControlPlane\nmachines: {uuids}\n{more}"
    )


@pytest.mark.parametrize(("talos", "kubernetes"), [("1.12.11", "1.35.4"), ("1.13.8", "1.36.3"), ("1.14.1", "1.37.0")])
def test_to_ready_and_back(site: Callable[[int, str], Site], talos: str, kubernetes: str) -> None:
    world = site(3, talos)
    lab = Lab(world)  # type: ignore[arg-type]
    uuids = list(world.machines)
    lab.sync(text(uuids, [], talos, kubernetes))
    world.run(lab.ready)
    lab.destroy()
    world.run(lab.gone)
    world.run(lambda: {fields["stage"] for fields in world.seen.values()} == {"maintenance"})
