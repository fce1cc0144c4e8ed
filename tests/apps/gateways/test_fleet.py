"""Many machines at the same moment."""

import asyncio

import pytest

from apps.gateways import sessions
from apps.machines.models import Link, Machine
from nodeagent.adopt import adopt
from nodeagent.simulator import hardware
from tests.apps.gateways.lab import Lab, complete

COUNT, SEED = 24, "fleet"


async def test_none_is_stranded_while_it_waits_to_be_adopted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for its turn as a pending machine; what others take so long for costs none its link."""
    waiting = 0
    most = 0

    async def slow(*arguments: object) -> None:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.05)
        waiting -= 1
        await adopt(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sessions, "adopt", slow)
    monkeypatch.setattr(sessions, "BEGINNING", 2)
    async with lab.gateway(), lab.fleet(await lab.token(), COUNT, seed=SEED):
        for index in range(COUNT):
            await lab.machine(hardware.build(SEED, index).uuid, complete)
    assert most == 2
    assert await lab.ask(lambda: Link.objects.filter(state=Link.PENDING).count()) == 0
    assert await lab.ask(Machine.objects.count) == COUNT
