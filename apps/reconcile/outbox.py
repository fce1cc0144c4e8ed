"""Telling others after commit, for certain: reconcilers through the outbox, watchers through NOTIFY."""

import json
from datetime import datetime
from uuid import UUID

from django.db import connection

WAKE_CHANNEL = "omni_outbox"
CHANGES_CHANNEL = "omni_changes"


def hint(kind: str, object_id: UUID, organisation_id: UUID, due_at: datetime | None = None) -> None:
    """Ask for a look at one object, in the transaction of the change that makes it worth one.

    Hints for the same object fold into one row. `due_at` defaults to now, by the database's clock as all that is due;
    an earlier due time wins.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO reconcile_outbox (kind, object_id, organisation_id, version, due_at, attempts, last_error)
            VALUES (%s, %s, %s, 1, coalesce(%s, clock_timestamp()), 0, '')
            ON CONFLICT (kind, object_id) DO UPDATE
            SET version = reconcile_outbox.version + 1, due_at = least(reconcile_outbox.due_at, excluded.due_at)
            """,
            [kind, object_id, organisation_id, due_at],
        )
        cursor.execute("SELECT pg_notify(%s, '')", [WAKE_CHANNEL])


def changed(kind: str, object_id: UUID, organisation_id: UUID) -> None:
    """Tell watchers (websocket, dashboard) that an object changed; delivered when the transaction commits."""
    payload = json.dumps({"organisation": str(organisation_id), "kind": kind, "id": str(object_id)})
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANGES_CHANNEL, payload])
