"""REST: the audit."""

from typing import ClassVar

import django_filters
from django.db.models import QuerySet
from rest_framework import mixins, serializers

from apps.api.base import TenantViewSet
from apps.api.filters import TenantFilterSet
from apps.api.routing import TenantRouter
from apps.audit.models import AuditRecord

router = TenantRouter()


class AuditSerializer(serializers.ModelSerializer[AuditRecord]):
    class Meta:
        model = AuditRecord
        exclude = ["organisation"]


class AuditFilter(TenantFilterSet):
    since = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="gte")
    until = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = AuditRecord
        fields = ["verb", "object_kind", "object_id", "object_name", "actor_kind", "actor_id", "actor_name", "outcome"]


@router.resource("audit")
class AuditViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Who did what, to what, when. Written once, in the transaction of the change; nobody can change it."""

    kind = "audit"
    verbs: ClassVar[dict[str, str]] = {"list": "audit.list", "retrieve": "audit.list"}
    serializer_class = AuditSerializer
    filterset_class = AuditFilter
    sorts: ClassVar[dict[str, tuple[str, ...]]] = {"at": ("at",)}

    def get_queryset(self) -> QuerySet[AuditRecord]:
        return AuditRecord.objects.all()

    def search(self, rows: QuerySet[AuditRecord], text: str) -> QuerySet[AuditRecord]:
        return rows.filter(object_name__icontains=text) | rows.filter(actor_name__icontains=text)
