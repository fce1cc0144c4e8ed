"""The schematic reconciler: registers at the Image Factory what it does not know yet."""

from uuid import UUID

from django.utils import timezone

from apps.images import factory
from apps.images.models import Schematic
from apps.reconcile.outbox import changed
from apps.reconcile.registry import Outcome
from apps.tenants.scope import tenant_scope

AGAIN = 30.0
"""Seconds until a factory that did not answer is asked again."""


def reconcile_schematic(organisation_id: UUID, object_id: UUID) -> Outcome:
    """Register one schematic. What is in the way is stored for those who wait for it."""
    with tenant_scope(organisation_id):
        row = Schematic.objects.filter(id=object_id, registered_at=None).first()
    if row is None:
        return Outcome()
    try:
        factory.register(row.canonical, row.schematic_id)
        row.registered_at, row.last_error = timezone.now(), ""
    except factory.FactoryError as error:
        row.last_error = str(error)
    row.last_tried_at = timezone.now()
    with tenant_scope(organisation_id):
        row.save(update_fields=["registered_at", "last_error", "last_tried_at"])
        changed("schematic", row.id, organisation_id)
    return Outcome(again_in=None if row.registered_at else AGAIN)
