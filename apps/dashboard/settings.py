"""Settings: of the organisation, and of the person who looks."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from apps.accounts import people, sessions
from apps.accounts.models import ApiToken, Membership, User
from apps.dashboard.page import PageRequest, page, show
from apps.machines.joinpage import machine_api_url
from apps.machines.models import JoinToken
from apps.tenants.actions import rename_organisation
from apps.tenants.models import Organisation


@page("organisation.read")
def organisation_settings(request: PageRequest) -> HttpResponse:
    """Name, defaults, who owns it, this server, and what cannot be undone."""
    context = {
        "row": Organisation.objects.get(id=request.organisation.organisation_id),
        "owners": [m.user for m in Membership.objects.filter(role="owner").select_related("user")],
        "default_token": JoinToken.objects.filter(is_default=True).first(),
        "config": settings.CONFIG,
        "machine_api": machine_api_url(),
    }
    return show(request, "settings/organisation.html", context, "settings")


@require_POST
@page("organisation.update")
def organisation_rename(request: PageRequest) -> HttpResponse:
    """Give the organisation another name."""
    row = Organisation.objects.get(id=request.organisation.organisation_id)
    name = request.POST.get("name", "")
    _told(request, lambda: rename_organisation(request.actor, row, name), "The name is changed.")
    return redirect("settings", request.organisation.slug)


@require_POST
@page("organisation.leave")
def organisation_leave(request: PageRequest) -> HttpResponse:
    """Leave the organisation; the form says its short name."""
    slug = request.organisation.slug
    if request.POST.get("name") != slug:
        messages.error(request, f"You are still here: the name typed was not {slug}.")
    elif _told(request, lambda: people.leave(request.actor), f"You left {request.organisation.name}."):
        return redirect("home")
    return redirect("settings", slug)


@require_POST
@page("organisation.create", outside=True)
def organisation_create(request: PageRequest) -> HttpResponse:
    """Make another organisation and go there."""
    name, slug = request.POST.get("name", ""), request.POST.get("slug", "")
    made = f"{name} is made, and you own it."
    if _told(request, lambda: people.open_organisation(request.actor, _user(request), name, slug), made):
        return redirect("home-page", slug)
    return redirect("home-page", request.organisation.slug)


@page("organisation.read")
def account(request: PageRequest) -> HttpResponse:
    """The person's own: name, password, where they are signed in, their tokens here."""
    user = _user(request)
    current = request.session.session_key
    rows = list(sessions.sessions_of(user))
    context: dict[str, Any] = {
        "person": user,
        "sessions": [(row, row.session_key == current) for row in rows],
        "others": sum(row.session_key != current for row in rows),
        "tokens": ApiToken.objects.filter(user=user, revoked_at=None).count(),
        "alone": request.actor.role == "owner" and Membership.objects.filter(role="owner").count() == 1,
    }
    return show(request, "settings/account.html", context, "account")


@require_POST
@page("organisation.read")
def account_rename(request: PageRequest) -> HttpResponse:
    """Change what the person is called."""
    _told(request, lambda: people.rename_person(_user(request), request.POST.get("name", "")), "Your name is changed.")
    return redirect("account", request.organisation.slug)


@require_POST
@page("organisation.read")
def sessions_end(request: PageRequest) -> HttpResponse:
    """Sign the person out everywhere else."""
    ended = sessions.end_others(_user(request), request.session.session_key or "")
    messages.success(request, f"You are signed out elsewhere: {ended} session{'' if ended == 1 else 's'} ended.")
    return redirect("account", request.organisation.slug)


def _user(request: PageRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _told(request: PageRequest, act: Any, done: str) -> bool:
    """Do it and say so; what is wrong is said instead."""
    try:
        act()
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return False
    messages.success(request, done)
    return True
