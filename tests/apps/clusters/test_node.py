"""What reconcilers see of a control plane whose etcd does not run yet."""

import asyncio
from datetime import UTC, datetime

import pytest

from apps.clusters.machine_steps import Live
from apps.clusters.node import TalosNode, Target
from apps.machines import nodes
from nodeagent import errors
from nodeagent.tls import Credentials
from talos import pki
from tests.nodeagent.simulator.bench import bench, bundle, config, install


async def test_a_control_plane_that_waits_for_its_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Talos answers no question about etcd before it runs; the rest of what the machine shows counts all the same."""
    async with bench() as b:
        (machine,) = b.fleet.machines
        await install(b, machine)
        async with b.client(machine) as client:
            await client.wait_for_answer(5)
            await client.apply_configuration(config())
        boot = await machine.booted()
        while not ((etcd := boot.services.get("etcd")) and etcd.state == "Preparing"):
            await boot.next_status()
        async with b.client(machine, "os:admin") as client:
            await client.wait_for_answer(5)
            monkeypatch.setattr("nodeagent.client.CALL", 0.2)
            for question in (client.etcd_status(), client.etcd_members()):
                with pytest.raises(errors.TimedOut):
                    await question
            monkeypatch.undo()

        here = asyncio.get_running_loop()

        def call(address, credentials, work, uuid, fingerprint, timeout):
            async def connected():
                async with b.client(machine, "os:admin") if credentials else b.client(machine) as client:
                    return await work(client)

            return asyncio.run_coroutine_threadsafe(connected(), here).result(timeout)

        monkeypatch.setattr(nodes, "call", call)
        credentials = Credentials(bundle().os.crt, pki.talos_client(bundle().os, ["os:admin"], datetime.now(UTC)))
        node = TalosNode(Target(machine.hardware.uuid, "", "controlplane", credentials, configured=True))
        answer = await asyncio.to_thread(node.look)
        assert isinstance(answer, Live)
        assert (answer.mode, answer.stage, answer.etcd_healthy) == ("secure", "booting", False)
        assert await asyncio.to_thread(node.etcd_members) == ()
