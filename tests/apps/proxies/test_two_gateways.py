"""A call may land on any gateway: it goes on to the machine by way of the one that holds its link."""

from datetime import UTC, datetime

from apps.accounts.models import AccessKey
from tests.apps.gateways.test_holding import Site, site
from tests.apps.proxies.site import DMESG, Tenant, ended
from tests.apps.proxies.test_live import FOLLOW, follows
from tests.apps.proxies.test_talos import DENIED

__all__ = ["site"]


async def test_a_call_at_the_gateway_that_does_not_hold_the_machine(site: Site) -> None:
    token = await site.labs["one"].token()
    async with site.running("one", "two"), site.machines(token, 1, tunnel=False) as fleet:
        site.send_to("one")
        machine = await site.held(fleet.machines[0].hardware.uuid, "one")
        ana = await Tenant(site.labs["two"]).person("operator")
        assert await ana.version(node=machine.uuid) == [""]
        async with ana.stream(DMESG, FOLLOW, node=machine.uuid) as call:
            await follows(call)
            await site.labs["one"].ask(
                lambda: AccessKey.objects.filter(id=ana.row.id).update(revoked_at=datetime.now(UTC))
            )
            assert await ended(call) == (DENIED, "this key was revoked")
