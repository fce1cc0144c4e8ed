"""Pages of the person who looks: name, password, second factor, and where they are signed in."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from apps.accounts import people, sessions
from apps.accounts.factors import second_factors
from apps.accounts.models import AccessKey, ApiToken, Membership
from apps.dashboard.page import PageRequest, page, show
from apps.dashboard.settings import signed_in, told
from apps.tenants.scope import tenant_scope


@page("organisation.read", outside=True)
def account(request: PageRequest) -> HttpResponse:
    """The person's own: name, password, second factor, where they are signed in, and their credentials here."""
    user = signed_in(request)
    rows = sessions.sessions_of(user, request.session.session_key or "")
    context: dict[str, Any] = {
        "person": user,
        "factors": second_factors(user),
        "sessions": rows,
        "others": sum(not row.current for row in rows),
    }
    with tenant_scope(request.organisation.organisation_id):
        context |= {
            "tokens": ApiToken.objects.filter(user=user, revoked_at=None).count(),
            "keys": AccessKey.objects.filter(user=user, revoked_at=None).count(),
            "alone": request.actor.role == "owner" and Membership.objects.filter(role="owner").count() == 1,
        }
        return show(request, "settings/account.html", context, "account")


@require_POST
@page("organisation.read")
def account_rename(request: PageRequest) -> HttpResponse:
    """Change what the person is called."""
    told(
        request, lambda: people.rename_person(signed_in(request), request.POST.get("name", "")), "Your name is changed."
    )
    return redirect("account", request.organisation.slug)


@require_POST
@page("organisation.read", outside=True)
def session_end(request: PageRequest, session_id: str) -> HttpResponse:
    """Sign the person out of one browser."""
    actor = request.actor
    if sessions.end_session(signed_in(request), session_id, actor.request_id, actor.source):
        messages.success(request, "That browser is signed out, and the keys that it granted are revoked.")
    return redirect("account", request.organisation.slug)


@require_POST
@page("organisation.read", outside=True)
def sessions_end(request: PageRequest) -> HttpResponse:
    """Sign the person out everywhere else."""
    actor, current = request.actor, request.session.session_key or ""
    ended = sessions.end_others(signed_in(request), current, actor.request_id, actor.source)
    messages.success(request, f"You are signed out elsewhere: {ended} session{'' if ended == 1 else 's'} ended.")
    return redirect("account", request.organisation.slug)
