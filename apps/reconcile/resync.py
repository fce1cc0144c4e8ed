"""Looking at everything now and then, so that nothing depends on a hint that was never given."""

from uuid import UUID

from django.db import connection

from apps.reconcile.registry import OBJECTS
from apps.tenants import lookups
from apps.tenants.scope import tenant_scope

RESYNC_SECONDS = 600.0


def resync() -> None:
    """Put every registered object of every organisation into the outbox, due evenly over `RESYNC_SECONDS`.

    Objects that are there already keep their due time.
    """
    for organisation_id in lookups.organisations():
        for kind, list_ids in OBJECTS.items():
            with tenant_scope(organisation_id):
                _hint_all(kind, organisation_id, list(list_ids()))


def _hint_all(kind: str, organisation_id: UUID, ids: list[UUID]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO reconcile_outbox (kind, object_id, organisation_id, version, due_at, attempts, last_error)
            SELECT %s, id, %s, 1, statement_timestamp() + make_interval(secs => %s * (n - 1) / %s), 0, ''
            FROM unnest(%s::uuid[]) WITH ORDINALITY AS known(id, n) ON CONFLICT (kind, object_id) DO NOTHING
            """,
            [kind, organisation_id, RESYNC_SECONDS, max(len(ids), 1), ids],
        )
