"""The home of an organisation: what needs a person now, what moves by itself, how the fleet is."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from apps.access.check import allowed, allowed_somewhere
from apps.audit.models import AuditRecord
from apps.dashboard import attention
from apps.dashboard.attention import Fleet
from apps.dashboard.clusters import Row, listed_clusters, row_of
from apps.dashboard.page import PageRequest, page, show
from apps.machines.models import JoinToken
from apps.reconcile.conditions import State

CLUSTERS_SHOWN = 8
LATELY_SHOWN = 6

LEGEND: tuple[tuple[str, State, str, str], ...] = (
    ("ready", "ok", "Running", "state=ready"),
    ("free", "idle", "Free", "free=yes state=free"),
    ("changing", "work", "Changing", ""),
    ("waiting", "wait", "Waiting", "state=waiting"),
    ("degraded", "warn", "Degraded", "state=degraded"),
    ("off", "off", "Not connected", "state=off"),
)
"""Parts of the fleet: key of the count, shape, word, query that lists them."""


@page("organisation.read")
def fleet_home(request: PageRequest) -> HttpResponse:
    """What needs me now; on an empty organisation, what to do first."""
    context = _context(request)
    if context["first_run"]:
        context["has_token"] = JoinToken.objects.exists()
    return show(request, "home/home.html", context, "home", "cluster,machine,link,agent,join-token,mesh,audit")


@page("organisation.read")
def fleet_now(request: PageRequest) -> HttpResponse:
    """The changing part of the home page, for a live swap."""
    return render(request, "home/now.html", {"organisation": request.organisation, **_context(request)})


@page("organisation.read")
def needs_badge(request: PageRequest) -> HttpResponse:
    """How many things need a person, as the navigation shows it, for a live swap."""
    items = attention.needs(request.actor, request.organisation.slug, timezone.now())
    return render(request, "includes/needs_badge.html", {"organisation": request.organisation, "needs": items})


def _context(request: PageRequest) -> dict[str, Any]:
    found = attention.fleet(request.actor, request.organisation.slug, timezone.now())
    audited = allowed(request.actor, "audit.list")
    return {
        "fleet": found,
        "first_run": not found.machines["all"] and not found.clusters["all"],
        "bar": [(shape, found.machines[key]) for key, shape, _, _ in LEGEND if found.machines[key]],
        "legend": [(shape, word, found.machines[key], query) for key, shape, word, query in LEGEND],
        "lost": found.machines["off"],
        "clusters": _clusters(found),
        "more_clusters": max(0, found.clusters["all"] - CLUSTERS_SHOWN),
        "lately": list(AuditRecord.objects.all()[:LATELY_SHOWN]) if audited else [],
        "can_create": allowed_somewhere(request.actor, "template.sync"),
        "can_join": allowed(request.actor, "join-token.list"),
        "now": timezone.now(),
    }


def _clusters(found: Fleet) -> list[Row]:
    """The first few clusters, the worst first."""
    names = found.worst[:CLUSTERS_SHOWN]
    rows = [row_of(cluster) for cluster in listed_clusters().filter(name__in=names)] if names else []
    return sorted(rows, key=lambda row: names.index(row.cluster.name))
