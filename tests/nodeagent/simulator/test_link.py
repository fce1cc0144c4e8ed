"""SideroLink from a machine's side, against the real server and engine."""

import asyncio
import contextlib
import os

import pytest

from nodeagent.simulator import link as link_module
from nodeagent.simulator import tunnel
from talos.gen.machine import machine_pb2
from talos.resources import types
from tests.nodeagent.simulator.bench import Bench, bench, config, in_stage, next_boot
from tests.nodeagent.simulator.controlplane import TOKEN, ControlPlane, Registry, control_plane

TRANSPORTS = ["", "&grpc_tunnel=true"]


async def linked(cp: ControlPlane, b: Bench):
    """The first machine, when it answers over its link."""
    machine = b.fleet.machines[0]
    await cp.registry.until(lambda: machine.hardware.uuid in cp.registry.by_uuid)
    async with cp.client(machine.hardware.uuid) as client:
        await client.wait_for_answer(10)
    return machine


@pytest.mark.parametrize("query", TRANSPORTS, ids=["udp", "grpc"])
async def test_it_provisions_and_is_given_a_token(query: str):
    async with control_plane() as cp, bench(api=cp.api + query) as b:
        machine = await linked(cp, b)
        first = cp.registry.requests[0]
        assert first.node_uuid == machine.hardware.uuid
        assert (first.join_token, first.unique_token) == (TOKEN, None)
        assert first.talos_version == "v1.13.8"
        assert first.wants_tunnel is bool(query)
        address = cp.registry.by_uuid[machine.hardware.uuid].address
        async with cp.client(machine.hardware.uuid) as client:
            await client.wait_for_answer(5)
            current = (await client.get(types.NODE_ADDRESS, "current")).spec["addresses"]
            assert f"{address}/64" in current
            await client.meta_write(16, b"unique")  # an administrator, because of where the call comes from
            await cp.registry.until(lambda: len(cp.registry.requests) > 1)
            second = cp.registry.requests[1]
            assert (second.unique_token, second.public_key) == ("unique", first.public_key)
            assert cp.registry.by_uuid[machine.hardware.uuid].address == address
            await client.version()


@pytest.mark.parametrize("query", TRANSPORTS, ids=["udp", "grpc"])
async def test_events_and_kernel_log_arrive_in_order(query: str):
    async with control_plane() as cp, bench(api=cp.api + query) as b:
        machine = await linked(cp, b)
        boot = await in_stage(machine, "maintenance")
        last = boot.events.stored()[-1].id
        await cp.registry.until(lambda: any(event[1] == last for event in cp.registry.events))
        ids = [event[1] for event in cp.registry.events]
        assert ids == sorted(ids)
        assert ids == [event.id for event in boot.events.stored()][: len(ids)]
        first = cp.registry.events[0]
        assert first[3] == "type.googleapis.com/machine.SequenceEvent"
        assert first[2] == machine_pb2.SequenceEvent(sequence="initialize", action=machine_pb2.SequenceEvent.START)
        await cp.registry.until(lambda: any(b"machine is maintenance" in line for _, line in cp.registry.log_lines))
        assert cp.registry.log_lines[0][1].startswith(b'{"clock":')
        assert {address for address, _ in cp.registry.log_lines} == {cp.registry.by_uuid[machine.hardware.uuid].address}


async def test_a_refused_machine_tries_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(link_module, "backoff", lambda failures: 0.05 * failures)
    registry = Registry(tokens=set())
    async with control_plane(registry) as cp, bench(api=cp.api) as b:
        await cp.registry.until(lambda: len(registry.requests) > 2)
        assert not registry.by_uuid
        registry.tokens.add(TOKEN)
        await linked(cp, b)


async def test_a_reboot_takes_a_new_key():
    async with control_plane() as cp, bench(api=cp.api) as b:
        machine = await linked(cp, b)
        before = machine.boot
        async with cp.client(machine.hardware.uuid) as client:
            await client.wait_for_answer(5)
            await client.reboot()
        await next_boot(machine, before)
        await linked(cp, b)
        keys = {request.public_key for request in cp.registry.requests}
        assert len(keys) == 2
        assert all(request.unique_token is None for request in cp.registry.requests)


async def test_a_tunnel_comes_back_after_a_restart_of_the_server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tunnel, "CREATE_RETRY", 0.1)
    registry, key = Registry(), os.urandom(32)
    async with contextlib.AsyncExitStack() as stack:
        async with control_plane(registry, key) as cp:
            b = await stack.enter_async_context(bench(api=cp.api + "&grpc_tunnel=true"))
            machine = await linked(cp, b)
            boot = await in_stage(machine, "maintenance")
        asked = len(registry.requests)
        port = int(cp.api.partition("?")[0].rpartition(":")[2])
        async with control_plane(registry, key, port) as again:
            boot.kernel_log.talos("something to send")
            async with again.client(machine.hardware.uuid) as client:
                await client.wait_for_answer(30)
        assert len(registry.requests) == asked, "the same link, without provisioning"


async def test_another_uuid_is_another_machine():
    async with control_plane() as cp, bench(api=cp.api) as b:
        machine = await linked(cp, b)
        async with cp.client(machine.hardware.uuid) as client:
            await client.wait_for_answer(5)
            await client.meta_write(15, b"11111111-2222-4333-8444-555555555555")
        await cp.registry.until(lambda: "11111111-2222-4333-8444-555555555555" in cp.registry.by_uuid)
        async with cp.client("11111111-2222-4333-8444-555555555555") as client:
            await client.wait_for_answer(10)
            assert await client.identity() == "11111111-2222-4333-8444-555555555555"


async def test_a_server_with_another_address_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(link_module, "CHECK_INTERVAL", 0.1)
    monkeypatch.setattr(link_module, "PEER_DOWN", 0.0)
    async with control_plane() as cp, bench(api=cp.api) as b:
        await linked(cp, b)
        await cp.registry.until(lambda: len(cp.registry.requests) > 2)
        assert len({request.public_key for request in cp.registry.requests}) == 1


async def test_the_configuration_may_name_another_control_plane():
    async with control_plane() as first, control_plane() as second, bench(api=first.api) as b:
        machine = await linked(first, b)
        documents = f"apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: {second.api}\n"
        async with first.client(machine.hardware.uuid) as client:
            await client.wait_for_answer(5)
            await client.apply_configuration(documents.encode())
        await linked(second, b)
        assert second.registry.requests[0].public_key == first.registry.requests[0].public_key


async def test_a_configured_machine_keeps_its_link():
    async with control_plane() as cp, bench(api=cp.api, version="v1.14.1") as b:
        machine = await linked(cp, b)
        asked = len(cp.registry.requests)
        data = config(contract="v1.14", disk="")
        async with cp.client(machine.hardware.uuid) as client:
            await client.wait_for_answer(5)
            await client.apply_configuration(data)
        boot = await in_stage(machine, "booting")
        while not boot.services.up("apid"):
            await boot.next_status()
        await asyncio.sleep(0.1)
        assert len(cp.registry.requests) == asked
