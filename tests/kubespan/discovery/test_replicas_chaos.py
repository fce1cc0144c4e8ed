"""Anything may happen between services, in any order: in the end all have the same and nothing acknowledged is gone."""

import asyncio
import random
from collections import defaultdict

import pytest

from kubespan.discovery.replicas import meeting
from tests.kubespan.discovery.circles import Service, Wires, circle, copied, eventually

STEPS = 60
NAMES = ("one", "two", "three")
CLIENTS = 5


@pytest.mark.parametrize("seed", range(8))
async def test_all_find_together_again(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "BEAT", 0.02)
    draw = random.Random(seed)
    async with circle(*NAMES) as (wires, services):
        clients = [Client(f"a{n}", random.Random(seed * 100 + n)) for n in range(CLIENTS)]
        async with asyncio.TaskGroup() as tasks:
            ended = asyncio.Event()
            for client in clients:
                tasks.create_task(client.run(services, ended))
            for _ in range(STEPS):
                await _something(draw, wires, services)
                await asyncio.sleep(draw.choice((0, 0.001, 0.02)))
            ended.set()
        wires.heal()
        await eventually(lambda: all(len(service.linked) == len(NAMES) - 1 for service in services))
        await copied(services)
        await eventually(lambda: services[0].seen() == services[1].seen() == services[2].seen())
        for client in clients:
            data, endpoints = services[0].seen()[client.id]
            assert data == b"%d" % client.count
            assert endpoints >= client.endpoints
        assert all(service.core.state.affiliates == len(services[0].seen()) for service in services)


class Client:
    """Writes one affiliate, at any service; one that goes away is left, and the write tried again."""

    def __init__(self, affiliate: str, draw: random.Random) -> None:
        self.id, self.count, self.endpoints = affiliate, 0, set[bytes]()
        self._draw = draw

    async def run(self, services: list[Service], ended: asyncio.Event) -> None:
        """Write until the end, and once more."""
        last = False
        while not last:
            last = ended.is_set()
            service = self._draw.choice([one for one in services if one.core.ready] or services)
            endpoint = b"%d" % self._draw.randrange(20)
            self.count += 1
            # Later data lives longer by what two processes may differ in when they reckon a time.
            await service.update(self.id, b"%d" % self.count, endpoint, ttl=60 + self.count)
            self.endpoints.add(endpoint)
            await asyncio.sleep(self._draw.choice((0, 0, 0.001)))


async def _something(draw: random.Random, wires: Wires, services: list[Service]) -> None:
    """Something happens to the wires or to a service."""
    ways = defaultdict(int, split=2, heal=3, flicker=2, restart=1)
    what = draw.choices(list(ways), list(ways.values()))[0]
    at = draw.randrange(len(services))
    alone, others = NAMES[at], [name for name in NAMES if name != NAMES[at]]
    if what == "split":
        wires.split([alone], others)
    elif what == "heal":
        wires.heal()
    elif what == "flicker":
        wires.split([alone], [draw.choice(others)])
        wires.heal()
    else:
        wires.heal()
        await eventually(lambda: all(len(service.linked) == len(NAMES) - 1 for service in services))
        await copied(services)
        await services[at].core.drain()
        await services[at].core.close()
        services[at] = Service(wires, alone)
        await services[at].core.start()
