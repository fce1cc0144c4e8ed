"""Wanting an image: the schematic is stored, and registered at the factory in its own time."""

from apps.images.models import Schematic
from apps.reconcile.outbox import hint
from apps.tenants.scope import current_tenant
from talos import schematic as schematics


def want(schematic: schematics.Schematic) -> Schematic:
    """The stored row of a schematic, made if it is new."""
    row, made = Schematic.objects.get_or_create(
        schematic_id=schematic.id(),
        defaults={"canonical": schematic.canonical(), "organisation_id": current_tenant()},
    )
    if made:
        hint("schematic", row.id, row.organisation_id)
    return row
