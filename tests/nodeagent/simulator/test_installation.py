"""Installing, upgrading, wiping; and what is on the disk afterwards."""

import pytest

from nodeagent import errors
from nodeagent.simulator.disk import Disk
from talos.gen import common_pb2
from talos.resources import types
from tests.nodeagent.simulator.bench import (
    FACTORY_IMAGE,
    SCHEMATIC,
    bench,
    config,
    in_stage,
    install,
    next_boot,
    run_cluster,
)


async def test_lifecycle_install():
    async with bench() as b:
        machine = b.fleet.machines[0]
        first = await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            await client.meta_write(16, b"token")
            pinned = await client.pull_image(FACTORY_IMAGE)
            assert pinned.startswith(f"{FACTORY_IMAGE}@sha256:")
            lines = [line async for line in client.install(pinned, "/dev/vda")]
            assert lines[-1] == "installation complete"
            assert [disk.device_name for disk in await client.disks() if disk.system_disk] == ["/dev/vda"]
            assert (await client.get(types.SYSTEM_DISK)).spec == {"diskID": "vda", "devPath": "/dev/vda"}
            assert machine.boot is first, "it does not reboot by itself"
            await client.reboot()
        await next_boot(machine, first)
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            assert (await client.get(types.META_KEY, "0x10")).spec == {"value": "token"}
            extensions = [item.spec["metadata"] for item in await client.list(types.EXTENSION_STATUS)]
            assert [(item["name"], item["version"]) for item in extensions] == [("schematic", SCHEMATIC)]


async def test_lifecycle_refusals():
    async with bench() as b:
        machine = b.fleet.machines[0]
        await in_stage(machine, "maintenance")

        async def run(image: str, disk: str) -> None:
            async with b.client(machine) as client:
                async for _ in client.install(image, disk):
                    pass

        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            with pytest.raises(errors.NotFound):
                await client.pull_image("ghcr.io/siderolabs/installer:v1.13.8-bad")
            nowhere = common_pb2.ContainerdInstance(driver=common_pb2.CONTAINERD, namespace=common_pb2.NS_CRI)
            with pytest.raises(errors.Invalid):
                await client.pull_image(FACTORY_IMAGE, nowhere)
            with pytest.raises(errors.NotReady):
                async for _ in client.upgrade(FACTORY_IMAGE):
                    pass
            pinned = await client.pull_image(FACTORY_IMAGE)
        with pytest.raises(errors.Invalid, match="not found"):
            await run(pinned, "/dev/sdz")
        with pytest.raises(errors.Invalid):
            await run(pinned, "")
        with pytest.raises(errors.NodeError, match="not found"):
            await run("ghcr.io/siderolabs/installer:v1.13.8", "/dev/vda")
        await run(pinned, "/dev/vda")
        with pytest.raises(errors.AlreadyDone):
            await run(pinned, "/dev/vda")


async def test_install_by_configuration():
    async with bench(version="v1.12.4") as b:
        machine = b.fleet.machines[0]
        first = await in_stage(machine, "maintenance")
        data = config(contract="v1.12", kubernetes="1.35.4", image="ghcr.io/siderolabs/installer:v1.12.5")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            await client.apply_configuration(data)
        await in_stage(machine, "installing")
        boot = await next_boot(machine, first, "booting")
        assert boot.version == "v1.12.5"
        assert machine.disk.contents.config == data
        async with b.client(machine, "os:admin") as client:
            await client.wait_for_answer(5)


async def test_a_failed_installation_ends_in_a_reboot():
    async with bench(version="v1.12.4") as b:
        machine = b.fleet.machines[0]
        first = await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            await client.apply_configuration(config(contract="v1.12", kubernetes="1.35.4", disk="/dev/sdz"))
        await next_boot(machine, first)
        assert machine.disk.installation is None
        told = [event.payload for event in first.events.stored()]
        assert any("no disk /dev/sdz" in event.error.message for event in told if hasattr(event, "sequence"))


async def test_unattended_install():
    async with bench(version="v1.14.1") as b:
        machine = b.fleet.machines[0]
        first = await in_stage(machine, "maintenance")
        data = config(contract="v1.14", image=FACTORY_IMAGE.replace("v1.13.8", "v1.14.1"))
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            await client.apply_configuration(data)
        boot = await next_boot(machine, first, "booting")
        assert boot.installation is not None
        assert boot.installation.schematic == SCHEMATIC


async def test_upgrade_and_back():
    async with bench() as b:
        machine = b.fleet.machines[0]
        boot = await install(b, machine)
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            pinned = await client.pull_image(FACTORY_IMAGE.replace("v1.13.8", "v1.13.9"))
            async for _ in client.upgrade(pinned):
                pass
            assert (await client.version()).tag == "v1.13.8"
            await client.reboot()
        boot = await next_boot(machine, boot)
        assert boot.version == "v1.13.9"
        assert 0x06 in boot.meta, "not confirmed: the machine is in maintenance"
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            await client.rollback()
        assert (await next_boot(machine, boot)).version == "v1.13.8"


async def test_an_upgrade_is_confirmed_by_a_ready_machine():
    async with bench() as b:
        (machine,) = await run_cluster(b, control_planes=1)
        before = machine.boot
        async with b.client(machine, "os:admin") as client:
            await client.upgrade_and_reboot(FACTORY_IMAGE.replace("v1.13.8", "v1.13.9"))
        boot = await next_boot(machine, before, "running")
        await boot.until(lambda: 0x06 not in boot.meta)
        assert boot.version == "v1.13.9"
        stages = [event.payload.stage for event in before.events.stored() if hasattr(event.payload, "stage")]
        assert stages[-2:] == [8, 5], "upgrading, rebooting"


async def test_wiping_the_disk_makes_it_a_stranger():
    async with bench() as b:
        (machine,) = await run_cluster(b, control_planes=1)
        before = machine.boot
        async with b.client(machine, "os:admin") as client:
            with pytest.raises(errors.NodeError, match="volume status"):
                await client.reset(graceful=False, reboot=True, wipe=("NONSENSE",))
            await client.reset(graceful=False, reboot=True)
        await next_boot(machine, before)
        assert machine.disk.installation is None
        assert machine.disk.contents.meta == {}


async def test_disks_survive_the_process(tmp_path):
    async with bench(state=tmp_path) as b:
        (machine,) = await run_cluster(b, control_planes=1)
        member = machine.disk.contents.etcd
        assert member is not None
    async with bench(state=tmp_path) as b:
        boot = await in_stage(b.fleet.machines[0], "running")
        assert boot.member is not None
        assert boot.member.id == member.member
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o077 == 0
    assert Disk(path).contents.etcd == member
