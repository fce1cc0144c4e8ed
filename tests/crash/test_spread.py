"""Ten clusters are made at once by processes that are spread over hosts; each of the processes is killed meanwhile."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nodeagent.simulator.__main__ import with_transport
from nodeagent.simulator.fleet import Fleet, FleetOptions
from omni.cli.api import Api
from tests.apps.gateways.front import Front
from tests.apps.gateways.lab import FAST
from tests.crash import test_kill
from tests.crash.calls import Record
from tests.crash.spread import GATEWAYS, Spread
from tests.crash.test_kill import User

CLUSTERS = 10
BACK = 25.0
"""Seconds after a gateway started again in which all its links are back."""

GONE = 10.0
"""Seconds after which a gateway that says nothing is gone."""

DEATHS = ["gateway-1", "worker-1", "beat-1", "web-1", "redis", "gateway-2", "worker-2", "web-2", "beat-2"]
"""What is killed while clusters are made, and started again; evenly over their acts."""

ACTS = 3 * 2 * CLUSTERS
"""Calls that a machine gets at least until its cluster is Ready: install, reboot, configuration."""


@pytest.fixture
def spread() -> Iterator[Spread]:
    with tempfile.TemporaryDirectory(prefix="omni-") as folder:
        made = Spread(Path(folder))
        yield made
        for process in made.processes.values():
            print(process.said())


@dataclass
class Deaths:
    """Kills the next one whenever so many acts were done, and starts it again."""

    spread: Spread
    waiting: list[str] = field(default_factory=lambda: list(DEATHS))
    acts: int = 0
    begun: bool = False
    took: dict[str, float] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def meanwhile(self, moment: str, method: str, number: int) -> None:
        """One more act: `moment` is before or after it."""
        if not self.begun:
            return
        self.acts += moment == "before"
        if self.waiting and self.acts >= ACTS / (len(DEATHS) + 1) * (len(DEATHS) - len(self.waiting) + 1):
            self.tasks.append(asyncio.create_task(self._die(self.waiting.pop(0))))

    async def _die(self, name: str) -> None:
        process, spread = self.spread.processes[name], self.spread
        held = {id for id, (gateway, alive, _) in (await spread.links()).items() if gateway == name and alive}
        since = await spread.now()
        process.kill()
        process.start()
        await spread.ready(name)
        if name in GATEWAYS:
            self.took[name] = await spread.links_back(held, since, BACK)

    async def all(self) -> None:
        """Wait until everything that died is back; raises what did not come back in time."""
        await asyncio.gather(*self.tasks)
        assert not self.waiting


def template(name: str, control_plane: str, worker: str) -> str:
    return (
        f"kind: Cluster\nname: {name}\nkubernetes: {{version: v1.36.3}}\ntalos: {{version: v1.13.8}}\n"
        f"---\nkind: ControlPlane\nmachines: [{control_plane}]\n---\nkind: Workers\nmachines: [{worker}]\n"
    )


async def test_ten_clusters_while_everything_dies(monkeypatch: pytest.MonkeyPatch, spread: Spread) -> None:
    # What a lost answer hides is given two minutes to show itself before it is asked for again.
    monkeypatch.setattr(test_kill, "PATIENCE", 240.0)
    deaths = Deaths(spread)
    record = Record(deaths.meanwhile)
    record.install(monkeypatch)
    async with spread.running() as front:
        token = await asyncio.to_thread(spread.omni, "admin", "token")
        with Api(spread.url, token, (spread.keys / "ca.crt").read_text(), "default") as api:
            await make_clusters(User(api), spread, front, record, deaths)
    print("links were back after", deaths.took)


async def make_clusters(user: User, spread: Spread, front: Front, record: Record, deaths: Deaths) -> None:
    api = user.api
    row = await user.ask(lambda: api.post("join-tokens", json={"name": "lab"}))
    arguments = (await user.ask(lambda: api.post("join-tokens", row["id"], "reveal")))["kernel_arguments"]
    url = arguments.split()[0].partition("=")[2]
    async with fleet_of(url) as fleet:
        uuids = [machine.hardware.uuid for machine in fleet.machines]
        pairs = {f"c{number}": uuids[2 * number : 2 * number + 2] for number in range(CLUSTERS)}

        def joined() -> bool:
            rows = api.list("machines")
            return sum(bool(row["reachable"] and row["stage"] == "maintenance") for row in rows) == len(uuids)

        await user.until(joined, lambda: [(row["uuid"], row["state"]) for row in api.list("machines")])
        assert {gateway for gateway, _, _ in (await spread.links()).values()} == set(GATEWAYS)

        deaths.begun = True
        await asyncio.gather(*(user.sync(template(name, *pair)) for name, pair in pairs.items()))

        def statuses() -> list[Any]:
            return [api.get("clusters", name, "status") for name in pairs]

        await user.until(
            lambda: all(status["ready"] for status in statuses()),
            lambda: [
                ([item["message"] for item in status["conditions"]], [acts_of(record, uuid) for uuid in pairs[name]])
                for name, status in zip(pairs, statuses(), strict=True)
                if not status["ready"]
            ],
        )
        await deaths.all()

        # One gateway goes for good; its machines come over to the other.
        held = {id for id, (gateway, _, _) in (await spread.links()).items() if gateway == "gateway-2"}
        since = await spread.now()
        spread.processes["gateway-2"].kill()
        front.out.add(GATEWAYS["gateway-2"])
        deaths.took["the other gateway"] = await spread.links_back(held, since, GONE + BACK)
        assert {gateway for gateway, _, _ in (await spread.links()).values()} == {"gateway-1"}

        def connected() -> bool:
            rows = api.list("machines")
            return sum(bool(row["connected"] and row["reachable"]) for row in rows) == len(uuids)

        await user.until(connected, lambda: [(row["uuid"], row["error"]) for row in api.list("machines")])
        audit = [row["verb"] for row in await user.ask(lambda: api.list("audit"))]

    assert audit.count("machine.join") == len(uuids)
    assert audit.count("cluster.bootstrapped") == CLUSTERS
    for control_plane, worker in pairs.values():
        for uuid in (control_plane, worker):
            assert record.count(uuid, "Install") == 1
            assert record.count(uuid, "Reboot") == 1
            assert record.count(uuid, "Upgrade") <= 1  # completes an installation whose end nobody saw
            assert record.count(uuid, "Reset") == 0
        assert record.count(control_plane, "Bootstrap") == 1
        assert record.count(worker, "Bootstrap") == 0


def fleet_of(url: str) -> Fleet:
    """Two machines for each cluster: one over UDP, one over gRPC."""
    fleet = Fleet(FleetOptions(machines=2 * CLUSTERS, api=with_transport(url, "udp"), timings=FAST, seed="spread"))
    for machine in fleet.machines[1::2]:
        machine.kernel_arguments = machine.kernel_arguments.replace(
            with_transport(url, "udp"), with_transport(url, "grpc")
        )
    return fleet


def acts_of(record: Record, uuid: str) -> list[str]:
    return [made.method for made in record.made if made.uuid == uuid]
