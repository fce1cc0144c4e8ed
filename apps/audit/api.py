"""REST: the audit."""

from typing import ClassVar

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError

from apps.api.base import TenantRequest, TenantViewSet
from apps.api.routing import TenantRouter
from apps.audit import files, queries
from apps.audit.filters import AuditFilter
from apps.audit.models import AuditRecord

router = TenantRouter()


class AuditSerializer(serializers.ModelSerializer[AuditRecord]):
    class Meta:
        model = AuditRecord
        exclude = ["organisation"]


@router.resource("audit")
class AuditViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Who did what, to what, when. Written once, in the transaction of the change; nobody can change it."""

    kind = "audit"
    verbs: ClassVar[dict[str, str]] = {"list": "audit.list", "retrieve": "audit.list", "export": "audit.export"}
    serializer_class = AuditSerializer
    filterset_class = AuditFilter
    sorts: ClassVar[dict[str, tuple[str, ...]]] = {"at": ("at",)}

    def get_queryset(self) -> QuerySet[AuditRecord]:
        return AuditRecord.objects.all()

    def search(self, rows: QuerySet[AuditRecord], text: str) -> QuerySet[AuditRecord]:
        return queries.search(rows, text)

    @extend_schema(
        request=None,
        parameters=[OpenApiParameter("as", str, enum=list(files.FORMS), description="Form of the file [csv].")],
        responses={(200, "text/csv"): OpenApiTypes.STR, (200, "application/jsonl"): OpenApiTypes.STR},
    )
    @action(detail=False, methods=["get"], pagination_class=None)
    def export(self, request: TenantRequest, slug: str) -> HttpResponseBase:
        """The records that the list's filters leave, as a file: CSV, or one JSON object a line. Audited."""
        form = request.query_params.get("as", "csv")
        if form not in files.FORMS:
            raise ValidationError({"as": f"{form!r} is no form of the file; choose one of {', '.join(files.FORMS)}"})
        given = {name: str(value) for name, value in request.query_params.items() if name != "as"}
        return files.download(request.actor, self.filter_queryset(self.get_queryset()), form, given)
