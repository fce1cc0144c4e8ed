"""The whole gateway against simulated machines: they join, are followed, heal, go and come back."""

from dataclasses import replace

import pytest

from apps.audit.models import AuditRecord
from apps.machines import actions
from apps.machines.history import log_lines
from apps.machines.models import JoinToken, Link, LogChunk, Machine, MachineEvent, MachineObservation
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent import dial
from nodeagent.client import NodeClient
from nodeagent.simulator import link
from nodeagent.simulator.boot import Next
from tests.apps.gateways.lab import Lab, complete, logged


@pytest.mark.parametrize("tunnel", [False, True], ids=["udp", "grpc"])
async def test_machines_join_and_are_followed(lab: Lab, tunnel: bool) -> None:
    token = await lab.token()
    async with lab.gateway(), lab.fleet(token, 2, tunnel) as fleet:
        for simulated in fleet.machines:
            machine = await lab.machine(simulated.hardware.uuid, complete)
            observed = machine.observation
            assert machine.link.state == Link.ESTABLISHED
            assert machine.link.transport == ("grpc" if tunnel else "udp")
            assert bool(machine.link.virtual_address) == tunnel
            assert observed.talos_version == "v1.13.8"
            assert observed.api_mode == "maintenance"
            assert not observed.installed
            assert token not in observed.kernel_cmdline
            assert simulated.boot is not None
            assert observed.boot_id == simulated.boot.id
            assert simulated.boot.meta[16].decode() not in str(observed.meta)
            await lab.until(
                lambda m=machine: MachineEvent.objects.filter(machine=m, kind="MachineStatusEvent").exists()
            )
            await lab.until(lambda m=machine: any(b"siderolink provisioned" in line for _, line in log_lines(m)))
        row = await lab.ask(JoinToken.objects.get)
        assert row.use_count == 2
        verbs = await lab.ask(lambda: list(AuditRecord.objects.values_list("verb", flat=True)))
        assert verbs.count("machine.join") == 2


@pytest.mark.parametrize("tunnel", [False, True], ids=["udp", "grpc"])
async def test_a_restart_of_the_gateway_heals(lab: Lab, tunnel: bool) -> None:
    async with lab.fleet(await lab.token(), 1, tunnel) as fleet:
        uuid = fleet.machines[0].hardware.uuid
        async with lab.gateway():
            before = await lab.machine(uuid, lambda m: complete(m) and (tunnel or m.link.last_endpoint))
        assert fleet.machines[0].boot
        async with lab.gateway():
            fleet.machines[0].boot.kernel_log.talos("still here")
            await lab.until(lambda: any(b"still here" in line for _, line in log_lines(before)))
            again = await lab.machine(uuid, lambda m: complete(m))
            assert again.id == before.id
            assert again.link.address == before.link.address


async def test_a_machine_whose_database_went_away_goes_on(lab: Lab) -> None:
    """Every connection of the server is cut; machines stay, and what they say afterwards is stored."""
    async with lab.gateway(), lab.fleet(await lab.token()) as fleet:
        machine = await lab.machine(fleet.machines[0].hardware.uuid, complete)
        await lab.cut_database()
        assert fleet.machines[0].boot
        fleet.machines[0].boot.kernel_log.talos("after the cut")
        await lab.until(lambda: any(b"after the cut" in line for _, line in log_lines(machine)))
        await lab.ask(lambda: actions.remove_machine(lab.owner, Machine.objects.get()))
        await lab.dropped(machine)


async def test_a_removed_machine_disappears_and_comes_back_as_a_new_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CHECK_INTERVAL", 0.5)  # a machine notices after 275 s and looks every 30 s
    monkeypatch.setattr(link, "PEER_DOWN", 1.0)
    async with lab.gateway(), lab.fleet(await lab.token()) as fleet:
        uuid = fleet.machines[0].hardware.uuid
        before = await lab.machine(uuid, lambda m: m.observation.reachable)
        await lab.ask(lambda: actions.remove_machine(lab.owner, Machine.objects.get()))
        again = await lab.machine(uuid, lambda m: m.id != before.id and complete(m))
        assert again.link.address != before.link.address
        row = await lab.ask(JoinToken.objects.get)
        assert row.use_count == 2


async def test_a_revoked_token_lets_nobody_in_and_keeps_who_is_in(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await lab.token("default")
    token = await lab.token("revoked")
    async with lab.gateway(), lab.fleet(token) as fleet:
        machine = await lab.machine(fleet.machines[0].hardware.uuid, complete)
        await lab.ask(lambda: actions.revoke_join_token(lab.owner, JoinToken.objects.get(name="revoked")))
        async with lab.fleet(token, seed="late") as late:
            await logged(await late.machines[0].booted(), "revoked or expired")
        assert await lab.ask(Machine.objects.count) == 1
        assert (await lab.machine(machine.uuid)).observation.connected


async def test_a_second_machine_with_a_known_uuid_gets_another(lab: Lab) -> None:
    """Two machines of one UUID, but of different hardware: neither is disturbed, both end up registered."""
    token = await lab.token()
    async with lab.gateway(), lab.fleet(token) as first:
        uuid = first.machines[0].hardware.uuid
        before = await lab.machine(uuid, complete)
        twin = lab.fleet(token, seed="twin")
        twin.machines[0].hardware = replace(twin.machines[0].hardware, uuid=uuid)
        async with twin:
            other = await lab.until(lambda: Machine.objects.exclude(uuid=uuid).first())
            await lab.machine(other.uuid, complete)
            assert twin.machines[0].boot
            assert twin.machines[0].boot.uuid == other.uuid
            now = await lab.machine(uuid, complete)
            assert (now.id, now.link.public_key) == (before.id, before.link.public_key)
        assert await lab.ask(lambda: list(Link.objects.values_list("state", flat=True))) == ["established"] * 2


async def test_a_reboot_before_installation_keeps_the_machine(lab: Lab) -> None:
    """META is lost, the key is new: told by its hardware, the machine gets its link and address back."""
    async with lab.gateway(), lab.fleet(await lab.token()) as fleet:
        simulated = fleet.machines[0]
        before = await lab.machine(simulated.hardware.uuid, complete)
        boot = await simulated.booted()
        boot.finish(Next.REBOOT)
        after = await lab.machine(
            before.uuid, lambda m: complete(m) and m.observation.boot_id != before.observation.boot_id
        )
        assert (after.id, after.link.address) == (before.id, before.link.address)
        assert after.link.public_key != before.link.public_key
        assert await lab.ask(Link.objects.count) == 1
        assert simulated.boot
        second = simulated.boot.id
        await lab.until(lambda: MachineEvent.objects.filter(machine=after, at__gte=after.link.provisioned_at).exists())
        assert after.observation.boot_id == second


async def test_other_tenants_see_nothing(lab: Lab, other_organisation: Organisation) -> None:
    async with lab.gateway(), lab.fleet(await lab.token()) as fleet:
        machine = await lab.machine(fleet.machines[0].hardware.uuid, complete)
        await lab.until(lambda: MachineEvent.objects.exists() and log_lines(machine))

        def theirs() -> list[int]:
            with tenant_scope(other_organisation.id):
                models = (Machine, Link, MachineObservation, MachineEvent, LogChunk)
                return [model.objects.count() for model in models]

        assert await in_thread(theirs) == [0] * 5


async def test_dialling_a_machine_through_the_gateway(lab: Lab) -> None:
    async with lab.gateway(), lab.fleet(await lab.token()) as fleet:
        machine = await lab.machine(fleet.machines[0].hardware.uuid, complete)
        path = lab.settings.run / "gateway.sock"
        async with NodeClient(lambda: dial.through(path, machine.link.address, 50000), None) as client:
            assert await client.identity() == machine.uuid
        with pytest.raises(OSError, match="refused"):
            await dial.through(path, machine.link.address, 9)
        with pytest.raises(OSError, match="No machine with overlay address"):
            await dial.through(path, "fdae:41e4:649b:9303::dead", 50000)
