"""The page on which a person lets something in: talosctl's key, `omni login`, kubectl."""

from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from apps.access.actor import Actor
from apps.access.check import Denied
from apps.accounts import grants
from apps.accounts.authentication import session_identity
from apps.accounts.identity import Place, actor_in, lacks_second_factor, new_request_id, places_of, source_of
from apps.accounts.models import GrantRequest, User
from apps.accounts.people import record_own
from apps.tenants.scope import tenant_scope

GONE = {
    grants.GRANTED: "granted.html",
    grants.USED: "granted.html",
    grants.REFUSED: "refused.html",
    grants.EXPIRED: "expired.html",
}
"""The page of a request that does not wait any more."""


@never_cache
@require_http_methods(["GET", "POST"])
def grant_page(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """What asks, from where, for how long; and the person's answer."""
    identity = session_identity(request)
    if identity is None or identity.user is None:
        return redirect(f"/accounts/login/?{urlencode({'next': request.path})}")
    wanted = GrantRequest.objects.filter(id=request_id).first()
    if wanted is None or not grants.is_for(wanted, identity.user):  # alike, or one could ask who has an account
        return render(request, "grants/nothing.html", status=404)
    state = grants.state_of(wanted)
    if state != grants.WAITING:
        return render(request, f"grants/{GONE[state]}", {"grant": wanted})
    places = [p for p in places_of(identity) if wanted.organisation_id in (None, p.organisation_id)]
    chosen = (request.POST or request.GET).get("organisation", "")
    place = next((p for p in places if p.slug == chosen), places[0] if len(places) == 1 else None)
    if request.method == "POST" and request.POST.get("answer") == "refuse":
        return _refuse(request, identity.user, wanted)
    if place is None:
        return render(request, "grants/choose.html", {"grant": wanted, "places": places})
    actor = actor_in(identity, place.organisation_id, new_request_id(), source_of(request.META))
    if actor is None:
        return redirect("mfa_index" if lacks_second_factor(identity, place) else "home")
    if request.method == "POST":
        return _grant(request, actor, identity.user, wanted, place)
    return _show(request, actor, wanted, place, len(places) > 1)


def _show(request: HttpRequest, actor: Actor, wanted: GrantRequest, place: Place, several: bool) -> HttpResponse:
    roles = grants.roles_for(wanted, actor.role or "reader")
    context: dict[str, Any] = {
        "grant": wanted,
        "place": place,
        "several": several,
        "roles": roles,
        "most": roles[-1],
        "ends": grants.ends_at(wanted),
    }
    return render(request, "grants/ask.html", context)


def _grant(request: HttpRequest, actor: Actor, user: User, wanted: GrantRequest, place: Place) -> HttpResponse:
    session_key = request.session.session_key or ""
    try:
        with tenant_scope(actor.organisation_id):
            told = grants.grant(actor, user, wanted.id, request.POST.get("role", ""), session_key)
    except (ValidationError, Denied) as error:
        messages.error(request, " ".join(error.messages) if isinstance(error, ValidationError) else str(error))
        return redirect(f"{request.path}?{urlencode({'organisation': place.slug})}")
    if not told:
        return redirect(request.path)
    address = told if urlsplit(told).scheme in ("http", "https") else ""
    return render(request, "grants/go_on.html", {"grant": wanted, "address": address, "code": told})


def _refuse(request: HttpRequest, user: User, wanted: GrantRequest) -> HttpResponse:
    try:
        grants.refuse(user, wanted.id)
        what = {"kind": wanted.kind, "what": wanted.details.get("name", ""), "asked_from": wanted.source}
        record_own(user, "account.refuse", getattr(request, "request_id", ""), source_of(request.META), **what)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect(request.path)
