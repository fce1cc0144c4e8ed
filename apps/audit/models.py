"""Who did what, to what, when and with what outcome. Rows are written once, in the transaction of the change."""

from django.db import models

from apps.tenants.models import TenantModel


class AuditRecord(TenantModel):
    """One act. Names are kept as text beside the ids, so history outlives the person and the object."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor_kind = models.CharField(max_length=20)  # user, token, key, service-account, system, machine
    actor_id = models.CharField(max_length=64, default="")
    actor_name = models.CharField(max_length=254)
    verb = models.CharField(max_length=60)  # "cluster.create": kind, dot, act
    object_kind = models.CharField(max_length=40)
    object_id = models.CharField(max_length=64, default="")
    object_name = models.CharField(max_length=254, default="")
    outcome = models.CharField(max_length=20, default="done")  # done, failed, refused; asked: before a proxied call
    request_id = models.CharField(max_length=64, default="")
    source = models.CharField(max_length=64, default="")  # address the request came from
    details = models.JSONField(default=dict)  # never secrets

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["organisation", "-at"])]
