"""The discovery service of a gateway: over SideroLink with its gate, on the public port, through restarts, and when
machines leave."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import grpc
import pytest

from apps.clusters import credentials
from apps.clusters.models import Cluster, ClusterMachine
from apps.gateways.discovery import DiscoverySettings
from apps.machines.models import Machine, MachineObservation
from apps.mesh import reconcile_discovery, services
from apps.mesh.models import Affiliate
from apps.reconcile.outbox import changed
from apps.reconcile.registry import RECONCILERS
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from kubespan.client import channel
from kubespan.discovery.core import Alone
from nodeagent import dial
from nodeagent.simulator.boot import Boot
from nodeagent.sockets import new_socket_path
from omni import keys, postgres
from omni.config import Config
from talos import siderolink
from talos.gen.sidero import discovery_pb2 as pb
from talos.gen.sidero import discovery_pb2_grpc as pb_grpc
from tests.apps.clusters.world import bundle_for
from tests.apps.gateways.lab import DEADLINE, HOST, Lab, complete, free_port
from tests.conftest import make_organisation

TTL = {"seconds": 1800}
FOREIGN = "a-cluster-of-somebody-else"


@dataclass
class Node:
    """A simulated machine in a cluster, or in none, and a discovery client of it over its link."""

    boot: Boot
    machine: Machine
    stub: pb_grpc.ClusterStub

    async def publish(self, cluster_id: str, node_id: str, data: bytes = b"sealed") -> None:
        await self.stub.AffiliateUpdate(
            pb.AffiliateUpdateRequest(
                cluster_id=cluster_id, affiliate_id=node_id, affiliate_data=data, affiliate_endpoints=[b"e1"], ttl=TTL
            )
        )


@dataclass
class Site:
    """A lab with a cluster `prod` and the discovery service on."""

    lab: Lab
    cluster_id: str
    cluster: Cluster

    @contextlib.asynccontextmanager
    async def public(self) -> AsyncIterator[pb_grpc.ClusterStub]:
        """A client on the public port, over TLS."""
        settings = self.lab.settings
        roots = settings.certificate.with_name("ca.crt").read_bytes()
        async with channel(f"{HOST}:{settings.port}", tls=True, roots=roots) as connection:
            await connection.channel_ready()
            yield pb_grpc.ClusterStub(connection)

    @contextlib.asynccontextmanager
    async def node(self, boot: Boot, node_id: str = "", member: bool = False) -> AsyncIterator[Node]:
        """A machine that has joined, made a member of the cluster, that says a node id."""
        machine = await self.lab.machine(boot.uuid, complete)

        def enlist() -> None:
            MachineObservation.objects.filter(machine=machine).update(node_id=node_id)
            if member:
                ClusterMachine.new(cluster=self.cluster, role="worker", machine=machine, kubernetes_version="1.36.3")
                changed("cluster", self.cluster.id, self.lab.organisation.id)

        await self.lab.ask(enlist)
        async with over_link(boot) as stub:
            yield Node(boot, machine, stub)

    async def release(self, node: Node) -> None:
        """The machine leaves the cluster, as when its reset is finished."""

        def leave() -> None:
            ClusterMachine.objects.filter(machine=node.machine).delete()
            changed("cluster", self.cluster.id, self.lab.organisation.id)

        await self.lab.ask(leave)

    async def reconcile(self) -> None:
        await in_thread(lambda: RECONCILERS[reconcile_discovery.KIND](self.lab.organisation.id, self.cluster.id))


@contextlib.asynccontextmanager
async def over_link(boot: Boot) -> AsyncIterator[pb_grpc.ClusterStub]:
    """A client inside a machine: its connections go over the link to the service's address on the overlay."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await dial.join((reader, writer), await boot.link.dial(server, siderolink.DISCOVERY_PORT))

    server, path = str(siderolink.server_address()), new_socket_path()
    relay = await asyncio.start_unix_server(carry, path=str(path))
    async with relay, channel(f"unix:{path}", tls=False) as connection:
        async with asyncio.timeout(DEADLINE):
            await connection.channel_ready()
        yield pb_grpc.ClusterStub(connection)


@pytest.fixture
def site(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = lab.settings.run.parent
    lab.settings = replace(lab.settings, discovery=DiscoverySettings(folder / "discovery" / "lab.binpb", 600))
    monkeypatch.setattr("apps.machines.nodes.gateway_socket", lambda: lab.settings.run / "gateway.sock")
    return Site(lab, *make_cluster(lab.organisation, "prod"))


def make_cluster(organisation: Organisation, name: str) -> tuple[str, Cluster]:
    bundle = bundle_for("1.13.8")
    with tenant_scope(organisation.id):
        cluster = Cluster.new(
            name=name,
            kubernetes_version="1.36.3",
            talos_version="1.13.8",
            initial_talos_version="1.13.8",
            balancer_port=10000,
        )
        credentials.store_secrets(cluster, bundle)
    return bundle.cluster_id, cluster


def refused(code: grpc.StatusCode, text: str | None = None) -> contextlib.AbstractContextManager[object]:
    @contextlib.contextmanager
    def expecting() -> Iterator[None]:
        with pytest.raises(grpc.aio.AioRpcError, match=text) as caught:
            yield
        assert caught.value.code() is code

    return expecting()


async def first(stub: pb_grpc.ClusterStub, cluster_id: str) -> tuple[grpc.aio.UnaryStreamCall, dict[str, bytes]]:
    """A watch, and what it begins with."""
    watch = stub.Watch(pb.WatchRequest(cluster_id=cluster_id))
    response = await watch.read()
    return watch, {one.id: one.data for one in response.affiliates}


async def test_on_the_public_port_it_is_a_service_as_any_other(site: Site) -> None:
    async with site.lab.gateway(), site.public() as one, site.public() as other:
        hello = await one.Hello(pb.HelloRequest(cluster_id=FOREIGN, client_version="v1.13.8"))
        assert hello.client_ip == bytes([127, 0, 0, 1])
        for cluster_id in (FOREIGN, site.cluster_id):
            watch, there = await first(other, cluster_id)
            assert there == {}
            update = pb.AffiliateUpdateRequest(
                cluster_id=cluster_id, affiliate_id="n1", affiliate_data=b"sealed", ttl=TTL
            )
            await one.AffiliateUpdate(update)
            event = await watch.read()
            assert [(item.id, item.data) for item in event.affiliates] == [("n1", b"sealed")]
            await one.AffiliateDelete(pb.AffiliateDeleteRequest(cluster_id=cluster_id, affiliate_id="n1"))
            assert (await watch.read()).deleted
            watch.cancel()
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "cluster ID can't be empty"):
            await one.Hello(pb.HelloRequest())


async def test_over_the_link_a_machine_speaks_for_itself_in_its_own_cluster(site: Site) -> None:
    async with site.lab.gateway(), site.lab.fleet(await site.lab.token(), 2) as fleet:
        boots = [await simulated.booted() for simulated in fleet.machines]
        async with site.node(boots[0], "node1", member=True) as member, site.node(boots[1]) as outsider:
            hello = await member.stub.Hello(pb.HelloRequest(cluster_id=site.cluster_id, client_version="v1.13.8"))
            assert hello.client_ip == b"", "an address of the overlay is of no use to peers"
            await member.publish(site.cluster_id, "node1")
            for call in (
                outsider.stub.Hello(pb.HelloRequest(cluster_id=site.cluster_id)),
                outsider.stub.List(pb.ListRequest(cluster_id=site.cluster_id)),
                outsider.publish(site.cluster_id, "node1", b"forged"),
                outsider.publish(site.cluster_id, "node2"),
                outsider.stub.AffiliateDelete(
                    pb.AffiliateDeleteRequest(cluster_id=site.cluster_id, affiliate_id="node1")
                ),
                first(outsider.stub, site.cluster_id),
            ):
                with refused(grpc.StatusCode.PERMISSION_DENIED, "no member"):
                    await call
            watch, there = await first(member.stub, site.cluster_id)
            assert there == {"node1": b"sealed"}
            seen = pb.AffiliateUpdateRequest(
                cluster_id=site.cluster_id, affiliate_id="node2", affiliate_endpoints=[b"seen"], ttl=TTL
            )
            await member.stub.AffiliateUpdate(seen)
            assert list((await watch.read()).affiliates[0].endpoints) == [b"seen"]
            watch.cancel()
            await outsider.publish(FOREIGN, "whoever")
            assert (await first(member.stub, FOREIGN))[1] == {"whoever": b"sealed"}


async def test_one_organisation_does_not_get_into_a_cluster_of_another(site: Site) -> None:
    theirs = replace(site.lab, organisation=await in_thread(lambda: make_organisation("umbrella")))
    async with site.lab.gateway(), theirs.fleet(await theirs.token()) as fleet:
        boot = await fleet.machines[0].booted()
        await theirs.machine(boot.uuid, complete)
        async with over_link(boot) as stub:
            with refused(grpc.StatusCode.PERMISSION_DENIED, "no member"):
                await stub.List(pb.ListRequest(cluster_id=site.cluster_id))


async def test_a_machine_that_left_is_found_no_more(site: Site) -> None:
    """Its record is deleted at once, everywhere; it cannot come back by itself; the others stay."""
    async with site.lab.gateway(), site.lab.fleet(await site.lab.token(), 2) as fleet, site.public() as watcher:
        boots = [await simulated.booted() for simulated in fleet.machines]
        async with (
            site.node(boots[0], "node1", member=True) as staying,
            site.node(boots[1], "node2", member=True) as leaving,
        ):
            await staying.publish(site.cluster_id, "node1")
            await leaving.publish(site.cluster_id, "node2")
            await site.reconcile()
            watch, there = await first(watcher, site.cluster_id)
            assert set(there) == {"node1", "node2"}
            await site.release(leaving)
            await site.reconcile()
            event = await watch.read()
            assert (event.deleted, [one.id for one in event.affiliates]) == (True, ["node2"])
            with refused(grpc.StatusCode.PERMISSION_DENIED, "no member"):
                await leaving.publish(site.cluster_id, "node2")
            found = await asyncio.to_thread(lambda: services.nodes.run(services.affiliates(site.cluster_id), DEADLINE))
            assert [one.id for one in found] == ["node1"]
            assert await site.lab.ask(lambda: Affiliate.objects.get(node_id="node2").removed_at)
            watch.cancel()


async def test_a_restart_of_the_gateway_loses_nobody(site: Site) -> None:
    async with site.lab.gateway(), site.public() as stub:
        watch, _ = await first(stub, FOREIGN)
        update = pb.AffiliateUpdateRequest(cluster_id=FOREIGN, affiliate_id="n1", affiliate_data=b"sealed", ttl=TTL)
        await stub.AffiliateUpdate(update)
        assert (await watch.read()).affiliates[0].id == "n1"
        watch.cancel()
    async with site.lab.gateway(), site.public() as stub:
        await stub.Hello(pb.HelloRequest(cluster_id=FOREIGN), wait_for_ready=True)
        _, there = await first(stub, FOREIGN)
        assert there == {"n1": b"sealed"}


async def test_a_gateway_that_stops_finishes_what_nodes_have_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that sees its connection break in an update does not try again for a quarter of an hour."""
    begun, update = asyncio.Event(), Alone.update

    async def slow(self: Alone, request: pb.AffiliateUpdateRequest) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        await update(self, request)

    monkeypatch.setattr(Alone, "update", slow)
    request = pb.AffiliateUpdateRequest(cluster_id=FOREIGN, affiliate_id="n1", affiliate_data=b"sealed", ttl=TTL)
    async with contextlib.AsyncExitStack() as later:
        async with site.lab.gateway():
            stub = await later.enter_async_context(site.public())
            watch, _ = await first(stub, FOREIGN)
            updated = asyncio.ensure_future(stub.AffiliateUpdate(request))
            await begun.wait()
        assert await updated == pb.AffiliateUpdateResponse()
        assert (await watch.read()).affiliates[0].id == "n1"
        assert await watch.read() is grpc.aio.EOF
    async with site.lab.gateway(), site.public() as stub:
        await stub.Hello(pb.HelloRequest(cluster_id=FOREIGN), wait_for_ready=True)
        assert (await first(stub, FOREIGN))[1] == {"n1": b"sealed"}


async def test_no_update_breaks_off_under_way_when_a_gateway_stops(site: Site) -> None:
    """Clients that write without a pause are told to go elsewhere while their last answers are on their way."""
    acknowledged: dict[str, bytes] = {}
    warm, stopped = asyncio.Barrier(9), asyncio.Event()

    async def write(name: str, stub: pb_grpc.ClusterStub) -> None:
        for number in itertools.count():
            last = stopped.is_set()
            data = str(number).encode()
            update = pb.AffiliateUpdateRequest(cluster_id=FOREIGN, affiliate_id=name, affiliate_data=data, ttl=TTL)
            await stub.AffiliateUpdate(update, wait_for_ready=True)
            acknowledged[name] = data
            if number == 3:
                await warm.wait()
            if last:
                return

    async with contextlib.AsyncExitStack() as later:
        async with site.lab.gateway():
            stubs = [await later.enter_async_context(site.public()) for _ in range(8)]
            await first(stubs[0], FOREIGN)
            writers = [asyncio.create_task(write(f"n{i}", stub)) for i, stub in enumerate(stubs)]
            await warm.wait()
        stopped.set()
        async with site.lab.gateway():
            await asyncio.gather(*writers)
            assert (await first(stubs[0], FOREIGN))[1] == acknowledged


async def test_its_numbers_are_among_those_of_the_gateway(site: Site) -> None:
    async with site.lab.gateway(), site.public() as stub:
        await stub.Hello(pb.HelloRequest(cluster_id=FOREIGN, client_version="v1.13.8"))
        reader, writer = await asyncio.open_unix_connection(str(site.lab.settings.run / "metrics.sock"))
        numbers = (await reader.read()).decode()
        writer.close()
    assert 'discovery_server_hello_requests_total{client_version="v1.13"} 1.0' in numbers
    assert "omni_links{" in numbers


async def test_without_the_service_there_is_none(lab: Lab) -> None:
    assert lab.settings.discovery is None
    async with lab.gateway(), Site(lab, "", Cluster()).public() as stub:
        with refused(grpc.StatusCode.UNIMPLEMENTED):
            await stub.Hello(pb.HelloRequest(cluster_id=FOREIGN))


async def test_behind_a_balancer_nobody_is_told_a_wrong_address(site: Site) -> None:
    settings = site.lab.settings
    assert settings.discovery is not None
    discovery = replace(settings.discovery, proxies=[ip_network("127.0.0.0/8")])
    site.lab.settings = replace(settings, discovery=discovery)
    async with site.lab.gateway(), site.public() as stub:
        assert (await stub.Hello(pb.HelloRequest(cluster_id=FOREIGN))).client_ip == b""


async def test_files_that_cannot_be_used_hold_up_nothing_else(site: Site, tmp_path: Path) -> None:
    """Nodes are told to try again; machines join as ever."""
    settings = site.lab.settings
    (tmp_path / "occupied").write_text("no folder")
    assert settings.discovery is not None
    site.lab.settings = replace(
        settings, discovery=replace(settings.discovery, file=tmp_path / "occupied" / "lab.binpb")
    )
    async with site.lab.gateway(), site.lab.fleet(await site.lab.token()) as fleet, site.public() as stub:
        with refused(grpc.StatusCode.UNAVAILABLE):
            await stub.Hello(pb.HelloRequest(cluster_id=FOREIGN))
        await site.lab.machine(fleet.machines[0].hardware.uuid, complete)
        (tmp_path / "occupied").unlink()
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    await stub.Hello(pb.HelloRequest(cluster_id=FOREIGN))
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.2)


async def test_nodes_may_call_any_of_several_gateways(site: Site, tmp_path: Path) -> None:
    """One that restarts takes over what the others know, and its nodes lose nobody meanwhile."""
    config = Config(data=tmp_path)
    keys.prepare(config)
    sites = {}
    for name in ("one", "two"):
        run, address = site.lab.settings.run / name, (HOST, free_port(socket.SOCK_STREAM))
        run.mkdir()
        settings = replace(
            site.lab.settings,
            name=name,
            run=run,
            port=free_port(socket.SOCK_STREAM),
            wireguard_port=free_port(socket.SOCK_DGRAM),
            identity=keys.identity(config),
            internal=address,
            internal_address=f"{HOST}:{address[1]}",
            discovery=DiscoverySettings(tmp_path / f"{name}.binpb", 600),
        )
        sites[name] = replace(site, lab=replace(site.lab, settings=settings))

    async def publish(stub: pb_grpc.ClusterStub, name: str) -> None:
        await stub.AffiliateUpdate(
            pb.AffiliateUpdateRequest(cluster_id=FOREIGN, affiliate_id=name, affiliate_data=b"sealed", ttl=TTL),
            wait_for_ready=True,
        )

    async with sites["one"].lab.gateway(), sites["one"].public() as one:
        await publish(one, "n1")
        watch, there = await first(one, FOREIGN)
        assert set(there) == {"n1"}
        async with sites["two"].lab.gateway(), sites["two"].public() as two:
            await two.Hello(pb.HelloRequest(cluster_id=FOREIGN), wait_for_ready=True)
            assert set((await first(two, FOREIGN))[1]) == {"n1"}
            await publish(two, "n2")
            assert (await watch.read()).affiliates[0].id == "n2"
        await publish(one, "n3")
        assert (await watch.read()).affiliates[0].id == "n3"
        (tmp_path / "two.binpb").unlink()
        async with sites["two"].lab.gateway(), sites["two"].public() as two:
            await publish(two, "n4")
            assert set((await first(two, FOREIGN))[1]) == {"n1", "n2", "n3", "n4"}
        watch.cancel()


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch, database: postgres.Postgres) -> None:
    """What is tried again is tried soon."""
    monkeypatch.setattr("apps.gateways.discovery.RETRY", 0.2)
