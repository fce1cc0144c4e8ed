"""A cluster of machines behind an agent, over the real tunnel: from template to Ready with a virtual IP, and back.

Simulated machines on addresses of this host, an agent that reaches them, the tunnel's server, the reconcilers.
"""

import asyncio
import base64
import contextlib
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from django.core.exceptions import ValidationError

from apps.clusters import actions, credentials, plan_leaving
from apps.clusters.models import Cluster, Operation
from apps.machines import nodes
from apps.machines.models import Link, Machine, MachineObservation, MachineStatus
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from nodeagent import errors
from nodeagent.client import NodeClient
from nodeagent.dial import Stream
from nodeagent.follow import follow
from nodeagent.tls import Credentials
from talos.resources import types
from tests import kubectl
from tests.apps.clusters.test_lifecycle import Lab
from tests.apps.clusters.test_simulated import Site, bundle_for
from tests.nodeagent.simulator.bench import FAST, Bench, bench
from tests.nodeagent.tunnel.lab import Lab as TunnelLab

BASE, VIRTUAL = "127.92.0.10", "127.92.0.100"


class Behind(Site):
    """Simulated machines that only an agent reaches."""

    def __init__(self, organisation: Organisation, fleet: Bench, tunnel: TunnelLab) -> None:
        self.tunnel, self.agent_id, self._served = tunnel, "", 0
        super().__init__(organisation, fleet)

    def start_server(self) -> None:
        """Serve, and wait for the agent."""
        self._serving = self.tunnel.serving()
        nodes.run(self._serving.__aenter__(), 30)
        self._served += 1
        self.agent_id = nodes.run(self.tunnel.registry.hears("connected", times=self._served), 60)[1]

    def stop_server(self) -> None:
        nodes.run(self._serving.__aexit__(None, None, None), 30)

    def _register(self, uuid: str, address: str) -> None:
        with tenant_scope(self.organisation.id):
            row = Machine.new(uuid=uuid)
            Link.new(machine=row, claimed_uuid=uuid, state=Link.ESTABLISHED, transport=Link.AGENT, address=address)
            MachineObservation.new(machine=row)
            MachineStatus.new(machine=row)

    async def dial(self, address: str, port: int) -> Stream:
        host = self._addresses[address].listen_address
        assert host is not None
        return await self.tunnel.agents.dial(self.agent_id, host, port)

    async def _follow(self, uuid: str, address: str, held: Credentials | None) -> None:
        async with NodeClient(lambda: self.dial(address, nodes.API_PORT), held) as client:
            version = (await client.get(types.VERSION)).spec["version"]
            mode = "secure" if held else "maintenance"
            self._tell(uuid, {"connected": True, "api_mode": mode, "talos_version": version})
            await follow(client, lambda told: self._tell(uuid, told))


@pytest.fixture
def behind(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, str], Behind]]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="omni-"))

        def make(machines: int, version: str) -> Behind:
            def enter(context: contextlib.AbstractAsyncContextManager) -> object:
                stack.callback(lambda: nodes.run(context.__aexit__(None, None, None), 30))
                return nodes.run(context.__aenter__(), 30)

            timings = replace(FAST, reboot=0.2)
            fleet = enter(bench(machines=machines, version=f"v{version}", listen_base=BASE, timings=timings))
            hosts = [str(machine.listen_address) for machine in fleet.fleet.machines]  # type: ignore[attr-defined]
            tunnel = TunnelLab.make(Path(folder))
            made = Behind(organisation, fleet, tunnel)  # type: ignore[arg-type]
            enter(tunnel.agent(tunnel.options(*hosts)))
            made.start_server()
            stack.callback(made.stop_server)
            monkeypatch.setattr(nodes, "dial", made.dial)
            monkeypatch.setattr(credentials, "new_secrets", bundle_for)
            monkeypatch.setattr(plan_leaving, "STAY", timedelta(seconds=1))
            for uuid in made.machines:
                task = asyncio.run_coroutine_threadsafe(made.watch(uuid), nodes._loop())
                stack.callback(task.cancel)
            made.run(lambda: all(fields.get("network") for fields in made.seen.values()) and len(made.seen) == machines)
            made.report()
            return made

        yield make


def template(uuids: list[str], talos: str, kubernetes: str, endpoint: str = f"{{virtualIP: {VIRTUAL}}}") -> str:
    own = f"endpoint: {endpoint}\n" if endpoint else ""
    return (
        f"kind: Cluster\nname: lab\nkubernetes: {{version: v{kubernetes}}}\ntalos: {{version: v{talos}}}\n{own}"
        f"---\nkind: ControlPlane\nmachines: {uuids[:3]}\n---\nkind: Workers\nmachines: {uuids[3:]}\n"
    )


def installing(world: Behind) -> int:
    """Machines that were given a config to install themselves by."""
    with tenant_scope(world.organisation.id):
        return Operation.objects.filter(kind="install").count()


def kubeconfig(lab: Lab, world: Behind, endpoint: str = "") -> str:
    with tenant_scope(world.organisation.id):
        return actions.download_kubeconfig(lab.owner, Cluster.objects.select_related("secrets").get(), endpoint)


async def ready_nodes(text: str) -> int:
    """Ask as kubectl does, with nothing but the file."""
    file = yaml.safe_load(text)
    cluster, user = file["clusters"][0]["cluster"], file["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as pem:
        pem.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        pem.flush()
        context.load_cert_chain(pem.name)
    host, port = cluster["server"].removeprefix("https://").rsplit(":", 1)
    conditions = [item["status"]["conditions"] for item in await kubectl.nodes(host, int(port), context)]
    return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in found) for found in conditions)


@pytest.mark.parametrize(("talos", "kubernetes"), [("1.12.11", "1.35.4"), ("1.13.8", "1.36.3"), ("1.14.1", "1.37.0")])
def test_to_ready_with_a_virtual_ip_and_back(behind: Callable[[int, str], Behind], talos: str, kubernetes: str) -> None:
    world = behind(5, talos)
    lab = Lab(world)  # type: ignore[arg-type]
    lab.sync(template(list(world.machines), talos, kubernetes))
    world.run(lab.ready, 120)
    for machine in world.machines.values():
        config = machine.disk.contents.config
        assert b"SideroLinkConfig" not in config
        assert b"EventSinkConfig" not in config
        assert machine.disk.installation is not None
        assert machine.disk.installation.version == f"v{talos}"

    text = kubeconfig(lab, world)
    assert yaml.safe_load(text)["clusters"][0]["cluster"]["server"] == f"https://{VIRTUAL}:6443"
    with pytest.raises(ValidationError, match="reaches this installation"):
        kubeconfig(lab, world, "omni")
    world.stop_server()
    assert nodes.run(ready_nodes(text), 30) == 5

    world.start_server()
    lab.destroy()
    world.run(lab.gone, 120)
    world.run(lambda: {fields["stage"] for fields in world.seen.values()} == {"maintenance"})
    assert {machine.disk.contents.config for machine in world.machines.values()} == {b""}


@pytest.mark.parametrize(("talos", "kubernetes"), [("1.13.8", "1.36.3"), ("1.14.1", "1.37.0")])
def test_destroyed_while_it_installs(behind: Callable[[int, str], Behind], talos: str, kubernetes: str) -> None:
    world = behind(5, talos)
    lab = Lab(world)  # type: ignore[arg-type]
    lab.sync(template(list(world.machines), talos, kubernetes))
    world.run(lambda: installing(world) > 0)
    lab.destroy()
    world.run(lab.gone, 120)
    world.run(lambda: {fields["stage"] for fields in world.seen.values()} == {"maintenance"})
    assert {machine.disk.contents.config for machine in world.machines.values()} == {b""}


def test_what_cannot_be_is_said_when_it_is_planned(behind: Callable[[int, str], Behind]) -> None:
    world = behind(5, "1.13.8")
    lab = Lab(world)  # type: ignore[arg-type]
    uuids = list(world.machines)
    names = {fields["hostname"] for fields in world.seen.values()}
    for endpoint, talos, words in (
        ("", "1.13.8", "is behind an agent and cannot reach the endpoint"),
        ("{virtualIP: 10.5.0.100}", "1.13.8", "no network that holds the virtual IP 10.5.0.100; it has 127.92.0.0/16"),
        ("{virtualIP: 10.96.3.3}", "1.13.8", "lies in 10.96.0.0/12, from which services"),
        ("{address: k8s.example.org}", "1.14.1", "from memory and cannot install 1.14.1"),
    ):
        with pytest.raises(ValidationError) as refused:
            lab.sync(template(uuids, talos, "1.36.3", endpoint))
        assert words in str(refused.value)
        assert words.startswith("lies") or any(name in str(refused.value) for name in names)
    with tenant_scope(world.organisation.id):
        assert not Cluster.objects.exists()


def test_reader_rights_are_all_that_is_used(behind: Callable[[int, str], Behind]) -> None:
    """A machine in maintenance mode refuses everything else; so a cluster that got Ready asked for nothing else."""
    world = behind(1, "1.13.8")
    (uuid,) = world.machines
    address = next(iter(world._addresses))

    async def work(client: NodeClient) -> None:
        assert await client.identity() == uuid
        with pytest.raises(errors.Denied):
            await client.reboot()

    nodes.call(address, None, work, uuid)
