"""Writing the audit."""

from typing import Any

from apps.access.actor import Actor
from apps.audit.models import AuditRecord
from apps.reconcile.outbox import changed


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
    row = AuditRecord.new(
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
        verb=verb,
        object_kind=object_kind,
        object_id=str(object_id),
        object_name=object_name,
        outcome=outcome,
        request_id=actor.request_id,
        source=actor.source,
        details=details,
    )
    changed("audit", row.id, actor.organisation_id)
