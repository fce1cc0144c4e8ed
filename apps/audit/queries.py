"""Reading the audit: by words, by time, and the whole of it as lines of a file."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

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


def moment(text: str, now: datetime) -> datetime:
    """The point in time that a text means. Raises ValueError with what would be right."""
    try:
        if found := _SPAN.fullmatch(text):
            return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
        given = parse_datetime(text)
        if given is None and (day := parse_date(text)) is not None:
            given = datetime(day.year, day.month, day.day)  # noqa: DTZ001 (made aware below)
    except (ValueError, OverflowError):
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
