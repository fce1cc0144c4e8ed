"""A cluster of simulated machines: etcd, trustd, Kubernetes, and taking it apart again."""

import json
import ssl

import pytest

from nodeagent import errors
from nodeagent.tls import TlsStream, load_identity
from talos.machinetype import MachineType
from talos.pem import CertKey
from talos.resources import types
from tests.nodeagent.simulator.bench import admin, bench, bundle, config, in_stage, install, next_boot, run_cluster


async def test_three_control_planes_and_a_worker():
    async with bench(machines=4, listen_base="127.88.11.1") as b:
        machines = await run_cluster(b, control_planes=3, workers=1)
        names = {machine.boot.hostname for machine in machines if machine.boot}
        async with b.client(machines[1], "os:reader") as client:
            members = await client.etcd_members()
            assert {member.name for member in members} == {machine.boot.hostname for machine in machines[:3]}
            local = (await client.get(types.ETCD_MEMBER)).spec["memberID"]
            assert local in {f"{member.id:016x}" for member in members}
            assert {member.id for member in await client.list(types.MEMBER)} == names
            pods = await client.list(types.STATIC_POD_STATUS)
            assert len(pods) == 3
            services = {service.id: service.state for service in await client.services()}
            assert services["etcd"] == services["kubelet"] == services["trustd"] == "Running"
        async with b.client(machines[3], "os:admin") as client:
            assert "etcd" not in {service.id for service in await client.services()}
            for refused in (client.etcd_members(), client.bootstrap(), client.kubeconfig()):
                with pytest.raises(errors.Unsupported, match="only available on control plane nodes"):
                    await refused
        listed = await get(b, machines[0], "/api/v1/nodes")
        assert {node["metadata"]["name"] for node in listed["items"]} == names
        assert all(ready(node) == "True" for node in listed["items"])


async def test_bootstrap_happens_once():
    async with bench() as b:
        (machine,) = await run_cluster(b, control_planes=1)
        async with b.client(machine, "os:admin") as client:
            with pytest.raises(errors.AlreadyDone, match="etcd data directory is not empty"):
                await client.bootstrap()


async def test_bootstrap_is_not_for_maintenance():
    async with bench() as b:
        machine = b.fleet.machines[0]
        await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            with pytest.raises(errors.NotReady):
                await client.bootstrap()


async def test_leadership_and_leaving():
    async with bench(machines=3, listen_base="127.88.12.1") as b:
        machines = await run_cluster(b, control_planes=3)
        by_name = {machine.boot.hostname: machine for machine in machines}
        async with b.client(machines[0], "os:admin") as client:
            status = await client.etcd_status()
            members = {member.id: member.name for member in await client.etcd_members()}
        leader = members[status.leader]
        async with b.client(by_name[leader], "os:admin") as client:
            new = await client.etcd_forfeit_leadership()
            assert new in members.values()
            assert new != leader
            assert await client.etcd_forfeit_leadership() == ""
            await client.etcd_leave()
            with pytest.raises(errors.NodeError, match="etcd is not running"):
                await client.etcd_members()
        async with b.client(by_name[new], "os:admin") as client:
            left = await client.etcd_members()
            assert {member.name for member in left} == set(by_name) - {leader}
            with pytest.raises(errors.NotFound):
                await client.etcd_remove_member(1)
            other = next(member for member in left if member.name != new)
            await client.etcd_remove_member(other.id)
            assert [member.name for member in await client.etcd_members()] == [new]


async def test_a_lost_quorum_shows():
    async with bench(machines=3, listen_base="127.88.13.1") as b:
        machines = await run_cluster(b, control_planes=3)
        for machine in machines[1:]:
            async with b.client(machine, "os:admin") as client:
                await client.shutdown()
            while machine.boot is not None:
                await machine.boot.next_status()
        async with b.client(machines[0], "os:admin") as client:
            with pytest.raises(errors.NodeError):
                await client.etcd_members()
            assert len(await client.etcd_members(local=True)) == 3


async def test_a_reboot_comes_back_with_the_same_member():
    async with bench() as b:
        (machine,) = await run_cluster(b, control_planes=1)
        before = machine.boot
        member = before.member.id
        async with b.client(machine, "os:operator") as client:
            await client.reboot()
        boot = await next_boot(machine, before, "running")
        assert boot.id != before.id
        assert boot.member.id == member


async def test_a_reset_returns_a_machine_to_maintenance():
    async with bench(machines=3, listen_base="127.88.14.1") as b:
        machines = await run_cluster(b, control_planes=2, workers=1)
        gone = machines[1]
        before, name = gone.boot, gone.boot.hostname
        async with b.client(gone, "os:admin") as client:
            await client.meta_write(12, b"machineLabels: {}")
            await client.reset(graceful=True, reboot=True, wipe=("STATE", "EPHEMERAL"))
        boot = await next_boot(gone, before)
        assert boot.installation is not None, "it stays installed"
        assert boot.meta == {12: b"machineLabels: {}"}
        assert gone.disk.contents.etcd is None
        async with b.client(gone) as client:
            await client.wait_for_answer(5)
        async with b.client(machines[0], "os:admin") as client:
            assert name not in {member.name for member in await client.etcd_members()}
        stages = [event.payload.stage for event in before.events.stored() if hasattr(event.payload, "stage")]
        assert stages[-1] == 7, "resetting"


async def test_a_worker_without_trustd_cannot_be_reached():
    async with bench() as b:
        machine = b.fleet.machines[0]
        await install(b, machine)
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            await client.apply_configuration(config(MachineType.WORKER, endpoint="https://127.0.0.1:1"))
        await in_stage(machine, "booting")
        async with b.client(machine, "os:admin") as client:
            with pytest.raises(errors.NodeError):
                await client.version()


# --- Kubernetes


async def exchange(b, machine, request: str, identity: CertKey | None, body: bytes = b"") -> tuple[int, bytes]:
    """One HTTP request to a control plane's Kubernetes API: status and body."""
    context = ssl.create_default_context(cadata=bundle().k8s.crt.decode())
    if identity:
        load_identity(context, identity)
    stream = TlsStream(*await b.connect(machine, 6443), context, server_hostname="127.0.0.1")
    await stream.handshake()
    head = f"{request} HTTP/1.1\r\nHost: k\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    await stream.write(f"{head}Content-Type: application/merge-patch+json\r\n\r\n".encode() + body)
    answer = b""
    while data := await stream.read():
        answer += data
    stream.close()
    top, _, content = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), content


async def get(b, machine, path: str) -> dict:
    status, content = await exchange(b, machine, f"GET {path}", admin())
    assert status == 200, content
    return json.loads(content)


def ready(node: dict) -> str:
    return next(item["status"] for item in node["status"]["conditions"] if item["type"] == "Ready")


async def test_the_kubernetes_api():
    async with bench() as b:
        (machine,) = await run_cluster(b, control_planes=1)
        name = machine.boot.hostname
        assert (await exchange(b, machine, "GET /readyz", admin()))[1] == b"ok"
        assert (await get(b, machine, "/version"))["gitVersion"] == "v1.36.3"
        assert (await exchange(b, machine, "GET /api/v1/nodes", None))[0] == 401
        assert (await exchange(b, machine, "GET /api/v1/volumes", admin()))[0] == 404
        assert (await exchange(b, machine, "GET /api/v1/nodes/nobody", admin()))[0] == 404

        node = await get(b, machine, f"/api/v1/nodes/{name}")
        assert node["status"]["nodeInfo"]["systemUUID"] == machine.hardware.uuid
        assert node["spec"]["taints"] == [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
        patch = json.dumps({"spec": {"unschedulable": True}}).encode()
        status, content = await exchange(b, machine, f"PATCH /api/v1/nodes/{name}", admin(), patch)
        assert (status, json.loads(content)["spec"]["unschedulable"]) == (200, True)
        assert int(json.loads(content)["metadata"]["resourceVersion"]) > int(node["metadata"]["resourceVersion"])

        pods = await get(b, machine, "/api/v1/pods?fieldSelector=spec.nodeName%3D" + name)
        assert len(pods["items"]) == 3
        assert (await get(b, machine, "/api/v1/pods?labelSelector=k8s-app%3Dnothing"))["items"] == []

        assert (await exchange(b, machine, f"DELETE /api/v1/nodes/{name}", admin()))[0] == 200
        assert (await get(b, machine, "/api/v1/nodes"))["items"] == []


async def test_a_watch_of_nodes():
    async with bench(machines=2, listen_base="127.88.15.1") as b:
        first, second = await run_cluster(b, control_planes=1, workers=1)
        listed = await get(b, first, "/api/v1/nodes")
        version = listed["metadata"]["resourceVersion"]
        name = second.boot.hostname
        await exchange(b, first, f"DELETE /api/v1/nodes/{name}", admin())
        query = f"watch=true&resourceVersion={version}&timeoutSeconds=0.1"
        status, content = await exchange(b, first, f"GET /api/v1/nodes?{query}", admin())
        lines = [line for line in content.split(b"\r\n") if line.startswith(b"{")]
        assert status == 200
        assert [(event["type"], event["object"]["metadata"]["name"]) for event in map(json.loads, lines)] == [
            ("DELETED", name)
        ]


async def test_a_silent_node_is_no_longer_ready():
    async with bench(machines=2, listen_base="127.88.16.1") as b:
        first, second = await run_cluster(b, control_planes=1, workers=1)
        name = second.boot.hostname
        async with b.client(second, "os:admin") as client:
            await client.shutdown()
        cluster = first.boot.cluster
        async for event, node in cluster.objects.watch("nodes", cluster.objects.version):
            if node["metadata"]["name"] == name and event == "MODIFIED":
                assert ready(node) == "Unknown"
                break


async def test_another_kubernetes_version_restarts_the_kubelet():
    async with bench() as b:
        (machine,) = await run_cluster(b, control_planes=1)
        async with b.client(machine, "os:admin") as client:
            await client.apply_configuration(config(kubernetes="1.36.2"))
        objects = machine.boot.cluster.objects
        async for _, node in objects.watch("nodes", 1):
            if node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.2" and ready(node) == "True":
                break
