"""Agents at two gateways: one of them holds the link of a machine that both reach, the other takes over."""

from functools import partial

import pytest

from apps.gateways import agents as module
from apps.gateways import roster
from apps.machines.models import Machine
from nodeagent import agent as program
from nodeagent.tunnel.lookout import Lookout
from tests.apps.gateways.behind import enrolled, fleet, host, network, running_agent, target, up
from tests.apps.gateways.test_holding import Site, site

__all__ = ["site"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "Lookout", partial(Lookout, named_every=0.1, scan_every=0.1))
    monkeypatch.setattr(program, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(program, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.5)
    monkeypatch.setattr(roster, "BEAT", 0.1)


async def held(site: Site, machine: Machine, name: str) -> Machine:
    return await site.labs["one"].machine(machine.uuid, lambda m: m.link.gateway == name and m.link.alive and up(m))


async def test_the_other_gateway_takes_over_when_the_agent_goes(site: Site) -> None:
    one, two = site.labs["one"], site.labs["two"]
    net, token = network(), await one.token()
    async with site.running("one", "two"), fleet(net) as machines:
        uuid = machines.machines[0].hardware.uuid
        async with running_agent(one, token, host(net), name="a1") as first:
            machine = await held(site, await one.machine(uuid, up), "one")
            async with running_agent(two, token, host(net), name="a2"):
                await target(one, host(net), "a2", machine=machine)
                assert (await one.machine(uuid)).link.gateway == "one"  # it stays where it is
                for name in ("one", "two"):
                    await site.dial(name, machine)
                first.cancel()
                await enrolled(one, "a1", observation__connected=False)
                await held(site, machine, "two")
                for name in ("one", "two"):
                    await site.dial(name, machine)


async def test_a_gateway_that_is_gone_leaves_its_machines_to_the_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in (roster, module):
        monkeypatch.setattr(part, "LIFE", 0.5)
    one, two = site.labs["one"], site.labs["two"]
    net, token = network(), await one.token()
    async with site.running("two"), fleet(net) as machines:
        uuid = machines.machines[0].hardware.uuid
        async with running_agent(one, token, host(net), name="a1"):
            async with one.gateway():
                machine = await held(site, await one.machine(uuid, up), "one")
            await enrolled(one, "a1", observation__connected=False)
            down = await one.machine(uuid, lambda m: m.link.gateway == "two" and not m.observation.reachable)
            assert down.observation.hostname
            async with running_agent(two, token, host(net), name="a2"):
                await held(site, machine, "two")
                await site.dial("two", machine)
