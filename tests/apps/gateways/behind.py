"""Machines behind agents: on loopback addresses of their own, with real agents that dial in to a `Lab`'s gateway."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_address

from apps.machines.models import Agent, AgentTarget, Machine
from nodeagent import agent
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.image import Image
from nodeagent.tunnel.protocol import Scope
from nodeagent.tunnel.reach import Address, Trust, Way
from tests.apps.gateways.lab import FAST, Lab

_networks = (str(ip_address("127.91.0.0") + 16 * number) for number in range(4000))


def network() -> str:
    """Sixteen loopback addresses that nobody else of this run uses, in CIDR form."""
    return f"{next(_networks)}/28"


def host(network: str, number: int = 0) -> str:
    """The address of a network's machine number so and so."""
    return str(ip_address(network.partition("/")[0]) + 1 + number)


def fleet(network: str, count: int = 1, seed: str = "behind", version: str = "v1.13.8") -> Fleet:
    """Machines without SideroLink, at the first addresses of a network."""
    return Fleet(FleetOptions(machines=count, image=Image(version), seed=seed, timings=FAST, listen_base=host(network)))


@contextlib.asynccontextmanager
async def running_agent(
    lab: Lab, token: str, *nodes: str, name: str = "rack-7", scan: tuple[str, ...] = ()
) -> AsyncIterator[asyncio.Task[None]]:
    """A real agent, until the block ends or its task is cancelled, which is its death. Its state stays in the lab."""
    way = Way(Address.parse(f"grpc://{lab.settings.host}:{lab.settings.port}"), Trust(), None)
    state = lab.settings.certificate.parent / f"agent-{name}"
    options = agent.Options(way, name, token, Scope(nodes, scan), state, "0.0.0-test")
    running = asyncio.create_task(agent.run(options, asyncio.Event()))
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def target(lab: Lab, address: str, name: str = "rack-7", **columns: object) -> AgentTarget:
    """What an agent reaches at an address, once it is stored so."""

    def look() -> AgentTarget | None:
        rows = AgentTarget.objects.select_related("machine", "agent")
        return rows.filter(agent__name=name, address=address, **columns).first()

    return await lab.until(look)


async def enrolled(lab: Lab, name: str = "rack-7", **columns: object) -> Agent:
    """An agent, once it is stored so."""

    def look() -> Agent | None:
        return Agent.objects.select_related("observation").filter(name=name, **columns).first()

    return await lab.until(look)


def up(machine: Machine) -> bool:
    """The machine is connected, its API answers, and its inventory is there."""
    seen = machine.observation
    return bool(seen.connected and seen.reachable and seen.stage and seen.hostname and seen.disks)
