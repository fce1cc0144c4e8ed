"""The outbox: which objects deserve a look. It holds hints, never facts, so a lost row is found again by a sweep."""

from django.db import models


class Outbox(models.Model):
    """One row per object that a reconciler should look at.

    Without row-level security: it holds ids only. `version` grows with every hint, and a worker deletes the row only
    if the version it claimed is still there, so a hint that arrives in mid-work is not lost. `lease` names the worker
    session that runs the object now (`lease.py`); it is worth nothing once that session has ended.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=40)
    object_id = models.UUIDField()
    organisation_id = models.UUIDField()
    version = models.BigIntegerField(default=1)
    due_at = models.DateTimeField()
    lease = models.BigIntegerField(null=True)
    attempts = models.IntegerField(default=0)
    last_error = models.TextField(default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "object_id"], name="outbox_one_row_per_object")]
        indexes = [models.Index(fields=["due_at"])]
