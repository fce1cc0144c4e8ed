"""What a machine told of itself as pages show it: rows of its events and of its kernel log."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from apps.machines import history
from apps.machines.history import EVENT_KINDS, EventFilter, LogFilter, NumberedLine
from apps.machines.models import Machine, MachineEvent

LINES = 500
"""Lines that a page, or a part of one, begins with; older ones come as one scrolls up."""

EVENTS = 300
"""Events that a page shows: as many as are kept."""

SHORT_LINES, SHORT_EVENTS = 200, 40
"""What a machine's own page shows of both."""

LINE_SHOWN, PAYLOAD_SHOWN = 2000, 4000
"""Characters of a line, and of an event's details, that pages show; downloads and REST have all."""

FAILED = ("ConfigLoadErrorEvent", "ConfigValidationErrorEvent")
"""Kinds of events that only say that something failed."""


@dataclass(frozen=True)
class LineRow:
    """A line as a page shows it."""

    time: str
    full_time: str
    level: str
    letter: str
    facility: str
    text: str
    more: int
    boot: bool


@dataclass(frozen=True)
class EventRow:
    """An event as a page shows it."""

    at: datetime
    kind: str
    word: str
    summary: str
    failed: bool
    details: str


def line_rows(lines: Iterable[NumberedLine]) -> list[LineRow]:
    """Lines for the page: today's with their time of day, others with their date too."""
    today = timezone.now().date().isoformat()
    return [_line_row(item, today) for item in lines]


def _line_row(item: NumberedLine, today: str) -> LineRow:
    line = item.line
    time = line.at[11:23] if line.at.startswith(today) else f"{line.at[5:10]} {line.at[11:19]}".strip()
    more = max(0, len(line.text) - LINE_SHOWN)
    letter = line.level[:1].upper() or "·"
    return LineRow(time, line.at, line.level, letter, line.facility, line.text[:LINE_SHOWN], more, item.boot)


def event_rows(rows: Iterable[MachineEvent]) -> list[EventRow]:
    """Events for the page."""
    return [
        EventRow(
            at=event.at,
            kind=event.kind,
            word=EVENT_KINDS.get(event.kind, event.kind.removesuffix("Event")),
            summary=event.summary,
            failed=event.kind in FAILED or "error" in event.payload,
            details=json.dumps(event.payload, indent=2, ensure_ascii=False)[:PAYLOAD_SHOWN] if event.payload else "",
        )
        for event in rows
    ]


def log_view(machine: Machine, wanted: LogFilter, query: str, lines: int, before: int | None = None) -> dict[str, Any]:
    """The end of a log, or what comes before a line, for `machines/log_view.html`."""
    found = history.log(machine, wanted, lines, before=before)
    older = f"{query}&before={found.lines[0].number}".lstrip("&") if found.cut else ""
    return {"lines": line_rows(found.lines), "last": found.last, "older": older, "query": query}


def event_view(machine: Machine, wanted: EventFilter, query: str, limit: int) -> dict[str, Any]:
    """The newest events, for `machines/event_view.html`."""
    found = history.events(machine, wanted, limit)
    return {"events": event_rows(found), "last": str(found[0].id) if found else "", "query": query}
