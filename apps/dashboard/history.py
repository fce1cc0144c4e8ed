"""Pages of what a machine told of itself: its events and its kernel log, filtered, with their live end."""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from apps.dashboard.history_parts import EVENTS, LINES, event_view, log_view
from apps.dashboard.machines import machine_of, row_of
from apps.dashboard.page import PageRequest, page, show
from apps.machines import history
from apps.machines.history import EVENT_KINDS, FACILITIES, LEVELS, EventFilter, LogFilter
from apps.machines.models import Machine

DOWNLOAD_LIMIT = 16 << 20
"""Bytes of the largest log that is given as a file; of a larger one, its end."""

SPANS = (("", "All that is kept"), ("15m", "Last 15 min"), ("1h", "Last hour"), ("6h", "Last 6 h"),
         ("1d", "Last day"), ("7d", "Last 7 days"))  # fmt: skip


@page("machine.read")
def machine_head(request: PageRequest, uuid: str) -> HttpResponse:
    """The heading above events and log, for a live swap."""
    machine = machine_of(request, uuid)
    context = {"row": row_of(machine), "machine": machine, "observed": machine.observation}
    return render(request, "machines/head.html", {"organisation": request.organisation, **context})


@page("machine.events")
def machine_events(request: PageRequest, uuid: str) -> HttpResponse:
    """A machine's events, the newest first, and those that come."""
    machine, given = machine_of(request, uuid), request.GET.dict()
    wanted, errors, query = EventFilter(), {}, _query(given, ("q", "kind", "since"))
    try:
        wanted = EventFilter.read(given, timezone.now())
    except ValidationError as error:
        errors, query = error.message_dict, ""
    context = {
        "view": event_view(machine, wanted, query, EVENTS),
        "kinds": [("", "All kinds"), *((kind, kind.removesuffix("Event")) for kind in EVENT_KINDS)],
    }
    return _show(request, "machines/events.html", machine, given, errors, context)


@page("machine.logs")
def machine_logs(request: PageRequest, uuid: str) -> HttpResponse:
    """The end of a machine's kernel log, and the lines that come; `?before=` gives a part further up."""
    machine, given = machine_of(request, uuid), request.GET.dict()
    wanted, errors, query = LogFilter(), {}, _query(given, ("q", "level", "facility", "since"))
    try:
        wanted = LogFilter.read(given, timezone.now())
    except ValidationError as error:
        errors, query = error.message_dict, ""
    number = given.get("before", "")
    before = int(number) if number.isdecimal() and len(number) <= 12 else None
    context = {
        "view": log_view(machine, wanted, query, LINES, before),
        "levels": [("", "All levels"), *((level, f"{level.capitalize()} and graver") for level in LEVELS[1:])],
        "facilities": [("", "All sources"), *((facility, facility) for facility in FACILITIES)],
        "before": before,
        "organisation": request.organisation,
        "machine": machine,
    }
    if before is not None and request.headers.get("HX-Request"):
        return render(request, "machines/log_older.html", context)
    return _show(request, "machines/logs.html", machine, given, errors, context)


@page("machine.logs")
def machine_log_download(request: PageRequest, uuid: str) -> HttpResponse:
    """The kernel log as a file: as the machine sent it (`?raw`), or as text, with the page's filters."""
    machine = machine_of(request, uuid)
    try:
        wanted = LogFilter.read(request.GET.dict(), timezone.now())
    except ValidationError as error:
        return HttpResponse(" ".join(error.messages), status=400, content_type="text/plain")
    kept, size, raw = [], 0, "raw" in request.GET
    for line in _file_lines(machine, wanted, raw):
        size += len(line) + 1
        if size > DOWNLOAD_LIMIT:
            kept.append(b"# Older lines are left out: the file would be too large.")
            break
        kept.append(line)
    name = f"{row_of(machine).name}.{'jsonl' if raw else 'log'}"
    return HttpResponse(
        b"\n".join(reversed(kept)) + b"\n",
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{_file_name(name)}"'},
    )


def _file_lines(machine: Machine, wanted: LogFilter, raw: bool) -> Iterator[bytes]:
    """Lines of a download, the newest first."""
    for _, sent in history.backwards(machine, since=wanted.since):
        line = history.read_log_line(sent)
        if wanted.wants(line):
            yield sent if raw else f"{line.at} {line.level or '-'} {line.facility or '-'} {line.text}".encode()


def _file_name(name: str) -> str:
    """A name with nothing in it that a header or a file system minds."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-._") else "_" for c in name)[:120]


def _query(given: dict[str, str], names: Iterable[str]) -> str:
    return urlencode({name: given[name] for name in names if given.get(name)})


def _show(
    request: PageRequest,
    template: str,
    machine: Machine,
    given: dict[str, str],
    errors: dict[str, list[str]],
    context: dict[str, Any],
) -> HttpResponse:
    frame = {
        "row": row_of(machine),
        "machine": machine,
        "observed": machine.observation,
        "given": given,
        "errors": errors,
        "spans": SPANS,
        "since_known": given.get("since", "") in dict(SPANS),
        "error": " ".join(text for texts in errors.values() for text in texts),
    }
    return show(request, template, {**frame, **context}, "machines", "machine")
