"""`omni login` without a token: the program asks, a person grants it in a browser, the program fetches an API token."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from apps.access.actor import Actor
from apps.accounts import grants
from apps.accounts.actions import create_api_token
from apps.accounts.identity import Identity, actor_in
from apps.accounts.models import ApiToken, GrantRequest, User
from apps.audit.actions import record
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

TOKEN_LIFE = timedelta(days=30)
LONGEST_HOST = 60

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so no words; none that looks like a digit


@dataclass(frozen=True)
class Fetched:
    """How far a login request is; with an API token, this once, when it was granted."""

    state: str
    token: str | None = None
    organisation: str | None = None


def ask_login(host: str, source: str) -> tuple[GrantRequest, str]:
    """Ask for a token on behalf of the program on `host`; with the secret to fetch it by. Raises `ValidationError`."""
    host = host.strip()
    if not host or len(host) > LONGEST_HOST or not host.isprintable():
        raise ValidationError({"host": f"give the name of the host, of 1 to {LONGEST_HOST} characters"})
    code = "".join(secrets.choice(_LETTERS) for _ in range(8))
    details = {
        "name": f"omni login on {host}",
        "code": f"{code[:4]}-{code[4:]}",
        "lifetime": int(TOKEN_LIFE.total_seconds()),
    }
    return grants.ask(GrantRequest.LOGIN, details, source)


def grant_login(actor: Actor, user: User, request: GrantRequest, session_key: str) -> None:
    """Only noted: nothing is made before the program fetches it, so its secret is stored nowhere."""
    name, asked_from = request.details["name"], request.source
    record(actor, "login.grant", "login", request.id, name, role=actor.role, asked_from=asked_from)


def fetch_login(secret: str, request_id: str, source: str) -> Fetched | None:
    """How far the request with this secret is; None if there is none. Makes the token when it was granted."""
    with transaction.atomic():
        outcome = grants.outcome_of(secret, GrantRequest.LOGIN)
        if outcome is None:
            return None
        request = outcome.request
        if request is None or request.user is None or request.organisation_id is None:
            return Fetched(outcome.state)
        granted_by = Identity(request.user, session=request.session_key or None)
        actor = actor_in(granted_by, request.organisation_id, request_id, source)
        if actor is None:  # removed, or the browser signed out from elsewhere, between the grant and this
            return Fetched(grants.REFUSED)
        with tenant_scope(actor.organisation_id):
            ends = timezone.now() + TOKEN_LIFE
            made = create_api_token(actor, request.user, request.details["name"], request.details["role"], ends)
            ApiToken.objects.filter(id=made.row.id).update(session_key=request.session_key)
            slug = Organisation.objects.get(id=actor.organisation_id).slug
        return Fetched(grants.GRANTED, made.secret, slug)
