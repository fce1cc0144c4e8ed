"""A machine without configuration: who may do what, and what is forgotten."""

import asyncio
import ssl

import pytest

from nodeagent import errors
from nodeagent.client import Mode
from nodeagent.tls import MAINTENANCE_NAME, TlsStream
from talos.gen.machine import machine_pb2
from talos.resources import types
from tests.nodeagent.simulator.bench import LAN, bench, config, in_stage, next_boot

JOIN = b"apiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: '[fdae:41e4:649b:9303::1]:8090'\n"


async def test_says_what_it_is():
    async with bench() as b:
        machine = b.fleet.machines[0]
        boot = await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            version = await client.wait_for_answer(5)
            assert (version.tag, version.platform, version.mode) == ("v1.13.8", "metal", "metal")
            assert await client.identity() == machine.hardware.uuid
            assert await client.boot_id() == boot.id
            assert [(disk.device_name, disk.system_disk) for disk in await client.disks()] == [
                ("/dev/vda", False),
                ("/dev/vdb", False),
            ]
            links = await client.list(types.LINK_STATUS)
            assert [link.id for link in links if link.spec["type"] == "ether" and not link.spec["kind"]] == ["eth0"]
            status = await client.get(types.MACHINE_STATUS)
            assert status.spec == {"stage": "maintenance", "status": {"ready": True, "unmetConditions": []}}


async def test_shows_a_certificate_of_its_own_and_asks_for_none():
    async with bench() as b:
        machine = b.fleet.machines[0]
        await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        stream = TlsStream(*await b.connect(machine, 50000), context)
        await stream.handshake()
        certificate = stream.peer_certificate()
        assert certificate is not None
        assert certificate.subject.rfc4514_string() == f"CN={MAINTENANCE_NAME}"
        assert list(certificate.issuer) == []
        stream.close()


async def test_a_caller_from_the_lan_only_reads_and_configures():
    async with bench() as b:
        machine = b.fleet.machines[0]
        await in_stage(machine, "maintenance")
        async with b.client(machine, source=LAN) as client:
            await client.wait_for_answer(5)
            await client.disks()
            for denied in (client.meta_write(16, b"x"), client.reboot(), client.read_file("/proc/cmdline")):
                with pytest.raises(errors.Denied):
                    await denied
            with pytest.raises(errors.Denied):
                await client.get(types.MACHINE_CONFIG, "v1alpha1")
            await client.apply_configuration(JOIN)
        assert machine.boot
        assert machine.boot.maintenance


async def test_talos_1_12_serves_only_its_few_calls():
    async with bench(version="v1.12.4") as b:
        machine = b.fleet.machines[0]
        await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            with pytest.raises(errors.Unsupported, match="not implemented in maintenance mode"):
                await client.reboot()
            with pytest.raises(errors.Unsupported):
                await client.pull_image("ghcr.io/siderolabs/installer:v1.13.8")
            await client.meta_write(16, b"token")
        async with b.client(machine, source=LAN) as client:
            with pytest.raises(errors.Unsupported):
                await client.version()
            await client.disks()


async def test_meta_survives_a_reboot_only_once_it_is_installed():
    async with bench() as b:
        machine = b.fleet.machines[0]
        first = await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            await client.meta_write(16, b"token")
            assert (await client.get(types.META_KEY, "0x10")).spec == {"value": "token"}
            assert (await client.get(types.UNIQUE_MACHINE_TOKEN)).spec == {"token": "token"}
            await client.meta_delete(16)
            with pytest.raises(errors.NotFound):
                await client.meta_delete(16)
            with pytest.raises(errors.Invalid):
                await client.meta_write(256, b"")
            await client.meta_write(15, b"11111111-2222-4333-8444-555555555555")
            assert await client.identity() == "11111111-2222-4333-8444-555555555555"
            await client.reboot()
        second = await next_boot(machine, first)
        assert second.id != first.id
        assert second.meta == {}
        assert second.uuid == machine.hardware.uuid


async def test_newer_talos_keeps_some_meta_keys_for_itself():
    async with bench(version="v1.14.1") as b:
        machine = b.fleet.machines[0]
        await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            with pytest.raises(errors.Denied, match="not writeable"):
                await client.meta_delete(0x09)


async def test_a_partial_configuration_is_live_and_the_machine_stays():
    async with bench() as b:
        machine = b.fleet.machines[0]
        await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            applied = await client.apply_configuration(JOIN)
            assert applied.mode == Mode.NO_REBOOT
            stored = await client.get(types.MACHINE_CONFIG, "v1alpha1")
            assert stored.spec == JOIN.decode()
            assert (await client.get(types.MACHINE_STATUS)).spec["stage"] == "maintenance"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"machine: [", "decode error"),
        (b"apiVersion: v1alpha1\nkind: NoSuchConfig\n", '"NoSuchConfig" "v1alpha1": not registered'),
        (b"apiVersion: v1alpha1\nkind: EventSinkConfig\nendpont: x\n", "unknown keys"),
        (b"version: v1alpha1\nmachine: {}\n", "cluster instructions are required"),
    ],
)
async def test_a_bad_configuration_is_refused(data: bytes, complaint: str):
    async with bench() as b:
        machine = b.fleet.machines[0]
        await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            with pytest.raises(errors.Invalid, match=complaint):
                await client.apply_configuration(data)
        assert machine.boot
        assert machine.boot.maintenance


async def test_documents_of_a_newer_talos_are_unknown():
    async with bench(version="v1.13.8") as b:
        machine = b.fleet.machines[0]
        await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            with pytest.raises(errors.Invalid, match="not registered"):
                await client.apply_configuration(config(contract="v1.14", disk=""))


async def test_a_reset_is_accepted_and_dropped():
    async with bench() as b:
        machine = b.fleet.machines[0]
        boot = await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            actor = await client.reset(graceful=False, reboot=True)
        told = [event.payload for event in boot.events.stored() if event.actor_id == actor]
        assert [(event.sequence, event.action) for event in told] == [("reset", machine_pb2.SequenceEvent.NOOP)]
        assert "sequence not started" in told[0].error.message
        assert machine.boot is boot


async def test_what_talos_does_not_have_is_unimplemented():
    async with bench(version="v1.12.4") as b:
        machine = b.fleet.machines[0]
        await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            with pytest.raises(errors.Unsupported):
                async for _ in client.install("x", "/dev/vda"):
                    pass


async def test_a_machine_whose_link_is_missing_is_deaf_on_its_lan():
    async with bench(api="grpc://127.0.0.1:1?jointoken=t", listen_base="127.88.3.1") as b:
        machine = b.fleet.machines[0]
        boot = await in_stage(machine, "maintenance")
        while not boot.services.up("apid"):
            await boot.next_status()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.88.3.1", 50000)
