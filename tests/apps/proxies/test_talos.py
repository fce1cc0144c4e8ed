"""talosctl's calls through a real gateway to simulated machines."""

from tests.apps.proxies.site import Tenant
from tests.apps.gateways.lab import Lab


async def test_a_signed_call_reaches_its_machine(lab: Lab) -> None:
    async with lab.gateway(), lab.fleet(await lab.token(), 1) as fleet:
        tenant = Tenant(lab)
        (machine,) = await tenant.machines(fleet.machines)
        await tenant.cluster("prod", machine)
        ana = await tenant.person("reader")
        assert await ana.version(node=machine.uuid, context="prod") == [""]
