"""Image schematics: computed here, registered at the Image Factory when it answers."""

from django.db import models

from apps.tenants.models import TenantModel


class Schematic(TenantModel):
    """One schematic of an organisation. `schematic_id` is the SHA-256 of `canonical`."""

    schematic_id = models.CharField(max_length=64)
    canonical = models.TextField()
    registered_at = models.DateTimeField(null=True)
    last_error = models.TextField(default="")
    last_tried_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "schematic_id"], name="schematic_once")]
