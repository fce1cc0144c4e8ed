"""Applying configurations: from maintenance to mutual TLS, and the modes of each Talos version."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nodeagent import errors
from nodeagent.client import Mode
from talos import pki
from talos.resources import types
from tests.nodeagent.simulator.bench import FAST, Bench, bench, bundle, config, in_stage, install, next_boot


async def configured(b: Bench, **choices: str):
    """The first machine, installed and configured as a control plane."""
    machine = b.fleet.machines[0]
    await install(b, machine)
    async with b.client(machine) as client:
        await client.wait_for_answer(5)
        await client.apply_configuration(config(**choices))
    async with b.client(machine, "os:admin") as client:
        await client.wait_for_answer(5)
    return machine


async def test_a_complete_configuration_brings_mutual_tls():
    async with bench() as b:
        machine = await configured(b)
        async with b.client(machine) as client:
            with pytest.raises(errors.WrongTrust):
                await client.version()
        async with b.client(machine, "os:reader") as client:
            assert (await client.version()).tag == "v1.13.8"
            with pytest.raises(errors.Denied, match="not authorized"):
                await client.get(types.MACHINE_CONFIG, "v1alpha1")
            with pytest.raises(errors.Denied):
                await client.apply_configuration(config())
        async with b.client(machine, "os:operator") as client:
            with pytest.raises(errors.Denied):
                await client.reset(graceful=False, reboot=True)
        async with b.client(machine, "os:nobody-knows") as client:
            with pytest.raises(errors.Denied):
                await client.version()


async def test_a_client_of_another_cluster_is_refused_by_tls():
    async with bench() as b:
        machine = await configured(b)
        stranger = replace(bundle(), os=pki.talos_ca(datetime.now(UTC)))
        async with b.client(machine, "os:admin", bundle_=stranger) as client:
            with pytest.raises(errors.WrongTrust):
                await client.version()


async def test_before_bootstrap_it_boots_and_says_what_is_missing():
    async with bench() as b:
        machine = await configured(b)
        async with b.client(machine, "os:reader") as client:
            status = (await client.get(types.MACHINE_STATUS)).spec
            assert status["stage"] == "booting"
            assert not status["status"]["ready"]
            reasons = {unmet["name"]: unmet["reason"] for unmet in status["status"]["unmetConditions"]}
            assert "etcd not running" in reasons["services"]


async def test_a_configured_machine_wants_complete_configurations():
    async with bench() as b:
        machine = await configured(b)
        async with b.client(machine, "os:admin") as client:
            with pytest.raises(errors.Invalid, match="doesn't contain v1alpha1 config"):
                await client.apply_configuration(b"apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\n")


async def test_a_dry_run_changes_nothing():
    async with bench() as b:
        machine = await configured(b)
        other = config(kubernetes="1.36.2")
        async with b.client(machine, "os:admin") as client:
            answer = await client.apply_configuration(other, dry_run=True)
            assert answer.details.startswith("Dry run summary:")
            assert "+" in answer.details
            assert "kubelet:v1.36.2" in answer.details
            assert "v1.36.3" in (await client.get(types.MACHINE_CONFIG, "v1alpha1")).spec


async def test_a_staged_configuration_waits_for_the_next_boot():
    async with bench() as b:
        machine = await configured(b)
        before = machine.boot
        other = config(kubernetes="1.36.2")
        async with b.client(machine, "os:admin") as client:
            await client.apply_configuration(other, Mode.STAGED)
            assert "v1.36.3" in (await client.get(types.MACHINE_CONFIG, "v1alpha1")).spec
            assert "v1.36.2" in (await client.get(types.MACHINE_CONFIG, "persistent")).spec
            await client.reboot()
        boot = await next_boot(machine, before, "booting")
        assert boot.config.kubernetes_version == "v1.36.2"


async def test_a_tried_configuration_goes_away():
    async with bench() as b:
        machine = await configured(b)
        boot = machine.boot
        async with b.client(machine, "os:admin") as client:
            await client.apply_configuration(config(kubernetes="1.36.2"), Mode.TRY, revert_after=1)
            assert boot.config.kubernetes_version == "v1.36.2"
            async with asyncio.timeout(5):
                await boot.until(lambda: boot.config.kubernetes_version == "v1.36.3")


async def test_until_1_13_some_changes_need_a_reboot():
    async with bench() as b:
        machine = await configured(b)
        before = machine.boot
        debug = config().replace(b"debug: false", b"debug: true")
        deep = config().replace(b"machine:\n", b"machine:\n    env:\n        A: b\n", 1)
        async with b.client(machine, "os:admin") as client:
            assert (await client.apply_configuration(debug)).mode == Mode.NO_REBOOT
            with pytest.raises(errors.Invalid, match="immediate mode"):
                await client.apply_configuration(deep, Mode.NO_REBOOT)
            answer = await client.apply_configuration(deep)
            assert answer.mode == Mode.REBOOT
            assert answer.details == "Applied configuration with a reboot"
        boot = await next_boot(machine, before, "booting")
        assert boot.config.machine["env"] == {"A": "b"}


async def test_since_1_14_nothing_reboots_by_itself():
    async with bench(version="v1.14.1") as b:
        machine = await configured(b, contract="v1.14", disk="")
        async with b.client(machine, "os:admin") as client:
            with pytest.raises(errors.Unsupported):
                await client.apply_configuration(config(contract="v1.14", disk=""), Mode.REBOOT)
            answer = await client.apply_configuration(config(contract="v1.14", disk="", kubernetes="1.37.0"))
            assert answer.mode == Mode.NO_REBOOT


async def test_kubernetes_and_talos_have_to_go_together():
    async with bench() as b:
        machine = await configured(b)
        async with b.client(machine, "os:admin") as client:
            with pytest.raises(errors.Invalid, match="too new to be used with Talos"):
                await client.apply_configuration(config(kubernetes="1.37.0"))


async def test_without_somewhere_to_install_it_waits_in_booting():
    async with bench(version="v1.14.1") as b:
        machine = b.fleet.machines[0]
        await in_stage(machine, "maintenance")
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            await client.apply_configuration(config(contract="v1.14", disk=""))
        async with b.client(machine, "os:admin") as client:
            await client.wait_for_answer(5)
            assert (await client.get(types.MACHINE_STATUS)).spec["stage"] == "booting"
            with pytest.raises(errors.NotReady):
                await client.bootstrap()


async def test_two_at_once_are_one_too_many_since_1_14():
    slow = replace(FAST, service=1)
    async with bench(version="v1.14.1", timings=slow) as b:
        machine = await configured(b, contract="v1.14", disk="")
        async with machine.boot.applying, b.client(machine, "os:admin") as client:
            with pytest.raises(errors.NotReady, match="in progress"):
                await client.apply_configuration(config(contract="v1.14", disk=""))
