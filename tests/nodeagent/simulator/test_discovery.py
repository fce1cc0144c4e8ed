"""Discovery without anybody who knows its protocol: inside the process."""

import asyncio

import pytest

from nodeagent.simulator import hardware, publicservice
from nodeagent.simulator.__main__ import arguments, faults
from nodeagent.simulator.configuration import Configuration
from nodeagent.simulator.mesh import Cluster, Service
from nodeagent.simulator.publicservice import Described, PublicService
from talos.resources import types
from tests.nodeagent.simulator.bench import bench, bundle, config, configure, next_boot, until

PUBLIC = Service("default", publicservice.ENDPOINT, insecure=False)
ONE = Cluster("a", "secret")


async def test_members_come_and_go():
    async with bench(2) as b:
        stays, goes = [await configure(b, machine, config()) for machine in b.fleet.machines]
        for boot in (stays, goes):
            await until(boot, types.MEMBER, lambda specs: specs.keys() == {stays.hostname, goes.hostname})
        assert stays.store.get(types.INFO).spec == {"clusterId": bundle().cluster_id, "clusterName": "bench"}
        assert stays.store.get(types.DISCOVERY_CONFIG).spec["serviceEndpoint"] == publicservice.ENDPOINT
        member = stays.store.get(types.MEMBER, goes.hostname).spec
        assert member["addresses"] == [goes.machine.hardware.address]
        assert (member["machineType"], member["controlPlane"]) == ("controlplane", {"port": 6443})
        async with b.client(goes.machine, "os:admin") as client:
            await client.wait_for_answer(5)
            await client.reboot()
        goes = await next_boot(goes.machine, goes, "booting")
        await until(goes, types.MEMBER, lambda specs: len(specs) == 2)
        assert len(stays.store.list(types.MEMBER)) == 2, "who reboots stays a member"
        async with b.client(goes.machine, "os:admin") as client:
            await client.wait_for_answer(5)
            await client.reset(graceful=False, reboot=True)
        await until(stays, types.MEMBER, lambda specs: specs.keys() == {stays.hostname})


async def test_kubespan_stays_off():
    on = "apiVersion: v1alpha1\nkind: KubeSpanConfig\nenabled: true\n"
    async with bench() as b:
        boot = await configure(b, b.fleet.machines[0], config(patches=[on]))
        await until(boot, types.KUBESPAN_CONFIG, lambda specs: specs["kubespan"]["enabled"])
        await until(boot, types.AFFILIATE, bool)
        assert boot.store.list(types.KUBESPAN_IDENTITY) == []
        assert "kubespan" not in boot.store.get(types.AFFILIATE, boot.node_id).spec


async def test_another_secret_another_room():
    service = PublicService()
    clients = [
        service.client(PUBLIC, cluster, name, lambda: None)
        for name, cluster in (("x", ONE), ("y", ONE), ("z", Cluster("a", "other")))
    ]
    for client in clients:
        client.publish(Described({"nodeId": client.node_id}), {})
    assert [sorted(client.affiliates) for client in clients] == [["y"], ["x"], []]


async def test_who_falls_silent_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(publicservice, "TTL", 0.05)
    service, gone = PublicService(), asyncio.Event()
    watcher = service.client(PUBLIC, ONE, "w", lambda: None if watcher.affiliates else gone.set())
    silent = service.client(PUBLIC, ONE, "s", lambda: None)
    silent.publish(Described({"nodeId": "s"}), {})
    tasks = [asyncio.create_task(client.run()) for client in (watcher, silent)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    assert set(watcher.affiliates) == {"s"}
    async with asyncio.timeout(5):
        await gone.wait()
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("patch", "services"),
    [
        ("cluster: {discovery: {enabled: true}}", [("legacy", "discovery.talos.dev:443", False)]),
        ("cluster: {discovery: {enabled: false}}", []),
        ("cluster: {discovery: {registries: {service: {disabled: true}}}}", []),
        (
            "cluster: {discovery: {registries: {service: {endpoint: 'http://[fdae::1]:8093'}}}}",
            [("legacy", "[fdae::1]:8093", True)],
        ),
        (
            "cluster: {discovery: {registries: {service: {endpoint: 'http://example.org/'}}}}",
            [("legacy", "example.org:80", True)],
        ),
    ],
)
def test_services_of_a_configuration(patch: str, services: list[tuple[str, str, bool]]):
    read = Configuration.parse(config(patches=[patch]))
    assert [(each.name, each.endpoint, each.insecure) for each in read.discovery_services] == services
    assert read.discovery_identity == Cluster(bundle().cluster_id, bundle().cluster_secret)
    assert read.discovery_enabled == bool(services)


def test_a_configuration_never_shows_the_secret():
    assert bundle().cluster_secret not in repr(Configuration.parse(config()).discovery_identity)


def test_faults_of_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    machine = {number: hardware.build("talos", number - 1).uuid for number in (1, 2, 3)}
    words = ["--machines", "3", "--cut", "1,2", "--nat", "3=203.0.113.7:41641", "--clock", "2=-90"]
    monkeypatch.setattr("sys.argv", ["omni simulator", *words])
    read = faults(arguments())
    assert read.cut == {frozenset((machine[1], machine[2]))}
    assert read.nat == {machine[3]: "203.0.113.7:41641"}
    assert read.clock == {machine[2]: -90.0}
    for wrong in (["--cut", "1"], ["--nat", "1=here"], ["--clock", "x=1"], ["--cut", "1,4"]):
        monkeypatch.setattr("sys.argv", ["omni simulator", "--machines", "3", *wrong])
        with pytest.raises(SystemExit):
            faults(arguments())
        assert wrong[0] in capsys.readouterr().err
