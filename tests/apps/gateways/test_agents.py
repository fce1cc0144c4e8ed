"""Machines behind real agents, on a real gateway: found, accepted, followed, lost and back; and those that lie."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import pytest
from django.core.exceptions import ValidationError

from apps.audit.models import AuditRecord
from apps.clusters.credentials import store_secrets
from apps.clusters.models import Cluster, ClusterMachine
from apps.gateways import agents as module
from apps.gateways import listening, monitor
from apps.machines import actions, agents, history
from apps.machines.models import Agent, AgentObservation, AgentTarget, JoinToken, Link, Machine, MachineEvent
from nodeagent import agent as program
from nodeagent import dial
from nodeagent.client import NodeClient
from nodeagent.simulator import routing
from nodeagent.simulator.boot import Boot, Next
from nodeagent.tunnel.lookout import Lookout
from talos import siderolink
from talos.resources import types
from tests.apps.gateways.behind import enrolled, fleet, host, network, running_agent, target, up
from tests.apps.gateways.lab import Lab
from tests.nodeagent.simulator.bench import bundle, config, in_stage, next_boot


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "Lookout", partial(Lookout, named_every=0.1, scan_every=0.1))
    monkeypatch.setattr(program, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(program, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(program, "REFUSED_PAUSE", 0.2)
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.5)


def rename(boot: Boot, name: str) -> None:
    """Let a machine say something new of itself."""
    boot.put(types.HOSTNAME_STATUS, {"hostname": name})


def stored_log(machine: Machine, text: str) -> list[str]:
    """Kept lines of a machine's kernel log with a text."""
    found = history.log(machine, history.LogFilter(text=text), 100)
    return [item.line.text for item in found.lines]


async def test_a_named_machine_appears_at_once(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with lab.gateway(), fleet(net) as machines, running_agent(lab, token, host(net)):
        machine = await lab.machine(machines.machines[0].hardware.uuid, lambda m: up(m) and m.observation.endpoint)
        link = machine.link
        assert (link.transport, link.state, link.public_key) == (Link.AGENT, Link.ESTABLISHED, None)
        assert (link.reaches_us, link.admin_in_maintenance, link.proves_identity) == (False, False, False)
        assert siderolink.has_purpose(str(link.address), siderolink.Purpose.SIDEROLINK)
        seen = machine.observation
        assert (seen.transport, seen.endpoint, seen.api_mode, seen.stage) == (
            "agent", host(net), "maintenance", "maintenance",
        )  # fmt: skip
        row = await target(lab, host(net), machine=machine)
        assert (row.named, row.problem, row.talos_version, row.fingerprint) == (True, "", "v1.13.8", link.fingerprint)
        agent = await enrolled(lab, observation__connected=True)
        assert (agent.observation.version, agent.observation.nodes) == ("0.0.0-test", [host(net)])
        verbs = await lab.ask(lambda: dict(AuditRecord.objects.values_list("verb", "actor_name")))
        assert (verbs["agent.enrol"], verbs["machine.join"]) == ("rack-7", "rack-7")
        # what it says is read through its API, as it cannot call us
        await lab.until(lambda: MachineEvent.objects.filter(machine=machine, kind="MachineStatusEvent").exists())
        boot = await machines.machines[0].booted()
        boot.kernel_log.talos("heard from afar")
        await lab.until(lambda: stored_log(machine, "heard from afar"))
        # and whoever dials it by its address gets there
        path = lab.settings.run / "gateway.sock"
        async with NodeClient(lambda: dial.through(path, str(link.address), 50000), None) as client:
            assert await client.identity() == machine.uuid


async def test_a_machine_found_by_a_scan_waits_for_a_person(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with lab.gateway(), fleet(net, 2) as machines, running_agent(lab, token, scan=(net,)):
        found = await target(lab, host(net, 1), api_mode="maintenance")
        assert (found.uuid, found.machine, found.problem) == (machines.machines[1].hardware.uuid, None, "")
        assert await lab.ask(Machine.objects.count) == 0
        accepted = await lab.ask(lambda: agents.accept(lab.owner, found))
        machine = await lab.machine(found.uuid, up)
        assert machine.id == accepted.id
        record = await lab.ask(lambda: AuditRecord.objects.get(verb="machine.join"))
        assert (record.actor_name, record.details) == (
            "owner@example.com", {"agent": "rack-7", "address": host(net, 1)},
        )  # fmt: skip
        again = await target(lab, host(net, 1), machine=machine)
        with pytest.raises(ValidationError, match="accepted already"):
            await lab.ask(lambda: agents.accept(lab.owner, again))
        assert await lab.ask(Machine.objects.count) == 1  # the other one still waits


async def test_two_agents_that_reach_one_machine_fail_over(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with (
        lab.gateway(),
        fleet(net) as machines,
        running_agent(lab, token, host(net), name="one") as first,
        running_agent(lab, token, host(net), name="two") as second,
    ):
        machine = await lab.machine(machines.machines[0].hardware.uuid, up)
        for name in ("one", "two"):
            assert (await target(lab, host(net), name, machine=machine)).problem == ""
        assert await lab.ask(Machine.objects.count) == 1
        changed_at = machine.observation.connected_changed_at
        first.cancel()
        await enrolled(lab, "one", observation__connected=False)
        rename(await machines.machines[0].booted(), "after-the-first")
        again = await lab.machine(
            machine.uuid,
            lambda m: up(m) and (m.observation.hostname, m.observation.endpoint) == ("after-the-first", host(net)),
        )
        assert again.observation.connected_changed_at == changed_at  # its link never went down
        second.cancel()
        down = await lab.machine(machine.uuid, lambda m: not m.observation.connected)
        assert down.observation.hostname == "after-the-first"  # its state is kept


async def test_an_agent_that_dies_costs_the_link_and_never_the_state(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with lab.gateway(), fleet(net) as machines:
        uuid = machines.machines[0].hardware.uuid
        async with running_agent(lab, token, host(net)):
            before = await lab.machine(uuid, up)
        async with asyncio.timeout(10):
            down = await lab.machine(uuid, lambda m: not m.observation.connected and not m.observation.reachable)
        assert (down.id, down.observation.stage, down.observation.disks) == (
            before.id, "maintenance", before.observation.disks,
        )  # fmt: skip
        with pytest.raises(OSError, match="no agent that reaches this machine is connected"):
            await dial.through(lab.settings.run / "gateway.sock", str(before.link.address), 50000)
        async with running_agent(lab, token, host(net)):
            after = await lab.machine(uuid, up)
            assert (after.id, after.link.address) == (before.id, before.link.address)
        assert await lab.ask(Agent.objects.count) == 1  # its credential tells that it is the same


async def test_a_restart_of_the_gateway_heals(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with fleet(net) as machines, running_agent(lab, token, host(net)):
        async with lab.gateway():
            before = await lab.machine(machines.machines[0].hardware.uuid, up)
        async with lab.gateway():
            rename(await machines.machines[0].booted(), "renamed")
            after = await lab.machine(before.uuid, lambda m: up(m) and m.observation.hostname == "renamed")
            assert (after.id, after.link.address) == (before.id, before.link.address)


async def test_a_gateway_that_starts_without_the_agent_says_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    net, token = network(), await lab.token()
    async with fleet(net) as machines, running_agent(lab, token, host(net)) as running:
        async with lab.gateway():
            before = await lab.machine(machines.machines[0].hardware.uuid, up)
        await lab.ask(lambda: AgentObservation.objects.update(connected=True))  # as if killed
        running.cancel()
        monkeypatch.setattr(monitor, "GRACE", 0.5)
        async with lab.gateway():
            await enrolled(lab, observation__connected=False)
            await lab.machine(before.uuid, lambda m: not m.observation.connected and not m.observation.reachable)


async def test_what_a_machine_says_is_kept_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a connection that broke, a reboot, and a gateway that starts anew."""
    net, token = network(), await lab.token()
    async with fleet(net) as machines, running_agent(lab, token, host(net)):
        first = await machines.machines[0].booted()
        async with lab.gateway():
            machine = await lab.machine(machines.machines[0].hardware.uuid, up)
            first.kernel_log.talos("the first word")
            await lab.until(lambda: stored_log(machine, "the first word"))
            first.finish(Next.REBOOT)
            second = await next_boot(machines.machines[0], first)
            second.kernel_log.talos("the second word")
            await lab.until(lambda: stored_log(machine, "the second word"))
            assert len(await lab.ask(lambda: stored_log(machine, "the first word"))) == 1
            started = await lab.ask(lambda: stored_log(machine, "boot sequence"))
            events = await lab.ask(lambda: MachineEvent.objects.filter(machine=machine).count())
        async with lab.gateway():
            await lab.machine(machine.uuid, up)
            second.kernel_log.talos("the third word")
            await lab.until(lambda: stored_log(machine, "the third word"))
            for word in ("the second word", "the third word"):
                assert len(await lab.ask(lambda word=word: stored_log(machine, word))) == 1
            assert await lab.ask(lambda: stored_log(machine, "boot sequence")) == started
            assert await lab.ask(lambda: MachineEvent.objects.filter(machine=machine).count()) == events


async def test_a_machine_that_falls_silent_is_noticed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its host answers no more, and no connection ends: what is asked of it tells."""
    monkeypatch.setattr(listening, "ASK_AGAIN", 0.2)
    monkeypatch.setattr("nodeagent.client.CALL", 0.5)
    net, token = network(), await lab.token()
    async with lab.gateway(), fleet(net) as machines, running_agent(lab, token, host(net)):
        machine = await lab.machine(machines.machines[0].hardware.uuid, up)

        async def silence(*_: object) -> None:
            await asyncio.sleep(3600)

        monkeypatch.setattr(routing, "unary", silence)
        down = await lab.machine(machine.uuid, lambda m: not m.observation.reachable)
        assert "took too long" in down.observation.error
        monkeypatch.undo()


async def test_revoking_its_token_ends_an_agent_while_it_carries_streams(lab: Lab) -> None:
    await lab.token("default")
    net, token = network(), await lab.token("doomed")
    async with lab.gateway(), fleet(net) as machines, running_agent(lab, token, host(net)):
        machine = await lab.machine(machines.machines[0].hardware.uuid, up)
        reader, writer = await dial.through(lab.settings.run / "gateway.sock", str(machine.link.address), 50000)
        await lab.ask(lambda: actions.revoke_join_token(lab.owner, JoinToken.objects.get(name="doomed")))
        assert await asyncio.wait_for(reader.read(), 10) == b""  # cut
        writer.close()
        agent = await enrolled(lab, observation__connected=False)
        assert "token of this agent was revoked" in agent.observation.problem
        await lab.machine(machine.uuid, lambda m: not m.observation.connected)
    async with lab.gateway(), running_agent(lab, await lab.token("fresh"), host(net)), fleet(net):
        await lab.machine(machine.uuid, up)  # another token lets the same agent in again


async def test_a_removed_agent_stays_out(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with lab.gateway(), fleet(net) as machines, running_agent(lab, token, host(net)):
        machine = await lab.machine(machines.machines[0].hardware.uuid, up)
        await lab.ask(lambda: agents.remove(lab.owner, Agent.objects.get()))
        agent = await enrolled(lab, observation__connected=False)
        assert "this agent was removed" in agent.observation.problem
        down = await lab.machine(machine.uuid, lambda m: not m.observation.connected)
        assert await lab.ask(AgentTarget.objects.count) == 0
        assert down.link.transport == Link.AGENT
        async with running_agent(lab, token, host(net), name="another"):
            await lab.machine(machine.uuid, up)


async def test_a_machine_that_lies_about_its_uuid_takes_nobodys_place(lab: Lab) -> None:
    net, token = network(), await lab.token()
    liar = fleet(network(), 1, seed="liar")
    async with lab.gateway(), fleet(net) as machines, running_agent(lab, token, host(net)):
        machine = await lab.machine(machines.machines[0].hardware.uuid, up)
        liar.machines[0].hardware = replace(liar.machines[0].hardware, uuid=machine.uuid)
        address = liar.machines[0].listen_address
        assert address
        async with liar, running_agent(lab, token, address, name="other"):
            row = await target(lab, address, "other", api_mode="maintenance")
            assert row.machine is None
            assert "its hardware is not that of the known machine" in row.problem
            with pytest.raises(ValidationError, match="its hardware is not"):
                await lab.ask(lambda: agents.accept(lab.owner, row))
        now = await lab.machine(machine.uuid)
        assert up(now)
        assert now.link.id == machine.link.id


async def test_another_machine_at_a_known_address_is_told_and_left_alone(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with lab.gateway(), running_agent(lab, token, host(net)):
        async with fleet(net) as machines:
            machine = await lab.machine(machines.machines[0].hardware.uuid, up)
        async with fleet(net, seed="another") as others:
            other = others.machines[0]
            row = await target(lab, host(net), uuid=other.hardware.uuid)
            assert row.machine is not None
            assert row.machine.uuid == machine.uuid
            assert f"answers here instead of {machine.uuid}" in row.problem
            await lab.machine(machine.uuid, lambda m: not m.observation.connected)
            assert await lab.ask(Machine.objects.count) == 1
            await lab.ask(lambda: agents.accept(lab.owner, row))  # a person decides
            await lab.machine(other.hardware.uuid, up)
        async with fleet(net):  # the first one is back, and known
            await lab.machine(machine.uuid, up)


async def test_a_configured_machine_is_told_by_its_clusters_certificate(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with lab.gateway(), fleet(net, 2) as machines, running_agent(lab, token, host(net), name="one"):
        mine, stranger = machines.machines
        machine = await lab.machine(mine.hardware.uuid, up)
        await lab.ask(lambda: give_to_cluster(machine))
        for one in (mine, stranger):
            assert one.listen_address
            address = one.listen_address
            async with NodeClient(lambda a=address: asyncio.open_connection(a, 50000), None) as client:  # type: ignore[misc]
                await client.apply_configuration(config())
        await lab.machine(machine.uuid, lambda m: m.observation.api_mode == "secure" and up(m))
        async with running_agent(lab, token, host(net), host(net, 1), name="two"):
            row = await target(lab, host(net), "two", api_mode="secure")
            assert (row.machine_id, row.problem) == (machine.id, "")
            other = await target(lab, host(net, 1), "two", api_mode="secure")
            assert (other.machine_id, other.uuid) == (None, stranger.hardware.uuid)
            assert "no machine" in other.problem
            await lab.ask(lambda: ClusterMachine.objects.all().delete())
            await lab.ask(lambda: Cluster.objects.all().delete())
        async with running_agent(lab, token, host(net, 1), name="two"):
            row = await target(lab, host(net, 1), "two", api_mode="foreign")
            assert row.machine_id is None
            assert "a configuration that is not ours" in row.problem


def give_to_cluster(machine: Machine) -> None:
    """Store a cluster that configured the machine."""
    cluster = Cluster.new(
        name="prod", kubernetes_version="1.33.0", talos_version="1.13.8", initial_talos_version="1.13.8",
        balancer_port=10_000,
    )  # fmt: skip
    store_secrets(cluster, bundle())
    ClusterMachine.new(cluster=cluster, machine=machine, role="controlplane", kubernetes_version="1.33.0")


async def test_a_host_that_is_not_reached_is_said_to_be(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with lab.gateway(), running_agent(lab, token, host(net), host(net, 1)), fleet(net):
        row = await target(lab, host(net, 1), problem__startswith="It does not answer")
        assert (row.machine, row.api_mode, row.seen_at) == (None, "", None)
        with pytest.raises(ValidationError, match="does not answer"):
            await lab.ask(lambda: agents.accept(lab.owner, row))
        await target(lab, host(net), api_mode="maintenance", problem="")


async def test_what_is_no_talos_machine_is_said_to_be(lab: Lab) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com\r\n")
        writer.close()

    net, token = network(), await lab.token()
    async with await asyncio.start_server(talk, host(net), 50000), lab.gateway(), running_agent(lab, token, host(net)):
        row = await target(lab, host(net), problem__startswith="It does not answer")
        assert "TLS" in row.problem


async def test_a_machine_that_joined_by_siderolink_needs_no_agent(lab: Lab) -> None:
    net, token = network(), await lab.token()
    twin = fleet(net, seed="t")
    async with lab.gateway(), lab.fleet(token) as joined:
        machine = await lab.machine(joined.machines[0].hardware.uuid, up)
        assert twin.machines[0].hardware.uuid == machine.uuid  # by its seed, the same hardware
        async with twin, running_agent(lab, token, host(net)):
            row = await target(lab, host(net), uuid=machine.uuid)
            assert "joined over SideroLink" in row.problem
            assert row.machine is None
        assert (await lab.machine(machine.uuid)).link.transport == Link.UDP


async def test_a_free_machine_moves_from_its_agent_to_siderolink(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with lab.gateway(), running_agent(lab, token, host(net)):
        async with fleet(net, seed="t") as behind:
            before = await lab.machine(behind.machines[0].hardware.uuid, up)
        async with lab.fleet(token):
            after = await lab.machine(before.uuid, lambda m: m.observation.transport == "udp" and up(m))
            assert (after.id, after.link.id) == (before.id, before.link.id)
            assert after.link.transport == Link.UDP
            assert await lab.ask(Link.objects.count) == 1


async def test_a_forgotten_machine_comes_back_while_an_agent_names_it(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with lab.gateway(), fleet(net) as machines, running_agent(lab, token, host(net)):
        before = await lab.machine(machines.machines[0].hardware.uuid, up)
        await lab.ask(lambda: actions.remove_machine(lab.owner, Machine.objects.get()))
        after = await lab.machine(before.uuid, lambda m: m.id != before.id and up(m))
        assert after.link.address != before.link.address


async def test_a_machine_reboots_behind_its_agent(lab: Lab) -> None:
    net, token = network(), await lab.token()
    async with lab.gateway(), fleet(net) as machines, running_agent(lab, token, host(net)):
        before = await lab.machine(machines.machines[0].hardware.uuid, up)
        first = await machines.machines[0].booted()
        first.finish(Next.REBOOT)
        rename(await next_boot(machines.machines[0], first), "second-life")
        await lab.machine(before.uuid, lambda m: up(m) and m.observation.hostname == "second-life")


async def test_a_machine_that_was_away_for_a_moment_is_found_again_soon(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its agent looks too seldom to notice: it was found before the reboot and is found after it."""
    monkeypatch.setattr(module, "LOOK_AGAIN", 3600.0)
    monkeypatch.setattr(module, "FIRST_LOOK_AGAIN", 0.05)
    monkeypatch.setattr(program, "Lookout", partial(Lookout, named_every=3600.0, scan_every=3600.0))
    net, token = network(), await lab.token()
    async with lab.gateway(), AsyncExitStack() as beside:
        async with fleet(net, seed="t") as machines:
            await in_stage(machines.machines[0], "maintenance")
            await beside.enter_async_context(running_agent(lab, token, host(net)))
            machine = await lab.machine(machines.machines[0].hardware.uuid, up)
        await target(lab, host(net), problem__startswith="It does not answer")
        async with fleet(net, seed="t") as again:
            rename(await in_stage(again.machines[0], "maintenance"), "second-life")
            await lab.machine(machine.uuid, lambda m: up(m) and m.observation.hostname == "second-life")
