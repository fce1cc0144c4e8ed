"""Which gateway holds a link: the one at which its machine shook hands last. What the database says of it.

Gateways agree through these rows alone. Each change is conditional on what is stored when it is made, so that two
gateways never both hold a link, and is told to all of them.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from django.db import connection

from apps.machines.models import Link
from apps.reconcile.outbox import CHANGES_CHANNEL
from apps.tenants import lookups
from apps.tenants.scope import tenant_scope

LINK_CHANGED = "link-row"
"""Kind of the change that tells gateways to read a link again; its `by` is the gateway that knows already."""

Ids = Iterable[tuple[UUID, UUID]]
"""(organisation, link), each."""


@dataclass(frozen=True)
class Handshake:
    """A machine completed a handshake with the gateway that says so, `age` seconds ago."""

    organisation_id: UUID
    link_id: UUID
    age: float


def tell(link_id: UUID, organisation_id: UUID, by: str) -> None:
    """Let gateways look at a link once this transaction commits; `by` need not, it knows."""
    change = {"organisation": str(organisation_id), "kind": LINK_CHANGED, "id": str(link_id), "by": by}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANGES_CHANNEL, json.dumps(change)])


def begin(gateway: str) -> None:
    """A gateway starts: it hears none of the machines yet that it held before."""
    for organisation_id in lookups.organisations():
        with tenant_scope(organisation_id):
            Link.objects.filter(gateway=gateway, alive=True).exclude(transport=Link.AGENT).update(alive=False)


def claim(gateway: str, handshakes: Sequence[Handshake]) -> list[Link]:
    """Hold these links, except those whose machine shook hands elsewhere later; the rows as they are then.

    Rows that are gone are left out. Times are compared by the database's clock: those of hosts may differ.
    """
    rows: list[Link] = []
    for organisation_id, mine in _by_organisation(handshakes).items():
        taken = []
        with tenant_scope(organisation_id):
            now = _now()
            at = {handshake.link_id: now - timedelta(seconds=handshake.age) for handshake in mine}
            for link in Link.objects.select_for_update().filter(id__in=at).order_by("id"):
                rows.append(link)
                held = link.gateway == gateway
                if not held and link.alive and link.handshake_at is not None and link.handshake_at > at[link.id]:
                    continue
                link.gateway, link.alive, link.handshake_at = gateway, True, at[link.id]
                taken.append(link)
                if not held:
                    tell(link.id, organisation_id, gateway)
            Link.objects.bulk_update(taken, ["gateway", "alive", "handshake_at"], batch_size=500)
    return rows


def fell_silent(gateway: str, links: Ids) -> None:
    """These machines are not heard any more at the gateway that still holds their links."""
    for organisation_id, ids in _grouped(links).items():
        with tenant_scope(organisation_id):
            Link.objects.filter(id__in=ids, gateway=gateway).update(alive=False)


def inherit(gateway: str, links: Ids, gone: str) -> list[Link]:
    """Hold those of the links that `gone`, a gateway that does not run any more, still holds; their rows."""
    rows: list[Link] = []
    for organisation_id, ids in _grouped(links).items():
        with tenant_scope(organisation_id):
            for link in Link.objects.select_for_update().filter(id__in=ids, gateway=gone).order_by("id"):
                link.gateway, link.alive = gateway, False
                link.save(update_fields=["gateway", "alive"])
                tell(link.id, organisation_id, gateway)
                rows.append(link)
    return rows


def stored(links: Ids | None = None) -> list[Link]:
    """The rows of these links, or of all of every organisation."""
    rows: list[Link] = []
    wanted = dict.fromkeys(lookups.organisations()) if links is None else _grouped(links)
    for organisation_id, ids in wanted.items():
        with tenant_scope(organisation_id):
            chosen = Link.objects.defer("sealed_unique_token")
            rows += chosen if ids is None else chosen.filter(id__in=ids)
    return rows


def _now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    assert row is not None
    return cast(datetime, row[0])


def _grouped(links: Ids) -> dict[UUID, list[UUID]]:
    grouped: defaultdict[UUID, list[UUID]] = defaultdict(list)
    for organisation_id, link_id in links:
        grouped[organisation_id].append(link_id)
    return grouped


def _by_organisation(handshakes: Iterable[Handshake]) -> dict[UUID, list[Handshake]]:
    grouped: defaultdict[UUID, list[Handshake]] = defaultdict(list)
    for handshake in handshakes:
        grouped[handshake.organisation_id].append(handshake)
    return grouped
