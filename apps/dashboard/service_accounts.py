"""Pages of service accounts: what acts by itself, and what each holds."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from apps.access.check import allowed
from apps.accounts import queries
from apps.accounts import service_accounts as accounts
from apps.accounts.keys import access_keys, add_signing_key
from apps.accounts.models import ServiceAccount
from apps.dashboard.access_keys import rows_of
from apps.dashboard.page import PageRequest, page, show
from apps.dashboard.people import Secret, expiry, made_once, roles_up_to, tabs, token_rows
from talos.serviceaccount import key_text, new_key

SHOWN = 100
"""Tokens and keys of one account that its page shows, the newest."""


def _account(name: str) -> Any:
    found = accounts.service_accounts().filter(name=name).first()
    if found is None:
        raise Http404(f"there is no service account {name}")
    return found


@page("service-account.list")
def service_accounts(request: PageRequest) -> HttpResponse:
    """The service accounts, by name."""
    rows = list(accounts.service_accounts().order_by("name"))
    context = {
        "rows": rows,
        "tabs": tabs(request),
        "roles": roles_up_to(request.actor.role),
        "can_write": allowed(request.actor, "service-account.write"),
        "once": uuid4().hex,
    }
    if request.headers.get("HX-Request"):
        context["organisation"] = request.organisation
        return render(request, "people/service_account_list.html", context)
    return show(request, "people/service_accounts.html", context, "members", "service-account")


def _detail(request: PageRequest, row: Any, secret: Secret | None = None) -> HttpResponse:
    tokens = queries.api_tokens(request.actor).filter(service_account=row).order_by("-created_at")[:SHOWN]
    keys = access_keys(request.actor).filter(service_account=row).order_by("-created_at")[:SHOWN]
    context = {
        "account": row,
        "rows": token_rows(request, tokens),
        "keys": rows_of(request, keys),
        "roles": roles_up_to(request.actor.role),
        "below": roles_up_to(row.role),
        "can_write": allowed(request.actor, "service-account.write") and row.role in roles_up_to(request.actor.role),
        "once": uuid4().hex,
        "secret": secret,
    }
    return show(request, "people/service_account.html", context, "members", "service-account,api-token,access-key")


@page("service-account.list")
def service_account(request: PageRequest, name: str) -> HttpResponse:
    """One service account: its role, its tokens and keys."""
    return _detail(request, _account(name))


@page("service-account.write")
def service_account_create(request: PageRequest) -> HttpResponse:
    """Make a service account; then on to giving it a credential."""
    slug = request.organisation.slug
    if request.method != "POST":
        return redirect("service-accounts", slug)

    def make() -> str:
        given = request.POST
        role, description = given.get("role", ""), given.get("description", "")
        return accounts.create(request.actor, given.get("name", "").strip(), role, description).name

    try:
        return redirect("service-account", slug, made_once(request, make))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("service-accounts", slug)


@page("service-account.write")
def service_account_edit(request: PageRequest, name: str) -> HttpResponse:
    """Change role and description."""
    row = _account(name)
    if request.method == "POST":
        role, description = request.POST.get("role", row.role), request.POST.get("description", "")
        _try(request, lambda: accounts.update(request.actor, row, role, description))
    return redirect("service-account", request.organisation.slug, name)


@page("service-account.write")
def service_account_token(request: PageRequest, name: str) -> HttpResponse:
    """Make an API token that acts for it, and show it once."""
    row, called, role = _account(name), request.POST.get("name", "").strip(), request.POST.get("role", "")

    def make() -> str:
        ends = expiry(request.POST.get("days", ""))
        return accounts.create_token(request.actor, row, called, role, ends).secret

    sentence = "It is shown this once. We keep only a hash. Lost it? Make another and revoke this one."
    return _shown_once(request, name, f"API token {called} of {name}", sentence, make)


@page("service-account.write")
def service_account_key(request: PageRequest, name: str) -> HttpResponse:
    """Make a key with which talosctl acts as it, and show it once: only its public half is kept."""
    row, called, role = _account(name), request.POST.get("name", "").strip(), request.POST.get("role", "")

    def make() -> str:
        ends = expiry(request.POST.get("days", ""))
        if ends is None:
            raise ValidationError("A key for talosctl has an end; choose one.")
        now = timezone.now()
        key = new_key(name, now, ends - now)
        add_signing_key(request.actor, row, key.public.armored, role=role, name=called)
        return key_text(name, key)

    sentence = "Give it to talosctl as SIDERO_SERVICE_ACCOUNT_KEY. It is shown this once; we keep only its public half."
    return _shown_once(request, name, f"Key {called} of {name}", sentence, make)


def _shown_once(request: PageRequest, name: str, title: str, sentence: str, make: Callable[[], str]) -> HttpResponse:
    """The account's page with a credential that is made by this, or with why it was not."""
    if request.method != "POST":
        return redirect("service-account", request.organisation.slug, name)
    try:
        text = made_once(request, make)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("service-account", request.organisation.slug, name)
    return _detail(request, _account(name), Secret(title, text, sentence))


@page("service-account.write")
def service_account_delete(request: PageRequest, name: str) -> HttpResponse:
    """End it, and every credential of it."""
    row: ServiceAccount = _account(name)
    if request.method == "POST" and _try(request, lambda: accounts.delete(request.actor, row)):
        messages.success(request, f"{name} is gone, and nothing gets in with its tokens and keys any more.")
        return redirect("service-accounts", request.organisation.slug)
    return redirect("service-account", request.organisation.slug, name)


def _try(request: PageRequest, change: Any) -> bool:
    """Do it, or say above the next page why not."""
    try:
        with transaction.atomic():
            change()
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return False
    return True
