"""Asking nodes what they say of each other: simulated machines in a real mesh, over the machine API."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from apps.machines import nodes
from apps.mesh import collector
from apps.mesh.collector import Reading, Target
from kubespan.mesh import Mesh, Node, Pair, look
from kubespan.reasons import problems
from nodeagent.dial import Stream
from nodeagent.simulator.boot import Boot
from nodeagent.tls import Credentials
from omni.simulated_mesh import SimulatedMesh
from talos import pki, roles
from talos.resources import types
from tests.nodeagent.simulator.bench import Bench, bench, bundle, until
from tests.omni.test_simulated_mesh import Clock, Service, all_up, cluster, mesh, sees

NODES = 3


class Site:
    """Configured machines, each at an address of the overlay."""

    def __init__(self, fleet: Bench, boots: list[Boot], clock: Clock | None = None) -> None:
        self.bench, self.boots, self.clock = fleet, boots, clock
        self.addresses = {f"fdae:41e4:649b:9303::{number:x}": boot for number, boot in enumerate(boots, 16)}
        made = bundle()
        client = pki.talos_client(made.os, [roles.ADMIN], datetime.now(UTC))
        self.credentials = Credentials(made.os.crt, client)

    async def dial(self, address: str, port: int) -> Stream:
        if address not in self.addresses:
            raise ConnectionRefusedError("no gateway holds the link")
        return await self.bench.connect(self.addresses[address].machine, port)

    def targets(self, known: bool = True) -> list[Target]:
        return [
            Target(boot.machine.hardware.uuid, address, boot.node_id if known else "", self.credentials)
            for address, boot in self.addresses.items()
        ]

    async def read(self, targets: list[Target] | None = None) -> list[Reading | None]:
        return await collector._read_all(self.targets() if targets is None else targets)


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Three machines of one cluster with KubeSpan, all of whose pairs are up."""
    async with mesh(NODES) as (fleet, boots, clock):
        clock.forward(1)
        await all_up(boots)
        made = Site(fleet, boots, clock)
        monkeypatch.setattr(nodes, "dial", made.dial)
        yield made


def mesh_of(readings: list[Reading | None]) -> Mesh:
    found = []
    for reading in readings:
        assert reading is not None
        assert reading.me is not None
        me = reading.me
        found.append(
            Node(me.name, me.node_id, me.key, me.address, me.role, me.endpoints, peers=reading.peers, at=reading.at)
        )
    return look(found, found[0].at)


async def test_what_nodes_say_is_a_mesh(site: Site) -> None:
    readings = await site.read()
    seen = mesh_of(readings)
    assert seen.counts[Pair.UP] == seen.total == 3
    assert {node.id for node in seen.nodes} == {boot.node_id for boot in site.boots}
    assert {node.address for node in seen.nodes} == {boot.kubespan.address for boot in site.boots}
    assert all(endpoint.endswith(":51820") for node in seen.nodes for endpoint in node.endpoints)
    peer = seen.peer(0, 1)
    assert peer is not None
    assert peer.endpoint in seen.nodes[1].endpoints
    assert peer.handshake > 1_700_000_000
    assert peer.received > 0


async def test_one_node_tells_of_all_others(site: Site) -> None:
    readings = [reading for reading in await site.read() if reading is not None]
    telling = [reading for reading in readings if reading.others]
    assert len(telling) == 1
    known = {item.node_id for item in telling[0].others}
    assert len(known) == NODES - 1
    assert telling[0].me is not None
    assert telling[0].me.node_id not in known


async def test_a_node_whose_id_is_not_known_is_asked_for_it(site: Site) -> None:
    readings = await site.read(site.targets(known=False))
    assert [reading.me.node_id for reading in readings if reading and reading.me] == [
        boot.node_id for boot in site.boots
    ]


async def test_why_a_node_is_not_read(site: Site) -> None:
    first, second, third = site.targets()
    foreign = pki.talos_ca(datetime.now(UTC))
    stranger = Credentials(foreign.crt, pki.talos_client(foreign, [roles.ADMIN], datetime.now(UTC)))
    readings = await site.read(
        [
            Target("00000000-0000-4000-8000-000000000000", first.address, "", site.credentials),
            Target(second.uuid, "fdae:41e4:649b:9303::ffff", "", site.credentials),
            Target(third.uuid, third.address, "", stranger),
            first,
        ]
    )
    problems = [reading.problem if reading else None for reading in readings]
    assert problems[0] == "is not the machine that answers there"
    assert problems[1] == "could not be reached over its link"
    assert problems[2] == "does not have the cluster's certificates"
    assert problems[3] == ""
    assert readings[3] is not None
    assert len(readings[3].others) == NODES - 1  # the first that answers tells of the others


async def test_a_node_that_hangs_holds_nobody_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "PATIENCE", 0.2)
    slow = site.targets()[0]

    async def dial(address: str, port: int) -> Stream:
        if address == slow.address:
            await asyncio.Event().wait()
        return await site.dial(address, port)

    monkeypatch.setattr(nodes, "dial", dial)
    readings = await site.read([slow])
    assert readings[0] == Reading(problem="did not answer in time")


async def test_what_does_not_begin_in_time_is_left_for_the_next_round(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "BUDGET", -1.0)
    assert await site.read() == [None] * NODES


async def test_a_pair_that_is_cut_is_seen_with_its_reason(site: Site) -> None:
    one, other, _ = site.boots
    underlay = site.bench.fleet.world.underlay
    underlay.faults.cut.add(frozenset((one.machine.hardware.uuid, other.machine.hardware.uuid)))
    underlay.changed()
    assert site.clock is not None
    site.clock.forward(300)
    await sees(one, other, state="down")
    await sees(other, one, state="down")
    seen = mesh_of(await site.read())
    assert (seen.counts[Pair.UP], seen.counts[Pair.DOWN]) == (2, 1)
    [problem] = problems(seen)
    assert {seen.nodes[problem.about].id, seen.nodes[problem.others[0]].id} == {one.node_id, other.node_id}


async def test_without_kubespan_there_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    async with service.running(), bench(1, mesh=SimulatedMesh()) as fleet:
        made = Site(fleet, await cluster(fleet, f"http://127.0.0.1:{service.port}"))
        async with fleet.client(fleet.fleet.machines[0], roles.ADMIN) as client:
            await client.wait_for_answer(30)
        await until(made.boots[0], types.AFFILIATE, bool)
        monkeypatch.setattr(nodes, "dial", made.dial)
        [reading] = await made.read()
        assert reading is not None
        assert reading.problem == ""
        assert reading.me is None or reading.me.key == ""
        assert reading.peers is not None
        assert len(reading.peers) == 0
