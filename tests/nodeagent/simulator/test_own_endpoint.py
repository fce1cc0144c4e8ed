"""Machines without SideroLink: on addresses of this host, with an endpoint, a trustd and a virtual IP of their own."""

import asyncio
import ssl
from dataclasses import replace

import pytest

from nodeagent import errors
from nodeagent.client import NodeClient
from nodeagent.simulator.boot import Boot
from nodeagent.simulator.machine import Machine
from nodeagent.simulator.tls import trust_context
from nodeagent.simulator.unarygrpc import CallError, UnaryChannel
from nodeagent.tls import Credentials, TlsStream, load_identity
from talos import certificates, pki
from talos.config import virtualip
from talos.config.document import encode, load
from talos.config.patch import apply, load_patch
from talos.contract import VersionContract
from talos.gen import security_pb2
from talos.machinetype import MachineType
from talos.resources import types
from tests import kubectl
from tests.nodeagent.simulator.bench import (
    FACTORY_IMAGE,
    Bench,
    admin,
    bench,
    bundle,
    config,
    in_stage,
    next_boot,
)

BASE, VIRTUAL = "127.91.0.10", "127.91.0.100"
CONTROL_PLANE, WORKER = MachineType.CONTROLPLANE, MachineType.WORKER


def config_of(machine_type: MachineType, talos: str = "1.13.8", patch: str = "") -> bytes:
    """A config that installs, with a virtual IP on control planes."""
    contract, kubernetes = {
        "1.12.4": ("v1.12", "1.35.4"),
        "1.13.8": ("v1.13", "1.36.3"),
        "1.14.1": ("v1.14", "1.37.0"),
    }[talos]
    made = load(
        config(
            machine_type,
            contract=contract,
            kubernetes=kubernetes,
            endpoint=f"https://{VIRTUAL}:6443",
            image=FACTORY_IMAGE.replace("1.13.8", talos),
        )
    )
    patches = (
        [virtualip.patch(VersionContract.parse(contract), VIRTUAL, "eth0")] if machine_type is CONTROL_PLANE else []
    )
    return encode(apply(made, [load_patch(text) for text in (*patches, patch) if text])).encode()


def client(machine: Machine, *roles: str) -> NodeClient:
    """Over this host's network, as an agent on the machine's network has it."""
    held = Credentials(bundle().os.crt, pki.talos_client(bundle().os, roles, admin_time())) if roles else None
    host = machine.listen_address
    return NodeClient(lambda: asyncio.open_connection(host, 50000), held, name=machine.hardware.uuid)


def admin_time():
    return bundle().os.certificate.not_valid_before_utc


async def listening(machine: Machine) -> Boot:
    """In maintenance mode, its API open."""
    boot = await in_stage(machine, "maintenance")
    while not boot.services.up("apid"):
        await boot.next_status()
    return boot


async def join(machine: Machine, data: bytes) -> Boot:
    first = await listening(machine)
    async with client(machine) as reader:
        await reader.apply_configuration(data)
    return await next_boot(machine, first, "booting")


async def run(b: Bench, control_planes: int, workers: int, talos: str = "1.13.8") -> list[Machine]:
    """A cluster by configs alone."""
    machines = b.fleet.machines
    kinds = [CONTROL_PLANE] * control_planes + [WORKER] * workers
    await asyncio.gather(*(join(m, config_of(kind, talos)) for m, kind in zip(machines, kinds, strict=True)))
    boot = await machines[0].booted()
    async with client(machines[0], "os:admin") as owner:
        await owner.wait_for_answer(5)
        while not boot.services.up("cri"):
            await boot.next_status()
        await owner.bootstrap()
    for machine in machines:
        boot = await in_stage(machine, "running")
        while not boot.ready:
            await boot.next_status()
    return machines


async def nodes_at(host: str) -> int:
    """How many nodes the Kubernetes API at an address knows: with its name checked, as kubectl does."""
    context = ssl.create_default_context(cadata=bundle().k8s.crt.decode())
    load_identity(context, admin())
    return len(await kubectl.nodes(host, 6443, context))


async def test_only_a_reader_until_it_is_configured():
    async with bench(listen_base=BASE) as b:
        (machine,) = b.fleet.machines
        await listening(machine)
        async with client(machine) as reader:
            assert (await reader.wait_for_answer(5)).tag == "v1.13.8"
            assert await reader.identity() == machine.hardware.uuid
            with pytest.raises(errors.Denied):
                await reader.reboot()
            with pytest.raises(errors.Denied):
                await reader.meta_write(16, b"token")
            with pytest.raises(errors.Denied):
                await reader.pull_image(FACTORY_IMAGE)
            told = (await reader.get(types.NODE_ADDRESS, "current")).spec
        assert told["addresses"] == [f"{BASE}/16"]


@pytest.mark.parametrize("talos", ["1.12.4", "1.13.8", "1.14.1"])
async def test_a_cluster_by_configs_alone(talos: str):
    async with bench(machines=4, version=f"v{talos}", listen_base=BASE) as b:
        machines = await run(b, 3, 1, talos)
        assert {machine.disk.installation.version for machine in machines} == {f"v{talos}"}
        assert await nodes_at(VIRTUAL) == 4
        (holder,) = (machine for machine in machines if VIRTUAL in machine.boot.addresses)
        spec = holder.boot.store.get(types.NODE_ADDRESS, "current").spec
        assert spec["addresses"] == [f"{holder.listen_address}/16", f"{VIRTUAL}/32"]


async def test_the_virtual_ip_moves_when_its_holder_dies():
    async with bench(machines=4, listen_base=BASE) as b:
        machines = await run(b, 3, 1)
        seen = set()
        for left in (3, 2):
            (holder,) = (machine for machine in machines if machine.boot and VIRTUAL in machine.boot.addresses)
            seen.add(holder.hardware.uuid)
            if left == 2:
                break
            others = [machine for machine in machines[:3] if machine is not holder]
            b.fleet._tasks[b.fleet.machines.index(holder)].cancel()
            waiting = [asyncio.create_task(_carries(machine.boot)) for machine in others]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            assert await nodes_at(VIRTUAL) == 4
        assert len(seen) == 2


async def _carries(boot: Boot) -> None:
    while VIRTUAL not in boot.carried:
        await asyncio.sleep(0.02)


async def test_a_running_machine_follows_another_endpoint():
    """A virtual IP that comes and goes with the config, and a certificate that knows it."""
    async with bench(listen_base=BASE) as b:
        (machine,) = await run(b, 1, 0)
        boot = await machine.booted()
        plain = encode(load(config(endpoint=f"https://{BASE}:6443", image=FACTORY_IMAGE))).encode()
        for data, carried in ((plain, []), (config_of(CONTROL_PLANE), [VIRTUAL])):
            async with client(machine, "os:admin") as owner:
                await owner.apply_configuration(data)
            while boot.carried != carried:
                await asyncio.sleep(0.02)
            if carried:
                assert await nodes_at(VIRTUAL) == 1
            else:
                with pytest.raises(OSError):
                    await asyncio.open_connection(VIRTUAL, 6443)


async def test_nobody_has_the_virtual_ip_without_a_quorum():
    async with bench(machines=3, listen_base=BASE) as b:
        machines = await run(b, 3, 0)
        rest = [machine for machine in machines if VIRTUAL not in machine.boot.addresses]
        (holder,) = (machine for machine in machines if machine not in rest)
        for machine in rest:
            b.fleet._tasks[b.fleet.machines.index(machine)].cancel()
        while VIRTUAL in holder.boot.carried:
            await asyncio.sleep(0.02)
        with pytest.raises(OSError):
            await asyncio.open_connection(VIRTUAL, 6443)


async def test_trustd_of_the_control_planes():
    async with bench(machines=1, listen_base=BASE) as b:
        machines = await run(b, 1, 0)
        csr, _ = certificates.new_request(bundle().os.certificate, "worker", [], ["worker"])
        for token, reason in (("wrong", "invalid token"), ("", "missing token"), (bundle().trustd_token, "")):
            stream = TlsStream(
                *await asyncio.open_connection(VIRTUAL, 50001),
                trust_context([bundle().os.crt]),
                server_hostname=machines[0].listen_address,
            )
            await stream.handshake()
            call = UnaryChannel(stream, "trustd", "https").call(
                "/securityapi.SecurityService/Certificate",
                security_pb2.CertificateRequest(csr=csr),
                security_pb2.CertificateResponse,
                [("token", token)] if token else [],
            )
            if reason:
                with pytest.raises(CallError, match=reason):
                    await call
            else:
                assert (await call).ca == bundle().os.crt
            stream.close()


async def test_an_address_among_those_of_services_starts_no_etcd():
    async with bench(listen_base=BASE) as b:
        (machine,) = b.fleet.machines
        machine.hardware = replace(machine.hardware, address="10.96.0.17")
        boot = await join(machine, config_of(CONTROL_PLANE))
        async with client(machine, "os:admin") as owner:
            await owner.wait_for_answer(5)
            while (service := boot.services.get("etcd")) is None or service.state != "Waiting":
                await boot.next_status()
            assert "outside of the Kubernetes networks" in service.message
            other = load_patch("cluster: {network: {serviceSubnets: [10.112.0.0/12]}}")
            current = load(boot.config.text)
            await owner.apply_configuration(encode(apply(current, [other])).encode())
            while service.state == "Waiting":
                await boot.next_status()


async def test_a_worker_cannot_have_a_virtual_ip():
    async with bench(listen_base=BASE) as b:
        (machine,) = b.fleet.machines
        await listening(machine)
        shared = "machine: {network: {interfaces: [{interface: eth0, vip: {ip: 127.91.0.100}}]}}"
        async with client(machine) as reader:
            with pytest.raises(errors.Invalid, match="not allowed on non-controlplane"):
                await reader.apply_configuration(config_of(WORKER, patch=shared))
