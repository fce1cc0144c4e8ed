"""The look at everything that is under way: few queries, however much there is."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.identity import actors_with
from apps.accounts.models import AccessKey, User
from apps.machines.models import Machine, MachineObservation
from apps.proxies.live import TALOS, Live, Open, _refused
from apps.proxies.names import machines_now
from apps.tenants.ids import uuid7
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope


def machine(number: int) -> Machine:
    row = Machine.new(uuid=f"00000000-0000-4000-8000-{number:012d}")
    MachineObservation.new(machine=row, hostname=f"m-{number}")
    return row


def opened(keys: list[AccessKey], machines: list[Machine]) -> list[Open]:
    """A call of each key to each machine. Call it in the organisation's scope."""
    actors, seen = actors_with([key.id for key in keys]), machines_now([row.id for row in machines])

    async def make() -> list[Open]:
        live = Live(lambda _: None)
        return [
            Open(TALOS, key.id, actors[key.id], {row.id: seen[row.id]}, {}, lambda *_: "", lambda *_: None, live)  # type: ignore[arg-type]
            for key in keys
            for row in machines
        ]

    return asyncio.run(make())


def test_as_many_queries_for_many_as_for_one(organisation: Organisation, member: Callable[..., User]) -> None:
    with tenant_scope(organisation.id):
        keys = []
        for number in range(5):
            row_id, user = uuid7(), member("reader", email=f"u{number}@example.com")
            ends = datetime.now(UTC) + timedelta(hours=1)
            key = AccessKey.new(
                id=row_id, kind=AccessKey.CERTIFICATE, fingerprint=row_id.hex, name="k", user=user, role="owner",
                expires_at=ends,
            )  # fmt: skip
            keys.append(key)
        machines = [machine(number) for number in range(20)]
        one, many = opened(keys[:1], machines[:1]), opened(keys, machines)
        asked = []
        for tickets in (one, many):
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert _refused(organisation.id, tickets) == []
            asked.append(len(queries))
        assert asked[0] == asked[1]
        AccessKey.objects.filter(id=keys[0].id).update(revoked_at=datetime.now(UTC))
        Machine.objects.filter(id=machines[-1].id).delete()
        told = {(ticket.key_id, next(iter(ticket.machines))): why for ticket, why in _refused(organisation.id, many)}
        assert len(told) == 20 + 4
        assert told[keys[0].id, machines[0].id] == "this key was revoked"
        assert told[keys[1].id, machines[-1].id] == "machine m-19 is not in this organisation any more"
