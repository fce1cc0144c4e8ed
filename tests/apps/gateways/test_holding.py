"""Two gateways on one database behind one address: who holds which link, and what happens when a machine lands at the
other, or a gateway goes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest

from apps.gateways import program, roster
from apps.gateways.models import Gateway
from apps.machines.models import Link, Machine
from nodeagent import dial, internal
from nodeagent.dial import NoWay
from nodeagent.siderolink.tunnel import ADDRESS_KEY
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.wireguard import peer
from omni import keys
from omni.config import Config
from talos.gen.sidero import link_pb2, link_pb2_grpc
from tests.apps.gateways.front import Front
from tests.apps.gateways.lab import FAST, Lab, complete, free_port

HOSTS = {"one": "127.0.0.11", "two": "127.0.0.12"}
FRONT = "127.0.0.10"


@dataclass
class Site:
    """Both gateways, and what is in front of them."""

    labs: dict[str, Lab]
    front: Front
    identity: internal.Identity

    @contextlib.asynccontextmanager
    async def running(self, *names: str) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as ending:
            for name in names:
                await ending.enter_async_context(self.labs[name].gateway())
            await ending.enter_async_context(self.front)
            yield

    def machines(self, token: str, count: int, tunnel: bool, seed: str = "site") -> Fleet:
        tunnelled = "grpc_tunnel=true&" if tunnel else ""
        api = f"grpc://{FRONT}:{self.front.port}?{tunnelled}jointoken={token}"
        return Fleet(FleetOptions(machines=count, api=api, timings=FAST, seed=seed))

    def send_to(self, name: str) -> None:
        """Everything that is new goes to this gateway."""
        self.front.out = set(HOSTS.values()) - {HOSTS[name]}

    async def held(self, uuid: str, name: str) -> Machine:
        """The machine, once it is connected and answers at this gateway."""
        return await self.labs["one"].machine(
            uuid, lambda machine: machine.link.gateway == name and machine.link.alive and complete(machine)
        )

    async def dial(self, name: str, machine: Machine, here: bool = False) -> None:
        """Reach the machine through a gateway."""
        settings = self.labs[name].settings
        assert settings.internal is not None
        address = str(machine.link.address)
        _, writer = await dial.through_host(settings.internal, self.identity, address, 50000, here)
        writer.close()


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Site:
    config = Config(data=tmp_path / "keys")
    keys.prepare(config)
    identity = keys.identity(config)
    labs = {}
    for name, host in HOSTS.items():
        run = lab.settings.run / name
        run.mkdir()
        address = (host, free_port(socket.SOCK_STREAM))
        labs[name] = replace(
            lab,
            settings=replace(
                lab.settings,
                name=name,
                run=run,
                host=host,
                advertise=FRONT,
                identity=identity,
                internal=address,
                internal_address=f"{host}:{address[1]}",
            ),
        )
    return Site(labs, Front(FRONT, lab.settings.port, lab.settings.wireguard_port, *HOSTS.values()), identity)


@pytest.mark.parametrize("tunnel", [False, True], ids=["udp", "grpc"])
async def test_a_machine_that_lands_at_the_other_gateway_is_held_there(
    site: Site, monkeypatch: pytest.MonkeyPatch, tunnel: bool
) -> None:
    monkeypatch.setattr(peer, "KEEPALIVE_TIMEOUT", 1.0)  # a machine that gets no answer shakes hands anew in seconds
    monkeypatch.setattr(peer, "REKEY_TIMEOUT", 0.5)
    token = await site.labs["one"].token()
    async with site.running("one", "two"), site.machines(token, 1, tunnel) as fleet:
        site.send_to("one")
        uuid = fleet.machines[0].hardware.uuid
        machine = await site.held(uuid, "one")
        await site.dial("two", machine)  # relayed
        with pytest.raises(NoWay, match="not held by two"):
            await site.dial("two", machine, here=True)

        site.send_to("two")
        site.front.cut()
        boot = await fleet.machines[0].booted()
        boot.kernel_log.talos("from the other side")  # something to send
        machine = await site.held(uuid, "two")
        await site.dial("one", machine)
        with pytest.raises(NoWay, match="not held by one"):
            await site.dial("one", machine, here=True)


async def test_machines_of_both_kinds_are_inherited_from_a_gateway_that_is_gone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(self: roster.Roster) -> None:
        """It says nothing any more."""

    monkeypatch.setattr(roster.Roster, "leave", killed)
    monkeypatch.setattr(roster, "BEAT", 0.1)
    monkeypatch.setattr(roster, "LIFE", 1.0)
    token = await site.labs["one"].token()
    async with contextlib.AsyncExitStack() as ending:
        one = contextlib.AsyncExitStack()
        async with one:
            await one.enter_async_context(site.labs["one"].gateway())
            await ending.enter_async_context(site.running("two"))
            site.send_to("one")
            over_udp = await ending.enter_async_context(site.machines(token, 2, tunnel=False))
            over_grpc = await ending.enter_async_context(site.machines(token, 1, tunnel=True, seed="grpc"))
            uuids = [machine.hardware.uuid for fleet in (over_udp, over_grpc) for machine in fleet.machines]
            for uuid in uuids:
                await site.held(uuid, "one")
            site.send_to("two")
        for uuid in uuids:
            await site.dial("two", await site.held(uuid, "two"))


async def test_a_gateway_that_comes_back_finds_its_machines(site: Site) -> None:
    """Nobody inherits what was away for a moment, and nobody but the holder calls its machines."""
    token = await site.labs["one"].token()
    async with site.running("two"), contextlib.AsyncExitStack() as ending:
        site.send_to("one")
        async with site.labs["one"].gateway():
            fleet = await ending.enter_async_context(site.machines(token, 1, tunnel=False))
            uuid = fleet.machines[0].hardware.uuid
            before = await site.held(uuid, "one")
        async with site.labs["one"].gateway():
            after = await site.labs["one"].machine(
                uuid,
                lambda machine: machine.link.alive and machine.link.handshake_at > before.link.handshake_at,
            )
            assert after.link.gateway == "one"


async def test_a_second_stream_for_a_machine_at_another_gateway_disturbs_nobody(site: Site) -> None:
    """Whoever knows a virtual address cannot take the link: it takes the machine's key to shake hands."""
    token = await site.labs["one"].token()
    async with site.running("one", "two"), site.machines(token, 1, tunnel=True) as fleet:
        site.send_to("one")
        uuid = fleet.machines[0].hardware.uuid
        machine = await site.held(uuid, "one")
        tag = f"[{machine.link.virtual_address}]:50889"
        async with grpc.aio.insecure_channel(f"{HOSTS['two']}:{site.front.port}") as channel:
            stub = link_pb2_grpc.WireGuardOverGRPCServiceStub(channel)
            stream = stub.CreateStream(metadata=[(ADDRESS_KEY, tag)])
            await stream.write(link_pb2.PeerPacket(Data=b"\x04" + bytes(31)))
            called = await stream.read()
            assert called.Data[0] == 1  # the gateway wants to shake hands
            await stream.write(link_pb2.PeerPacket(Data=called.Data))
            boot = await fleet.machines[0].booted()
            boot.kernel_log.talos("still here")
            await site.dial("two", machine)
            link = await site.labs["one"].ask(lambda: Link.objects.get(machine__uuid=uuid))
            assert (link.gateway, link.alive, link.handshake_at) == ("one", True, machine.link.handshake_at)
            stream.cancel()


async def test_a_machine_that_opens_a_stream_at_another_gateway_leaves_the_first(site: Site) -> None:
    """Its old stream hangs: nothing tells the first gateway that the machine is gone."""
    token = await site.labs["one"].token()
    async with site.running("one", "two"), site.machines(token, 1, tunnel=True) as fleet:
        site.send_to("one")
        machine = fleet.machines[0]
        await site.held(machine.hardware.uuid, "one")
        site.send_to("two")
        site.front.forget_machines()
        (await machine.booted()).kernel_log.talos("something to send")
        moved = await site.held(machine.hardware.uuid, "two")
        await site.dial("one", moved)
        with pytest.raises(NoWay, match="not held by one"):
            await site.dial("one", moved, here=True)


async def test_two_gateways_of_one_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was started last stays."""
    monkeypatch.setattr(roster, "BEAT", 0.1)
    namesake = replace(site.labs["two"].settings, name="one")
    first = asyncio.create_task(program.run(site.labs["one"].settings))
    await site.labs["one"].until(lambda: Gateway.objects.filter(name="one").exists())
    second = asyncio.create_task(program.run(namesake))
    try:
        with pytest.raises(ExceptionGroup) as ended:
            async with asyncio.timeout(20):
                await first
        assert ended.group_contains(roster.NameTaken, match="give each its own --name")
        assert not second.done()
    finally:
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
