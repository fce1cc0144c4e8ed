"""Settings of the organisation."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from apps.accounts import people
from apps.accounts.credentials import has_second_factor
from apps.accounts.models import Membership, User
from apps.dashboard.page import PageRequest, page, show
from apps.machines.joinpage import machine_api_url
from apps.machines.models import JoinToken
from apps.tenants.actions import rename_organisation, require_second_factor
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
    told(request, lambda: rename_organisation(request.actor, row, name), "The name is changed.")
    return redirect("settings", request.organisation.slug)


@require_POST
@page("organisation.update")
def organisation_second_factor(request: PageRequest) -> HttpResponse:
    """Ask members for a second factor, or no more."""
    row = Organisation.objects.get(id=request.organisation.organisation_id)
    wanted = request.POST.get("required") == "yes"
    done = "Members need a second factor from now on." if wanted else "Members need no second factor any more."
    told(
        request, lambda: require_second_factor(request.actor, row, wanted, has_second_factor(signed_in(request))), done
    )
    return redirect("settings", request.organisation.slug)


@require_POST
@page("organisation.leave")
def organisation_leave(request: PageRequest) -> HttpResponse:
    """Leave the organisation; the form says its short name."""
    slug = request.organisation.slug
    if request.POST.get("name") != slug:
        messages.error(request, f"You are still here: the name typed was not {slug}.")
    elif told(request, lambda: people.leave(request.actor), f"You left {request.organisation.name}."):
        return redirect("home")
    return redirect("settings", slug)


@require_POST
@page("organisation.create", outside=True)
def organisation_create(request: PageRequest) -> HttpResponse:
    """Make another organisation and go there."""
    name, slug = request.POST.get("name", ""), request.POST.get("slug", "")
    made = f"{name} is made, and you own it."
    if told(request, lambda: people.open_organisation(request.actor, signed_in(request), name, slug), made):
        return redirect("home-page", slug)
    return redirect("home-page", request.organisation.slug)


def signed_in(request: PageRequest) -> User:
    """The person who looks."""
    assert isinstance(request.user, User)
    return request.user


def told(request: PageRequest, act: Any, done: str) -> bool:
    """Do it and say so; what is wrong is said instead."""
    try:
        act()
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return False
    messages.success(request, done)
    return True
