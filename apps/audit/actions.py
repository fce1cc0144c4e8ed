"""Writing the audit."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from apps.access.actor import Actor
from apps.audit.models import AuditRecord
from apps.reconcile.outbox import changed


@dataclass(frozen=True)
class Entry:
    """One row to be. `details` are JSON values and never secrets."""

    actor: Actor
    verb: str
    object_kind: str
    object_id: str = ""
    object_name: str = ""
    outcome: str = "done"
    details: dict[str, Any] = field(default_factory=dict)


def record(
    actor: Actor,
    verb: str,
    object_kind: str,
    object_id: object = "",
    object_name: str = "",
    outcome: str = "done",
    **details: Any,
) -> None:
    """Add one audit row in the transaction at hand. `details` are JSON values and never secrets."""
    record_all([Entry(actor, verb, object_kind, str(object_id), object_name, outcome, details)])


def record_all(entries: Iterable[Entry]) -> None:
    """Add audit rows of the organisation in scope, in this order, in the transaction at hand."""
    rows = [
        AuditRecord(
            organisation_id=entry.actor.organisation_id,
            actor_kind=entry.actor.kind,
            actor_id=entry.actor.id,
            actor_name=entry.actor.name,
            verb=entry.verb,
            object_kind=entry.object_kind,
            object_id=entry.object_id,
            object_name=entry.object_name,
            outcome=entry.outcome,
            request_id=entry.actor.request_id,
            source=entry.actor.source,
            details=entry.details,
        )
        for entry in entries
    ]
    AuditRecord.objects.bulk_create(rows)
    if rows:
        changed("audit", rows[-1].id, rows[-1].organisation_id)
