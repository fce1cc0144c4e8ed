"""Pages of join tokens: what came in by each, what to know of them, and what to give to a machine."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from apps.access.check import allowed
from apps.dashboard.machines import row_of
from apps.dashboard.page import PageRequest, page, show, start_of
from apps.dashboard.people import expiry, made_once, tabs
from apps.machines import actions, queries, states
from apps.machines.joinpage import join_arguments
from apps.machines.models import JoinToken, Link
from apps.reconcile.conditions import Shown

ROWS = 50

PENDING_SHOWN = 20

REFUSED = Shown("bad", "Refused", "Its token is over.")

KEEP = "keep"
"""The choice of an expiry that changes nothing."""


@dataclass(frozen=True)
class Row:
    """A join token as a list or its page shows it."""

    token: JoinToken
    state: Shown
    warnings: list[str]


def _row(token: Any) -> Row:
    """A row of `queries.join_tokens()` as pages show it."""
    now = timezone.now()
    return Row(token, states.token_state(token, now), states.token_warnings(token, token.pending, now))


def _token(token_id: str) -> Any:
    found = queries.join_tokens().filter(id=token_id).first()
    if found is None:
        raise Http404("no such join token")
    return found


@page("join-token.list")
def join_tokens(request: PageRequest) -> HttpResponse:
    """The join tokens, the default first, those that ended last."""
    rows = [_row(token) for token in queries.join_tokens().order_by("-is_default", "name")]
    context = {
        "rows": [row for row in rows if row.state.shape != "off"] + [row for row in rows if row.state.shape == "off"],
        "tabs": tabs(request),
        "can_create": allowed(request.actor, "join-token.create"),
        "once": uuid4().hex,
    }
    if request.headers.get("HX-Request"):
        context["organisation"] = request.organisation
        return render(request, "people/join_token_list.html", context)
    return show(request, "people/join_tokens.html", context, "members", "join-token,link")


@page("join-token.list")
def join_token(request: PageRequest, token_id: str) -> HttpResponse:
    """One join token: what to give to a machine, and what came in by it."""
    token, start = _token(token_id), start_of(request)
    seen = queries.visible(request.actor, queries.machines())
    machines = seen.filter(link__join_token=token).order_by("-created_at", "uuid")
    window = list(machines[start : start + ROWS])
    more = start + len(window)
    context: dict[str, Any] = {
        "machines": [row_of(machine) for machine in window],
        "more": urlencode({"from": more}) if more < token.machines else "",
        "row": _row(token),
        "token": token,
        "organisation": request.organisation,
    }
    if start:
        return render(request, "people/join_token_machines.html", context)
    tunnel = request.GET.get("tunnel") == "on"
    pending = Link.objects.filter(join_token=token, state=Link.PENDING).order_by("-id")[:PENDING_SHOWN]
    over = context["row"].state.shape == "off"
    context |= {
        "tunnel": tunnel,
        "join": join_arguments("●●●●●●", tunnel),
        "can_reveal": allowed(request.actor, "join-token.reveal"),
        "can_change": allowed(request.actor, "join-token.update"),
        "pending": [(link, REFUSED if over else states.link_state(link)) for link in pending],
    }
    if request.headers.get("HX-Request"):
        return render(request, "people/join_token_uses.html", context)
    return show(request, "people/join_token.html", context, "members", "join-token,link")


@page("join-token.create")
def join_token_create(request: PageRequest) -> HttpResponse:
    """Make a join token; then on to what to do with it."""
    slug = request.organisation.slug
    if request.method != "POST":
        return redirect("join-tokens", slug)

    def make() -> str:
        ends = expiry(request.POST.get("days", ""))
        return str(actions.create_join_token(request.actor, request.POST.get("name", ""), ends).row.id)

    try:
        return redirect("join-token", slug, made_once(request, make))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("join-tokens", slug)


@page("join-token.update")
def join_token_edit(request: PageRequest, token_id: str) -> HttpResponse:
    """Rename a join token, or move its end."""
    token = _token(token_id)
    if request.method == "POST":
        days = request.POST.get("days", KEEP)
        try:
            ends = None if days == KEEP else expiry(days)
            with transaction.atomic():
                actions.update_join_token(
                    request.actor, token, request.POST.get("name", token.name), ends, days != KEEP and ends is None
                )
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
    return redirect("join-token", request.organisation.slug, token_id)


@page("join-token.update")
def join_token_change(request: PageRequest, token_id: str, act: str) -> HttpResponse:
    """Revoke a join token, or make it the default."""
    token = _token(token_id)
    if request.method == "POST":
        try:
            with transaction.atomic():
                if act == "revoke":
                    actions.revoke_join_token(request.actor, token)
                else:
                    actions.update_join_token(request.actor, token, make_default=True)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
    return redirect("join-token", request.organisation.slug, token_id)
