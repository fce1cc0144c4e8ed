"""Filters of lists, for models whose manager needs an organisation in scope even to describe itself."""

from typing import Any

from django.db.models import Field
from django_filters.rest_framework import DjangoFilterBackend, FilterSet


class TenantFilterSet(FilterSet):
    """A filter set of a tenant's model. Fields of `Meta` are compared exactly; declare others."""

    @classmethod
    def filter_for_field(cls, field: "Field[Any, Any]", field_name: str, lookup_expr: str | None = None) -> Any:
        filter_class, options = cls.filter_for_lookup(field, "exact")
        return filter_class(field_name=field_name, lookup_expr="exact", **options)


class TenantFilterBackend(DjangoFilterBackend):
    """`filterset_class` or `filterset_fields` of a view."""

    filterset_base = TenantFilterSet
