"""The page of access keys: what is let in by talosctl's and kubectl's ways, and taking it back."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from apps.access.check import allowed
from apps.accounts import keys, queries, states
from apps.accounts.models import AccessKey
from apps.dashboard.page import PageRequest, headings, in_order, page, show, start_of
from apps.dashboard.people import tabs

ROWS = 50

COLUMNS = (("name", "Key"), ("", "For"), ("", "Role"), ("", "State"), ("expires", "Ends"), ("used", "Last used"),
           ("", ""))  # fmt: skip

SORTS = {
    "name": ("name", "id"),
    "created": ("created_at",),
    "expires": ("expires_at", "name"),
    "used": ("last_used_at", "name"),
}

WORDS = {
    AccessKey.PGP: "talosctl, signs each call",
    AccessKey.PLAIN: "talosctl, signs each call",
    AccessKey.CERTIFICATE: "talosctl, client certificate",
    AccessKey.KUBERNETES: "kubectl",
}


def living() -> Q:
    """Keys that can be used now."""
    return Q(revoked_at=None, expires_at__gt=timezone.now())


def rows_of(request: PageRequest, found: "QuerySet[AccessKey]") -> list[dict[str, Any]]:
    """Keys as rows show them."""
    now = timezone.now()
    return [
        {
            "key": key,
            "words": WORDS[key.kind],
            "state": states.access_key_state(key, now),
            "mine": keys.is_own(request.actor, key),
            "usable": key.revoked_at is None and key.expires_at > now,
        }
        for key in found
    ]


@page("access-key.list")
def access_keys(request: PageRequest) -> HttpResponse:
    """The usable keys, or those that ended: one's own, and everybody's for admins."""
    query, sort, start = request.GET.get("q", ""), request.GET.get("sort", "-created"), start_of(request)
    view = "ended" if request.GET.get("view") == "ended" else "living"
    rows, error = keys.access_keys(request.actor), ""
    counts = {"living": rows.filter(living()).count(), "ended": rows.exclude(living()).count()}
    try:
        rows = keys.search(rows, queries.searchable(query))
    except ValueError as problem:
        error = str(problem)
    rows = rows.filter(living()) if view == "living" else rows.exclude(living())
    total = rows.count()
    window = in_order(rows, SORTS, sort)[start : start + ROWS]
    shown = rows_of(request, window)
    more = start + len(shown)
    context = {
        "rows": shown,
        "everybodys": allowed(request.actor, "member.update"),
        "more": urlencode({"view": view, "q": query, "sort": sort, "from": more}) if more < total else "",
        "organisation": request.organisation,
    }
    if start:
        return render(request, "people/access_key_rows.html", context)
    context |= {
        "query": query,
        "sort": sort,
        "view": view,
        "views": [("living", "Usable", counts["living"]), ("ended", "Ended", counts["ended"])],
        "counts": counts,
        "error": error,
        "total": total,
        "columns": headings(COLUMNS, query, sort),
        "tabs": tabs(request),
    }
    return show(request, "people/access_keys.html", context, "members", "access-key")


def _key(request: PageRequest, key_id: str) -> AccessKey:
    found = keys.access_keys(request.actor).filter(id=key_id).first()
    if found is None:
        raise Http404("no such key, or it is somebody else's")
    return found


@page("access-key.list")
def access_key_row(request: PageRequest, key_id: str) -> HttpResponse:
    """One row of the list, for a live swap."""
    row = rows_of(request, keys.access_keys(request.actor).filter(id=_key(request, key_id).id))[0]
    context = {
        "row": row,
        "everybodys": allowed(request.actor, "member.update"),
        "organisation": request.organisation,
    }
    return render(request, "people/access_key_row.html", context)


@page("access-key.revoke")
def access_key_revoke(request: PageRequest, key_id: str) -> HttpResponse:
    """End a key at once, with what is open through it."""
    key = _key(request, key_id)
    if request.method == "POST":
        keys.revoke_access_key(request.actor, key)
        messages.success(request, f"{key.name} is revoked. What it has open ends within seconds.")
        if key.service_account is not None:
            return redirect("service-account", request.organisation.slug, key.service_account.name)
    return redirect("access-keys", request.organisation.slug)
