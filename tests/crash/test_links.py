"""Links that are lossy, cut, replaced, or meet another server than before: they heal by themselves, and nothing of what
machines say is lost."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, fields
from typing import Any

import grpc
import pytest
from django.db import connections

from apps.gateways import monitor, program
from apps.machines.history import log_lines
from apps.machines.models import Machine
from nodeagent.siderolink import tunnel as tunnels
from nodeagent.simulator import link, tunnel
from nodeagent.simulator.boot import Next
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.image import Image
from nodeagent.simulator.machine import Machine as Simulated
from omni import postgres
from tests.apps.gateways.lab import FAST, HOST, Lab, complete, logged
from tests.crash.relays import Address, TcpRelay, Weather, udp_relay

TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "grpc"])

CREATE_STREAM = "/sidero.link.WireGuardOverGRPCService/CreateStream"


@dataclass(frozen=True)
class Relayed(program.Settings):
    """A gateway whose UDP port machines reach at another address."""

    relay: Address = ("", 0)

    @property
    def wireguard_endpoint(self) -> str:
        return f"{self.relay[0]}:{self.relay[1]}"


@dataclass
class Network:
    """A gateway's network, as bad as `weather`."""

    lab: Lab
    weather: Weather
    tcp: TcpRelay

    def fleet(self, token: str, transport: str, count: int = 1, version: str = "v1.13.8") -> Fleet:
        tunnelled = "grpc_tunnel=true&" if transport == "grpc" else ""
        api = f"grpc://{HOST}:{self.tcp.port}?{tunnelled}jointoken={token}"
        return Fleet(FleetOptions(machines=count, api=api, image=Image(version), seed="links", timings=FAST))

    def cut(self) -> None:
        self.weather.cut = True
        self.tcp.cut()

    def heal(self) -> None:
        self.weather.cut = False
        self.tcp.heal()


@contextlib.asynccontextmanager
async def network(lab: Lab, **weather: Any) -> AsyncIterator[Network]:
    """The lab's gateway behind relays. Enter it before `lab.gateway()`."""
    made = Weather(**weather)
    settings = lab.settings
    udp = udp_relay((HOST, settings.wireguard_port), made)
    async with udp as address, TcpRelay((HOST, settings.port), made) as tcp:
        lab.settings = Relayed(**{one.name: getattr(settings, one.name) for one in fields(settings)}, relay=address)
        yield Network(lab, made, tcp)
        lab.settings = settings


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines and gateway notice within a second or two what takes minutes otherwise."""
    monkeypatch.setattr(link, "CHECK_INTERVAL", 0.5)
    monkeypatch.setattr(link, "PEER_DOWN", 1.5)
    monkeypatch.setattr(tunnel, "CREATE_RETRY", 0.5)
    monkeypatch.setattr(tunnel, "RESTART_PAUSE", 0.3)
    monkeypatch.setattr(tunnels, "SILENCE", 1.0)


def numbers_of(machine: Machine) -> list[int]:
    """The numbers of the lines that the gateway stored of those that were numbered."""
    found = (re.search(rb"line:(\d+)", line) for _, line in log_lines(machine))
    return [int(match[1]) for match in found if match]


async def says(lab: Lab, simulated: Simulated, machine: Machine) -> None:
    """What the machine says now arrives."""
    boot, word = await simulated.booted(), os.urandom(6).hex()
    boot.kernel_log.talos(word)
    await lab.until(lambda: any(word.encode() in line for _, line in log_lines(machine)))


@TRANSPORTS
async def test_packets_are_lost_repeated_delayed_and_reordered(lab: Lab, transport: str) -> None:
    """Connections of the gRPC tunnel are late, and broken now and then."""
    token = await lab.token()
    bad = network(lab, seed=4711, loss=0.1, repeat=0.1, delay=0.03)
    async with bad as net, lab.gateway(), net.fleet(token, transport, 2) as fleet:
        machines = [await lab.machine(one.hardware.uuid, complete) for one in fleet.machines]
        for number in range(300):
            for simulated in fleet.machines:
                (await simulated.booted()).kernel_log.talos(f"line:{number}")
            if transport == "grpc" and number % 100 == 50:
                net.tcp.reset()
                await says(lab, fleet.machines[0], machines[0])
        for machine in machines:
            stored = await lab.until(lambda m=machine: len(found := numbers_of(m)) >= 300 and found)
            assert stored == list(range(300))


@TRANSPORTS
async def test_a_link_that_was_cut_comes_back(lab: Lab, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "SILENCE", 1.5)
    monkeypatch.setattr(monitor, "INTERVAL", 0.2)
    token = await lab.token()
    async with network(lab) as net, lab.gateway(), net.fleet(token, transport) as fleet:
        simulated = fleet.machines[0]
        machine = await lab.machine(simulated.hardware.uuid, complete)

        async def talk() -> None:
            while simulated.boot:
                simulated.boot.kernel_log.talos("still here")
                await asyncio.sleep(0.3)  # a machine that says something now and then

        talking = asyncio.create_task(talk())
        await lab.machine(machine.uuid, lambda m: m.observation.connected)
        net.cut()
        await lab.machine(machine.uuid, lambda m: not m.observation.connected and not m.observation.reachable)
        net.heal()
        again = await lab.machine(machine.uuid, lambda m: m.observation.connected and m.observation.reachable)
        await says(lab, simulated, machine)
        assert (again.id, again.link.address) == (machine.id, machine.link.address)
        talking.cancel()


@pytest.mark.parametrize("version", ["v1.13.8", "v1.14.1"])
async def test_a_tunnel_that_was_replaced_by_another_stream(lab: Lab, impatient: None, version: str) -> None:
    """Somebody who knows its virtual address takes a machine's place. Talos up to 1.14.0 gives the tunnel up, and gets
    another virtual address; later ones come back and take their place again."""
    async with lab.gateway(), lab.fleet(await lab.token(), 1, tunnel=True, version=version) as fleet:
        simulated = fleet.machines[0]
        machine = await lab.machine(simulated.hardware.uuid, complete)
        metadata = [("x-siderolink-ipv6-addr", f"[{machine.link.virtual_address}]:50889")]
        async with grpc.aio.insecure_channel(f"{HOST}:{lab.settings.port}") as channel:
            other = channel.stream_stream(CREATE_STREAM)(metadata=metadata)
            await other.write(b"\x12\x04junk")
            if version == "v1.13.8":
                await lab.machine(machine.uuid, lambda m: m.link.virtual_address != machine.link.virtual_address)
            await says(lab, simulated, machine)
            other.cancel()
        assert (await lab.machine(machine.uuid, complete)).id == machine.id


@TRANSPORTS
async def test_the_server_has_another_wireguard_key(lab: Lab, impatient: None, transport: str) -> None:
    token = await lab.token()
    async with lab.fleet(token, 1, transport == "grpc") as fleet:
        uuid = fleet.machines[0].hardware.uuid
        async with lab.gateway():
            before = await lab.machine(uuid, lambda m: complete(m) and (m.link.virtual_address or m.link.last_endpoint))
        lab.settings.wireguard_key.write_text(base64.b64encode(os.urandom(32)).decode())
        async with lab.gateway():
            await says(lab, fleet.machines[0], before)
            after = await lab.machine(uuid, complete)
            assert (after.id, after.link.address) == (before.id, before.link.address)


async def test_a_machine_comes_again_while_its_old_stream_is_half_open(lab: Lab) -> None:
    """Its power was cut: the gateway's end of the stream knows nothing of that."""
    token = await lab.token()
    async with network(lab) as net, lab.gateway(), net.fleet(token, "grpc") as fleet:
        simulated = fleet.machines[0]
        before = await lab.machine(simulated.hardware.uuid, complete)
        net.tcp.cut()
        simulated.kernel_arguments = simulated.kernel_arguments.replace(f":{net.tcp.port}", f":{lab.settings.port}")
        (await simulated.booted()).finish(Next.REBOOT)
        after = await lab.machine(
            before.uuid, lambda m: complete(m) and m.observation.boot_id != before.observation.boot_id
        )
        assert (after.id, after.link.address) == (before.id, before.link.address)
        await says(lab, simulated, after)


@pytest.fixture
def restartable(lab: Lab, database: postgres.Postgres) -> Iterator[postgres.Postgres]:
    """The database of the run, which a test may stop."""
    yield database
    if database.process is None:
        database.start()
    connections.close_all()  # those to the server as it was


async def test_the_database_restarts_under_load(lab: Lab, restartable: postgres.Postgres) -> None:
    """Meanwhile one machine talks and another one wants to join."""
    token = await lab.token()
    async with lab.gateway(), lab.fleet(token) as fleet:
        machine = await lab.machine(fleet.machines[0].hardware.uuid, complete)
        boot = await fleet.machines[0].booted()
        numbers = iter(range(10_000))

        async def talk() -> None:
            for number in numbers:
                boot.kernel_log.talos(f"line:{number}")
                await asyncio.sleep(0.005)  # a talkative machine

        talking = asyncio.create_task(talk())
        await lab.until(lambda: len(numbers_of(machine)) > 20)
        restartable.stop()
        async with lab.fleet(token, seed="late") as late:
            await logged(await late.machines[0].booted(), "internal server error")
            restartable.start()  # in this thread, with which it shall end
            await lab.machine(late.machines[0].hardware.uuid, complete)
        talking.cancel()
        said = next(numbers)
        stored = await lab.until(lambda: len(found := numbers_of(machine)) >= said and found)
        assert stored == list(range(said))
