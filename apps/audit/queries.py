"""Reading the audit: filters that the page, REST and the command share, and the whole of it as a file."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from apps.api.filters import TenantFilterSet
from apps.audit.models import AuditRecord

COLUMNS = (
    "id", "at", "actor_kind", "actor_id", "actor_name", "verb", "object_kind", "object_id", "object_name", "outcome",
    "request_id", "source", "details",
)  # fmt: skip
"""Columns of an exported file, in order."""

CHUNK = 1000
"""Records that are read at a time for a file."""

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


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


def moment(text: str, now: datetime) -> datetime:
    """The point in time that a text means. Raises ValueError with what would be right."""
    if found := _SPAN.fullmatch(text):
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        given = parse_datetime(text)
        if given is None and (day := parse_date(text)) is not None:
            given = datetime(day.year, day.month, day.day)  # noqa: DTZ001 (made aware below)
    except ValueError:
        given = None
    if given is None:
        raise ValueError(f"“{text[:40]}” is no time; give 2026-11-24T02:00:00Z, 2026-11-24, or how long ago, like 24h")
    return given if timezone.is_aware(given) else timezone.make_aware(given)


def search(rows: QuerySet[AuditRecord], text: str) -> QuerySet[AuditRecord]:
    """Narrow by words: each in a name of who or what, in the verb, or the id of a request."""
    for word in text.replace("\0", "").split():
        named = Q(object_name__icontains=word) | Q(actor_name__icontains=word)
        rows = rows.filter(named | Q(verb__icontains=word) | Q(request_id=word))
    return rows


def chunks(rows: QuerySet[AuditRecord]) -> Iterator[list[AuditRecord]]:
    """The records, the newest first, some at a time: never more of them in memory than that."""
    rows = rows.order_by("-id")
    last = None
    while found := list((rows.filter(id__lt=last) if last else rows)[:CHUNK]):
        yield found
        last = found[-1].id


def as_csv(records: list[AuditRecord], heads: bool) -> str:
    """Lines of a CSV file. A cell that a spreadsheet would run as a formula gets an apostrophe in front."""
    text = io.StringIO()
    writer = csv.writer(text)
    if heads:
        writer.writerow(COLUMNS)
    for record in records:
        writer.writerow([_inert(_cell(record, column)) for column in COLUMNS])
    return text.getvalue()


def as_json_lines(records: list[AuditRecord]) -> str:
    """One JSON object a line."""
    rows = ({column: _plain(record, column) for column in COLUMNS} for record in records)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _plain(record: AuditRecord, column: str) -> Any:
    value = getattr(record, column)
    return value.isoformat() if isinstance(value, datetime) else value if column == "details" else str(value)


def _cell(record: AuditRecord, column: str) -> str:
    value = _plain(record, column)
    return (json.dumps(value, ensure_ascii=False) if value else "") if column == "details" else str(value)


def _inert(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
