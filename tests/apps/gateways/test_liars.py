"""Machines that say they are another one: nothing of the other one changes, and the liar is told apart."""

from apps.machines.models import Link, Machine
from nodeagent.adopt import META_UUID_OVERRIDE
from talos.resources import types
from tests.apps.gateways.lab import Lab, complete, logged
from tests.apps.gateways.test_bad_input import still_fine

OTHER = "99999999-2222-4333-8444-555555555555"


def seen(machine: Machine) -> bool:
    """Complete, and found again at once after a restart."""
    return complete(machine) and bool(machine.link.last_endpoint)


async def test_a_machine_that_returns_as_another_one(lab: Lab) -> None:
    """With the token of its first identity it is refused, and told where it is registered."""
    async with lab.gateway(), lab.fleet(await lab.token()) as fleet:
        before = await lab.machine(fleet.machines[0].hardware.uuid, complete)
        boot = await fleet.machines[0].booted()
        await boot.set_meta(META_UUID_OVERRIDE, OTHER.encode())
        await logged(boot, f"registered as {before.uuid}")
        links = await lab.ask(lambda: list(Link.objects.values_list("machine__uuid", "public_key")))
        assert links == [(before.uuid, before.link.public_key)]


async def test_a_machine_that_takes_the_name_of_another_one(lab: Lab) -> None:
    """It claims the UUID of a machine that is in, with a token of its own: the other one stays as it is."""
    async with lab.gateway(), lab.fleet(await lab.token(), 2) as fleet:
        liar, honest = [await lab.machine(one.hardware.uuid, complete) for one in fleet.machines]
        boot = await fleet.machines[0].booted()
        await boot.set_meta(META_UUID_OVERRIDE, honest.uuid.encode())
        await logged(boot, f"registered as {liar.uuid}")
        await still_fine(lab, fleet.machines[1], honest)
        now = await lab.machine(honest.uuid, complete)
        assert (now.id, now.link.public_key) == (honest.id, honest.link.public_key)


async def test_a_machine_whose_api_names_another_one(lab: Lab) -> None:
    """The link proves who it was when it joined; what answers there now is not acted on, and a person is told why."""
    async with lab.fleet(await lab.token(), 2) as fleet:
        async with lab.gateway():
            liar, honest = [await lab.machine(one.hardware.uuid, seen) for one in fleet.machines]
        boot = await fleet.machines[0].booted()
        told = boot.store.get(types.SYSTEM_INFORMATION, types.SYSTEM_INFORMATION.id)
        assert told is not None
        boot.put(types.SYSTEM_INFORMATION, {**told.spec, "uuid": OTHER})
        async with lab.gateway():
            found = await lab.machine(liar.uuid, lambda m: OTHER in m.observation.error)
            assert not found.observation.reachable
            assert f"not {liar.uuid}" in found.observation.error
            await lab.machine(honest.uuid, complete)
        assert await lab.ask(Machine.objects.count) == 2
