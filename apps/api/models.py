"""Answers already given, for callers who repeat a request because they did not hear the first."""

from django.db import models

from apps.tenants.models import TenantModel


class IdempotentAnswer(TenantModel):
    """The answer to a POST with an Idempotency-Key. Sealed, since an answer may show a new credential."""

    actor_id = models.CharField(max_length=64)
    key = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64)  # of method, path and body
    status = models.IntegerField(default=0)
    sealed = models.BinaryField(default=b"")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "actor_id", "key"], name="idempotency_key_once")]
        indexes = [models.Index(fields=["organisation", "created_at"])]
