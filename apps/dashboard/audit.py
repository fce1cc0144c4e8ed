"""The audit page: who did what, filtered, with new records as they are written, and as a file."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from apps.access.check import allowed
from apps.access.verbs import VERBS
from apps.audit import files, queries
from apps.audit.filters import AuditFilter
from apps.audit.models import AuditRecord
from apps.dashboard.page import PageRequest, page, show
from apps.reconcile.conditions import Shown, State

ROWS = 50

COUNTED = 10_000
"""Records that are counted; more are said to be more."""

FILTERS = {
    "q": "words", "actor": "who", "verb": "what", "object": "on", "object_kind": "kind", "outcome": "result",
    "since": "since", "until": "until", "request_id": "request",
}  # fmt: skip
"""Filters of the page in the address, and what a chip calls them."""

SPANS = (("1h", "Hour"), ("24h", "Day"), ("7d", "Week"), ("", "All"))

OUTCOMES: dict[str, tuple[State, str]] = {
    "done": ("ok", "Done"),
    "failed": ("bad", "Failed"),
    "refused": ("warn", "Refused"),
    "asked": ("work", "Asked"),
}


@dataclass(frozen=True)
class Row:
    """A record as the list shows it. `page` is where its object is, empty where it has no page."""

    record: AuditRecord
    outcome: Shown
    page: str


@page("audit.list")
def audit_list(request: PageRequest) -> HttpResponse:
    """The records, the newest first; further ones (`?before=`) as one scrolls."""
    given, rows, error = _asked(request)
    window = list(rows.order_by("-id")[: ROWS + 1])
    shown, more = window[:ROWS], len(window) > ROWS
    context: dict[str, Any] = {
        "rows": [_row(record, request.organisation.slug) for record in shown],
        "more": urlencode({**given, "before": shown[-1].id}) if more else "",
    }
    if "before" in request.GET:
        return render(request, "audit/rows.html", {**context, "organisation": request.organisation})
    total = rows[: COUNTED + 1].count() if more else len(shown)
    context |= {
        "given": given,
        "error": error,
        "total": total,
        "counted": COUNTED,
        "newest": shown[0].id if shown else "",
        "filters": urlencode(given),
        "chips": [(FILTERS[name], value, _without(given, name)) for name, value in given.items() if name != "q"],
        "spans": [
            (span, word, "?" + urlencode({**_rest(given, "since"), **({"since": span} if span else {})}))
            for span, word in SPANS
        ],
        "span": given.get("since", ""),
        "verbs": list(VERBS),
        "drops": [] if shown or error else _drops(request, given),
        "can_export": allowed(request.actor, "audit.export"),
    }
    return show(request, "audit/list.html", context, "audit", "audit")


@page("audit.list")
def audit_new(request: PageRequest) -> HttpResponse:
    """How many records came after the newest shown (`?after=`), for a live swap."""
    given, rows, _ = _asked(request)
    number = rows[:COUNTED].count()
    context = {"number": number, "src": request.get_full_path(), "given": given}
    return render(request, "audit/new.html", context)


@page("audit.export")
def audit_export(request: PageRequest) -> HttpResponseBase:
    """The records of these filters as a file, `?as=csv` or `json`; audited."""
    given, rows, error = _asked(request)
    if error:  # a file of everything is not what was asked for
        return HttpResponse(error, status=400, content_type="text/plain; charset=utf-8")
    form = request.GET.get("as", "csv")
    return files.download(request.actor, rows, form if form in files.FORMS else "csv", given)


def _asked(request: PageRequest) -> tuple[dict[str, str], "QuerySet[AuditRecord]", str]:
    """The filters in the address that say something, the records they leave, and what is wrong with them."""
    given = {name: request.GET[name].strip() for name in FILTERS if request.GET.get(name, "").strip()}
    every = AuditRecord.objects.all()
    chosen = AuditFilter(request.GET, queryset=every)
    if not chosen.is_valid():
        return given, every, " ".join(message for errors in chosen.errors.values() for message in errors)
    return given, queries.search(chosen.qs, given.get("q", "")), ""


def _rest(given: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in given.items() if key != name}


def _without(given: dict[str, str], name: str) -> str:
    return "?" + urlencode(_rest(given, name))


def _drops(request: PageRequest, given: dict[str, str]) -> list[tuple[str, str, int, str]]:
    """For each filter: its name and value, how many records there would be without it, and their address."""
    found = []
    for name, value in given.items():
        left = _rest(given, name)
        rows = queries.search(AuditFilter(left, queryset=AuditRecord.objects.all()).qs, left.get("q", ""))
        found.append((FILTERS[name], value, rows[: COUNTED + 1].count(), _without(given, name)))
    return [drop for drop in found if drop[2]]


def _row(record: AuditRecord, slug: str) -> Row:
    shape, word = OUTCOMES.get(record.outcome, ("unknown", record.outcome.capitalize()))
    return Row(record, Shown(shape, word, ""), _page_of(record, slug))


def _page_of(record: AuditRecord, slug: str) -> str:
    if record.object_kind == "machine" and len(record.object_name) == 36:
        return reverse("machine", args=[slug, record.object_name])
    if record.object_kind == "cluster" and record.object_name:
        return reverse("cluster", args=[slug, record.object_name])
    if record.object_kind == "join-token" and record.object_id:
        return reverse("join-token", args=[slug, record.object_id])
    return ""
