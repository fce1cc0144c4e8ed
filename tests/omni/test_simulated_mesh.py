"""Simulated machines that find each other by a real discovery service, and their mesh."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import grpc
import pytest

from kubespan.crypto import ClusterKey, parse_secret
from kubespan.discovery.core import Discovery
from kubespan.discovery.service import OPTIONS, Face
from nodeagent import dial, errors
from nodeagent.simulator.boot import Boot
from omni.simulated_mesh import SimulatedMesh
from talos import pki, siderolink
from talos.config import discovery, kubespan
from talos.config.kubespan import KubeSpan
from talos.contract import VersionContract
from talos.gen.sidero import discovery_pb2 as pb
from talos.pem import CertKey
from talos.resources import types
from tests.nodeagent.simulator.bench import Bench, bench, bundle, config, configure, next_boot, run_cluster, until
from tests.nodeagent.simulator.controlplane import control_plane

CONTRACT = VersionContract.parse("v1.13")
HOST = "127.0.0.1"


@dataclass
class Service:
    """A discovery service on loopback."""

    port: int = 0
    core: Discovery = field(default_factory=Discovery)

    @contextlib.asynccontextmanager
    async def running(self, identity: CertKey | None = None, **face: Any) -> AsyncIterator["Service"]:
        server = grpc.aio.server(options=OPTIONS)
        Face(self.core, **face).add_to(server)
        if identity is None:
            self.port = server.add_insecure_port(f"{HOST}:{self.port}")
        else:
            credentials = grpc.ssl_server_credentials([(identity.key, identity.crt)])
            self.port = server.add_secure_port(f"{HOST}:{self.port}", credentials)
        await self.core.start()
        await server.start()
        try:
            yield self
        finally:
            await self.core.drain()
            await server.stop(1)
            await self.core.close()

    def known(self) -> dict[str, pb.Affiliate]:
        """What it has of the tests' cluster."""
        cluster = self.core.state.cluster(bundle().cluster_id)
        listed = pb.ListResponse.FromString(cluster.listing()) if cluster else pb.ListResponse()
        return {affiliate.id: affiliate for affiliate in listed.affiliates}


def patches(service: str, mesh: KubeSpan | None = None) -> list[str]:
    found = [discovery.patch(CONTRACT, service)]
    return found if mesh is None else [*found, kubespan.patch(CONTRACT, mesh)]


async def cluster(b: Bench, service: str, mesh: KubeSpan | None = None) -> list[Boot]:
    """All machines as one cluster of control planes, which answer calls without each other."""
    data = config(patches=patches(service, mesh))
    return await asyncio.gather(*(configure(b, machine, data) for machine in b.fleet.machines))


async def all_up(boots: list[Boot]) -> None:
    def everybody(specs: dict[str, Any]) -> bool:
        return len(specs) == len(boots) - 1 and all(spec["state"] == "up" for spec in specs.values())

    for boot in boots:
        await until(boot, types.KUBESPAN_PEER_STATUS, everybody)


async def test_machines_find_each_other_by_the_service_of_their_configuration():
    async with Service().running() as service, bench(machines=3, mesh=SimulatedMesh()) as b:
        boots = await cluster(b, f"http://{HOST}:{service.port}")
        ids = {boot.node_id for boot in boots}
        for boot in boots:
            await until(boot, types.AFFILIATE, lambda specs: specs.keys() == ids)
            others = {f"service/{id}" for id in ids - {boot.node_id}}
            await until(boot, types.AFFILIATE, lambda specs, others=others: specs.keys() == others, "cluster-raw")
            await until(boot, types.MEMBER, lambda specs: specs.keys() == {boot.hostname for boot in boots})
        key = ClusterKey(parse_secret(bundle().cluster_secret))
        first = boots[0]
        published = key.open(service.known()[first.node_id].data)
        assert published.node_id == first.node_id
        assert published.addresses == (ip_address(first.machine.hardware.address),)
        assert (published.hostname, published.nodename) == (first.hostname, first.hostname)
        assert (published.machine_type, published.operating_system) == ("controlplane", "Talos (v1.13.8)")
        assert published.control_plane is not None
        assert published.control_plane.api_server_port == 6443
        assert published.kubespan is None
        seen = boots[1].store.get(types.AFFILIATE, first.node_id)
        assert seen is not None
        own = first.store.get(types.AFFILIATE, first.node_id)
        assert own is not None
        assert seen.spec == own.spec


async def test_a_mesh():
    async with Service().running(report_address=False) as service, bench(machines=3, mesh=SimulatedMesh()) as b:
        boots = await cluster(b, f"http://{HOST}:{service.port}", KubeSpan())
        await all_up(boots)
        first, second, _ = boots
        identity = first.store.get(types.KUBESPAN_IDENTITY).spec
        prefix = identity["address"].removesuffix("/128")
        assert identity["subnet"].endswith("::/64")
        assert prefix.startswith(identity["subnet"].removesuffix("::/64"))
        spec = second.store.get(types.KUBESPAN_PEER_SPEC, identity["publicKey"]).spec
        host = first.machine.hardware.address
        assert spec == {
            "address": prefix,
            "allowedIPs": [f"{host}/32", f"{prefix}/128"],
            "endpoints": [f"{host}:51820"],
            "label": first.hostname,
        }
        status = second.store.get(types.KUBESPAN_PEER_STATUS, identity["publicKey"]).spec
        assert (status["state"], status["endpoint"], status["label"]) == ("up", f"{host}:51820", first.hostname)
        assert status["lastHandshakeTime"] > status["lastEndpointChange"]
        addresses = first.store.get(types.NODE_ADDRESS, "routed").spec["addresses"]
        assert addresses == [f"{host}/16", f"{prefix}/64"]
        assert first.store.get(types.LINK_STATUS, "kubespan").spec["kind"] == "wireguard"
        settings = first.store.get(types.KUBESPAN_CONFIG).spec
        assert (settings["enabled"], settings["forceRouting"], settings["mtu"]) == (True, True, 1420)
        assert first.store.list(types.KUBESPAN_ENDPOINT) == []


async def test_secrets_are_for_administrators():
    async with Service().running() as service, bench(machines=1, mesh=SimulatedMesh()) as b:
        (boot,) = await cluster(b, f"http://{HOST}:{service.port}", KubeSpan())
        await until(boot, types.KUBESPAN_IDENTITY, bool)
        secret = (types.DISCOVERY_CONFIG, types.KUBESPAN_CONFIG, types.KUBESPAN_IDENTITY)
        open_ = (types.AFFILIATE, types.MEMBER, types.IDENTITY, types.INFO, types.KUBESPAN_PEER_STATUS)
        async with b.client(b.fleet.machines[0], "os:reader") as client:
            await client.wait_for_answer(5)
            for kind in secret:
                with pytest.raises(errors.NodeError, match="not authorized"):
                    await client.list(kind)
            for kind in open_:
                await client.list(kind)
        async with b.client(b.fleet.machines[0], "os:admin") as client:
            for kind in secret:
                assert len(await client.list(kind)) == 1


async def test_a_reset_takes_the_machine_out_and_a_reboot_does_not():
    async with Service().running() as service, bench(machines=2, mesh=SimulatedMesh()) as b:
        boots = await cluster(b, f"http://{HOST}:{service.port}", KubeSpan())
        await all_up(boots)
        stays, goes = boots
        key = goes.store.get(types.KUBESPAN_IDENTITY).spec["publicKey"]
        async with b.client(goes.machine, "os:admin") as client:
            await client.wait_for_answer(5)
            await client.reboot()
        again = await next_boot(goes.machine, goes, "booting")
        assert again.node_id == goes.node_id
        await all_up([stays, again])
        assert again.store.get(types.KUBESPAN_IDENTITY).spec["publicKey"] == key
        assert set(service.known()) == {stays.node_id, goes.node_id}
        async with b.client(goes.machine, "os:admin") as client:
            await client.wait_for_answer(5)
            await client.reset(graceful=False, reboot=True, wipe=("STATE", "EPHEMERAL"))
        await until(stays, types.MEMBER, lambda specs: specs.keys() == {stays.hostname})
        await until(stays, types.KUBESPAN_PEER_SPEC, lambda specs: not specs)
        assert set(service.known()) == {stays.node_id}
        fresh = await next_boot(goes.machine, again)
        assert fresh.node_id != goes.node_id


async def test_a_restart_of_the_service_loses_nobody():
    service = Service()
    async with bench(machines=2, mesh=SimulatedMesh()) as b:
        async with service.running():
            boots = await cluster(b, f"http://{HOST}:{service.port}", KubeSpan())
            await all_up(boots)
        service.core = Discovery()  # an empty one: machines publish again by themselves
        async with service.running():
            while set(service.known()) != {boot.node_id for boot in boots}:
                await asyncio.sleep(0.05)
            await all_up(boots)


async def test_discovery_turned_off():
    async with Service().running() as service, bench(machines=2, mesh=SimulatedMesh()) as b:
        boots = await cluster(b, f"http://{HOST}:{service.port}", KubeSpan())
        await all_up(boots)
        off = "cluster:\n  discovery:\n    enabled: false\n"
        changed = config(patches=[*patches(f"http://{HOST}:{service.port}"), off])
        boot = boots[0]
        async with b.client(boot.machine, "os:admin") as client:
            await client.wait_for_answer(5)
            await client.apply_configuration(changed)
        await until(boot, types.DISCOVERY_CONFIG, lambda specs: not specs["cluster"]["discoveryEnabled"])
        await until(boot, types.AFFILIATE, lambda specs: not specs)
        await until(boot, types.KUBESPAN_IDENTITY, lambda specs: not specs)
        assert boot.store.list(types.KUBESPAN_PEER_STATUS) == []
        assert boot.node_id in service.known(), "it is left to expire"


async def test_over_tls_by_roots_of_the_configuration():
    now = datetime.now(UTC)
    authority = pki.kubernetes_ca(now)
    identity = pki.kube_apiserver(authority, now, [ip_address(HOST)])
    async with Service().running(identity) as service, bench(machines=2, mesh=SimulatedMesh()) as b:
        url = f"https://{HOST}:{service.port}"
        trusting = discovery.patch(CONTRACT, url, roots=authority.crt.decode())
        boots = [await configure(b, machine, config(patches=[trusting])) for machine in b.fleet.machines]
        for boot in boots:
            await until(boot, types.MEMBER, lambda specs: len(specs) == 2)


async def test_a_redirect_is_followed():
    async with Service().running() as there, Service().running(redirect=f"{HOST}:{there.port}") as here:
        async with bench(machines=2, mesh=SimulatedMesh()) as b:
            boots = await cluster(b, f"http://{HOST}:{here.port}")
            for boot in boots:
                await until(boot, types.MEMBER, lambda specs: len(specs) == 2)
        assert here.known() == {}


async def test_talos_1_14_has_several_services():
    async with (
        Service().running() as one,
        Service().running() as other,
        bench(machines=2, version="v1.14.1", mesh=SimulatedMesh()) as b,
    ):
        documents = "---\n".join(
            f"apiVersion: v1alpha1\nkind: DiscoveryServiceConfig\nname: {name}\nendpoint: http://{HOST}:{service.port}\n"
            for name, service in (("default", one), ("other", other))
        )
        boots = await asyncio.gather(
            *(configure(b, machine, config(contract="v1.14", patches=[documents])) for machine in b.fleet.machines)
        )
        ids = {boot.node_id for boot in boots}
        for boot in boots:
            await until(boot, types.AFFILIATE, lambda specs: specs.keys() == ids)
            spec = boot.store.get(types.DISCOVERY_CONFIG).spec
            assert [service["name"] for service in spec["serviceEndpoints"]] == ["default", "other"]
            assert spec["serviceEndpoints"][0] == {
                "name": "default",
                "endpoint": f"{HOST}:{one.port}",
                "insecure": True,
            }
        while not set(one.known()) == set(other.known()) == ids:
            await asyncio.sleep(0.05)


class Clock:
    """The underlay's time, which a test moves on."""

    def __init__(self, b: Bench) -> None:
        self.now = 1_800_000_000.0
        self._b = b
        b.fleet.world.underlay.clock = lambda: self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds
        for machine in self._b.fleet.machines:
            machine.boot.kubespan.wake()


def state_of(boot: Boot, other: Boot) -> dict[str, Any]:
    """What a machine says of another."""
    key = other.store.get(types.KUBESPAN_IDENTITY).spec["publicKey"]
    return boot.store.get(types.KUBESPAN_PEER_STATUS, key).spec


async def sees(boot: Boot, other: Boot, **wanted: Any) -> None:
    """Wait until a machine says so of another."""
    key = other.store.get(types.KUBESPAN_IDENTITY).spec["publicKey"]

    def holds(specs: dict[str, Any]) -> bool:
        return key in specs and {name: specs[key][name] for name in wanted} == wanted

    await until(boot, types.KUBESPAN_PEER_STATUS, holds)


@contextlib.asynccontextmanager
async def mesh(machines: int, settings: KubeSpan | None = None) -> AsyncIterator[tuple[Bench, list[Boot], Clock]]:
    """A mesh whose machines have heard of each other."""
    async with Service().running(report_address=False) as service, bench(machines, mesh=SimulatedMesh()) as b:
        clock = Clock(b)
        boots = await cluster(b, f"http://{HOST}:{service.port}", settings or KubeSpan())
        for boot in boots:
            await until(boot, types.KUBESPAN_PEER_SPEC, lambda specs: len(specs) == machines - 1)
        yield b, boots, clock


async def test_a_cut_pair_is_down_and_heals():
    async with mesh(3) as (b, (first, second, third), clock):
        clock.forward(1)
        await all_up([first, second, third])
        underlay = b.fleet.world.underlay
        pair = frozenset(boot.machine.hardware.uuid for boot in (first, second))
        underlay.faults.cut.add(pair)
        underlay.changed()
        clock.forward(120)
        assert state_of(first, second)["state"] == "up", "its last handshake is not old enough"
        clock.forward(160)
        for one, other in ((first, second), (second, first)):
            await sees(one, other, state="down")
            await sees(one, third, state="up")
        underlay.faults.cut.clear()
        underlay.changed()
        clock.forward(16)
        await all_up([first, second, third])


async def test_a_machine_behind_a_translator_calls_others():
    async with mesh(2) as (b, (inside, outside), clock):
        underlay = b.fleet.world.underlay
        underlay.faults.nat[inside.machine.hardware.uuid] = "203.0.113.7:41641"
        underlay.changed()
        clock.forward(300)
        await sees(inside, outside, state="up", endpoint=f"{outside.machine.hardware.address}:51820")
        await sees(outside, inside, state="up", endpoint="203.0.113.7:41641")
        assert state_of(outside, inside)["lastUsedEndpoint"] == f"{inside.machine.hardware.address}:51820"


async def test_endpoints_that_machines_see_are_told():
    async with mesh(3, KubeSpan(harvest=True)) as (b, boots, clock):
        inside, outside, third = boots
        underlay = b.fleet.world.underlay
        underlay.faults.nat[inside.machine.hardware.uuid] = "203.0.113.7:41641"
        underlay.changed()
        clock.forward(300)
        key = inside.store.get(types.KUBESPAN_IDENTITY).spec["publicKey"]
        await until(
            outside,
            types.KUBESPAN_ENDPOINT,
            lambda specs: specs.get(key) == {"affiliateID": inside.node_id, "endpoint": "203.0.113.7:41641"},
        )
        await until(third, types.KUBESPAN_PEER_SPEC, lambda specs: "203.0.113.7:41641" in specs[key]["endpoints"])


async def test_two_machines_behind_different_translators_do_not_meet():
    async with mesh(2) as (b, (one, other), clock):
        underlay = b.fleet.world.underlay
        for boot, outside in ((one, "203.0.113.7:41641"), (other, "203.0.113.8:41641")):
            underlay.faults.nat[boot.machine.hardware.uuid] = outside
        underlay.changed()
        for _ in range(20):
            clock.forward(16)
        for boot, peer in ((one, other), (other, one)):
            await sees(boot, peer, state="down")


async def test_a_clock_that_is_set_back():
    async with mesh(2) as (b, (wrong, right), clock):
        clock.forward(1)
        await all_up([wrong, right])
        underlay = b.fleet.world.underlay
        before = state_of(right, wrong)["lastHandshakeTime"]
        underlay.faults.clock[wrong.machine.hardware.uuid] = -7200
        underlay.changed()
        clock.forward(130)
        await until(
            right,
            types.KUBESPAN_PEER_STATUS,
            lambda specs: all(spec["lastHandshakeTime"] > before for spec in specs.values()),
        )
        assert state_of(right, wrong)["state"] == "up", "it called"
        assert state_of(wrong, right)["lastHandshakeTime"] < before, "by its own clock"
        key = right.store.get(types.KUBESPAN_IDENTITY).spec["publicKey"]
        updated = wrong.store.get(types.KUBESPAN_PEER_STATUS, key).metadata.updated / 1e9
        assert updated < clock.now - 7000, "so are times of its resources"


async def test_networks_of_pods_go_through_the_mesh():
    async with (
        Service().running(report_address=False) as service,
        bench(2, mesh=SimulatedMesh(), listen_base="127.88.31.1") as b,
    ):
        settings = KubeSpan(advertise_kubernetes_networks=True, exclude_networks=("192.0.2.0/24",))
        machines = await run_cluster(b, 1, 1, patches(f"http://{HOST}:{service.port}", settings))
        one, other = (machine.boot for machine in machines)
        assert {*one.pod_networks, *other.pod_networks} == {"10.244.0.0/24", "10.244.1.0/24"}
        key = other.store.get(types.KUBESPAN_IDENTITY).spec["publicKey"]
        await until(
            one,
            types.KUBESPAN_PEER_SPEC,
            lambda specs: other.pod_networks[0] in specs.get(key, {"allowedIPs": ()})["allowedIPs"],
        )
        part = one.store.get(types.AFFILIATE, other.node_id).spec["kubespan"]
        assert part["additionalAddresses"] == other.pod_networks
        assert part["excludeAdvertisedNetworks"] == ["192.0.2.0/24"]


async def test_over_the_link_of_the_machine():
    """The service is on the overlay, where only machines are."""
    async with Service().running(report_address=False) as service, control_plane() as plane:
        server = siderolink.server_address()

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await dial.join((reader, writer), await asyncio.open_connection(HOST, service.port))

        await plane.engine.serve(siderolink.DISCOVERY_PORT, carry)
        async with bench(2, mesh=SimulatedMesh(), api=plane.api) as b:
            boots = await cluster(b, f"http://[{server}]:{siderolink.DISCOVERY_PORT}", KubeSpan())
            await all_up(boots)
            spec = boots[0].store.get(types.DISCOVERY_CONFIG).spec
            assert spec["serviceEndpoint"] == f"[{server}]:{siderolink.DISCOVERY_PORT}"
            assert spec["serviceEndpointInsecure"]
            told = boots[1].store.get(types.AFFILIATE, boots[0].node_id).spec
            assert not any(siderolink.has_purpose(one, siderolink.Purpose.SIDEROLINK) for one in told["addresses"])
            assert told["kubespan"]["endpoints"] == [f"{boots[0].machine.hardware.address}:51820"]
