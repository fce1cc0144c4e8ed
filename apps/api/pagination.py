"""Lists a page at a time, by position instead of count: stable while rows come and go, and as fast on the last page."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import FieldError, ObjectDoesNotExist
from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DataError
from django.db.models import F, Q
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from apps.tenants.windows import window

DEFAULT_LIMIT, HIGHEST_LIMIT = 50, 500

_INCOMPARABLE = (TypeError, ValueError, DjangoValidationError, FieldError, DataError)
"""What comparing a column with a value of a forged cursor raises."""


class KeysetPagination(BasePagination):
    """`?limit=`, `?sort=` (a name of the view's `sorts`, `-` turns it round), `?cursor=` (`next` of the last page)."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """One page of the list. Raises ValidationError naming the parameter."""
        sort, columns, descending = _sort(request.query_params.get("sort", ""), view.sorts)
        limit = _limit(request.query_params.get("limit", str(DEFAULT_LIMIT)))
        rows = queryset.order_by(
            *(F(c).desc(nulls_last=True) if descending else F(c).asc(nulls_last=True) for c in columns)
        )
        cursor = request.query_params.get("cursor")
        values = _decode(cursor, sort, len(columns)) if cursor else []
        try:
            page = window(rows.filter(_after(columns, values, descending)) if cursor else rows, 0, limit + 1)
        except _INCOMPARABLE:
            if not cursor:
                raise
            raise _foreign() from None
        self.next = _encode(sort, [_value(page[limit - 1], c) for c in columns]) if len(page) > limit else None
        return page[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"items": data, "next": self.next})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": schema,
                "next": {"type": ["string", "null"], "description": "`cursor` of the next page; null on the last."},
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        def parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
            return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}

        names = [sign + name for name in view.sorts for sign in ("", "-")]
        return [
            parameter("cursor", "`next` of the page before.", {"type": "string"}),
            parameter("limit", "Rows a page.", {"type": "integer", "minimum": 1, "maximum": HIGHEST_LIMIT}),
            parameter("sort", "Order; `-` turns it round.", {"type": "string", "enum": names}),
        ]


def _sort(given: str, sorts: dict[str, tuple[str, ...]]) -> tuple[str, list[str], bool]:
    name = given.removeprefix("-") or next(iter(sorts))
    if name not in sorts:
        raise ValidationError({"sort": f"{name!r} is not a sort of this list; choose one of {', '.join(sorts)}"})
    return given, [*sorts[name], "id"], given.startswith("-")


def _limit(given: str) -> int:
    if not given.isdecimal() or len(given) > 9 or not 1 <= int(given) <= HIGHEST_LIMIT:
        raise ValidationError({"limit": f"{given!r} is not a number from 1 to {HIGHEST_LIMIT}"})
    return int(given)


def _after(columns: Sequence[str], values: Sequence[Any], descending: bool) -> Q:
    """Rows behind the one with these values; empty values come last either way."""
    behind, same = Q(pk__in=[]), Q()
    for column, value in zip(columns, values, strict=True):
        if value is not None:
            further = Q(**{f"{column}__{'lt' if descending else 'gt'}": value}) | Q(**{f"{column}__isnull": True})
            behind |= same & further
        same &= Q(**{column: value}) if value is not None else Q(**{f"{column}__isnull": True})
    return behind


def _value(row: Any, column: str) -> Any:
    for part in column.split("__"):
        try:
            row = getattr(row, part)
        except ObjectDoesNotExist:
            return None
        if row is None:
            return None
    return row


def _encode(sort: str, values: list[Any]) -> str:
    text = json.dumps([sort, *values], cls=_Exact, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str, sort: str, count: int) -> list[Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        found = None
    if not isinstance(found, list) or len(found) != count + 1 or found[0] != sort:
        raise _foreign()
    return found[1:]


def _foreign() -> ValidationError:
    return ValidationError({"cursor": "this cursor is not of this list and sort; begin again without one"})


class _Exact(DjangoJSONEncoder):
    """Times with all their microseconds, so that a cursor neither skips nor repeats."""

    def default(self, o: Any) -> Any:
        return o.isoformat() if hasattr(o, "isoformat") else super().default(o)
