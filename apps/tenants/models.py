"""Organisations, and the base of every row that belongs to one."""

from typing import Any, ClassVar, Self

from django.core.validators import RegexValidator
from django.db import models

from apps.tenants.ids import uuid7
from apps.tenants.scope import current_tenant


class Organisation(models.Model):
    """A tenant: the owner of machines, clusters, tokens and memberships."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(
        max_length=40,
        unique=True,
        validators=[
            RegexValidator(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "Use lower-case letters, digits and inner hyphens.")
        ],
    )
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)
    second_factor_required = models.BooleanField(default=False)  # of members in browsers; credentials go on without

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class TenantQuerySet(models.QuerySet[Any]):
    """Rows of the organisation in scope; see `ScopedManager`."""


class ScopedManager(models.Manager[Any]):
    """Every query is narrowed to the organisation in scope, and new rows are given to it.

    Raises `NoTenant` outside `tenant_scope`. Row-level security is the second lock behind this first one.
    """

    def get_queryset(self) -> TenantQuerySet:
        return TenantQuerySet(self.model, using=self._db).filter(organisation_id=current_tenant())


class TenantModel(models.Model):
    """A row of one organisation. `rls.py` puts a row-level security policy on the table of each subclass."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", editable=False)

    objects: ClassVar[ScopedManager] = ScopedManager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.organisation_id is None:
            self.organisation_id = current_tenant()
        super().save(*args, **kwargs)

    @classmethod
    def new(cls, **fields: Any) -> Self:
        """Create and store a row in the organisation in scope."""
        row = cls(organisation_id=current_tenant(), **fields)
        row.save(force_insert=True)
        return row
