"""Filters of the audit, the same for its page, REST and the command."""

from datetime import datetime
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.api.filters import TenantFilterSet
from apps.audit.models import AuditRecord
from apps.audit.queries import moment


class MomentField(forms.CharField):
    """A point in time: RFC 3339, a day, or how long ago (`90s`, `15m`, `24h`, `7d`, `2w`)."""

    def clean(self, value: Any) -> datetime | None:
        """Raises ValidationError with what would be right."""
        text = super().clean(value)
        if not text:
            return None
        try:
            return moment(text, timezone.now())
        except ValueError as error:
            raise ValidationError(str(error)) from None


class MomentFilter(django_filters.Filter):
    field_class = MomentField


class AuditFilter(TenantFilterSet):
    """Filters of the audit. Empty ones do not count."""

    since = MomentFilter(field_name="at", lookup_expr="gte")
    until = MomentFilter(field_name="at", lookup_expr="lt")
    verb = django_filters.CharFilter(method="by_verb", label="a verb, or all of a kind: `cluster.*`")
    actor = django_filters.CharFilter(field_name="actor_name", lookup_expr="icontains", label="part of a name")
    object = django_filters.CharFilter(method="by_object", label="part of a name, or an id")
    after = django_filters.UUIDFilter(field_name="id", lookup_expr="gt", label="records newer than this one")
    before = django_filters.UUIDFilter(field_name="id", lookup_expr="lt", label="records older than this one")

    class Meta:
        model = AuditRecord
        fields = [
            "object_kind", "object_id", "object_name", "actor_kind", "actor_id", "actor_name", "outcome", "request_id",
        ]  # fmt: skip

    def by_verb(self, rows: QuerySet[AuditRecord], name: str, value: str) -> QuerySet[AuditRecord]:
        """A verb, or a kind with `.*` behind it."""
        kind = value.removesuffix(".*")
        return rows.filter(verb__startswith=f"{kind}.") if kind != value else rows.filter(verb=value)

    def by_object(self, rows: QuerySet[AuditRecord], name: str, value: str) -> QuerySet[AuditRecord]:
        """Part of an object's name, or its id."""
        return rows.filter(Q(object_name__icontains=value) | Q(object_id=value))
