"""What asks for access and waits until a person grants it in a browser: talosctl's key, `omni login`, kubectl by OIDC.

Whoever wants access calls `ask` and sends the person to `path_of` the request. The page there (`dashboard/grants.py`)
calls `grant` or `refuse`. What a grant makes is the business of its kind's function in `KINDS`.

`details` of a request, shown to the person: `email` (of a key: whose it says it is), `name` (what asks), `code` (to
compare with the terminal), `cluster`, `role` (the most it asks for), and how long the access lasts: `expires_at` (ISO
8601) or `lifetime` (seconds from the grant). Once granted, `role` is the one that was granted.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count
from django.utils import timezone
from django.utils.module_loading import import_string

from apps.access.actor import ROLES, Actor
from apps.access.check import check
from apps.accounts.credentials import token_hash
from apps.accounts.models import AccessKey, GrantRequest, User
from nodeagent.siderolink.turns import origin

LIFETIME = timedelta(minutes=5)
"""How long a request waits for a person."""

KEPT = timedelta(days=1)
"""How long after its end a request still says on its page what became of it."""

ASKED_A_MINUTE = 30
"""Requests of one address, or network of IPv6, in a minute; more are refused."""

WAITING, GRANTED, USED, REFUSED, EXPIRED = "waiting", "granted", "used", "refused", "expired"

KINDS: dict[str, str] = {
    GrantRequest.KEY: "apps.accounts.keys.grant_key",
    GrantRequest.KUBERNETES: "apps.proxies.oidc.grant_kubernetes",
    GrantRequest.LOGIN: "apps.accounts.login.grant_login",
}
"""What a grant of each kind makes: `f(actor, user, request, session_key)` in the organisation's scope, with an actor
whose role and ceiling are the ones granted. Gives an `AccessKey`, or text for the browser: an address to go to, or a
code to show; nothing when the asker fetches the outcome by itself."""


class TooMany(ValidationError):
    """One address asks more often than people do."""


@dataclass(frozen=True)
class Outcome:
    """What became of a request; `request` once it is granted."""

    state: str
    request: GrantRequest | None = None


def ask(
    kind: str,
    details: dict[str, Any],
    source: str,
    lifetime: timedelta = LIFETIME,
    fingerprint: str = "",
    organisation_id: UUID | None = None,
) -> tuple[GrantRequest, str]:
    """Store a request, and give the secret that its asker fetches the outcome with.

    With `organisation_id` it can be granted for that organisation alone. Raises `TooMany`.
    """
    now = timezone.now()
    GrantRequest.objects.filter(expires_at__lt=now - KEPT).delete()
    check_pace(source)
    secret = secrets.token_urlsafe(32)
    request = GrantRequest.objects.create(
        kind=kind,
        details=details,
        source=source[:64],
        fingerprint=fingerprint,
        organisation_id=organisation_id,
        secret_hash=token_hash(secret),
        expires_at=now + lifetime,
    )
    return request, secret


def check_pace(source: str) -> None:
    """Raise `TooMany` when an address asks too often."""
    lately = GrantRequest.objects.filter(created_at__gt=timezone.now() - timedelta(minutes=1))
    sources = lately.values_list("source").annotate(Count("id"))
    if sum(count for other, count in sources if origin(other) == origin(source)) >= ASKED_A_MINUTE:
        raise TooMany(f"{source} asked {ASKED_A_MINUTE} times within a minute; wait a minute and try again")


def path_of(request: GrantRequest) -> str:
    """The path of the page on which a person decides."""
    return f"/grant/{request.id}"


def state_of(request: GrantRequest) -> str:
    """Where a request stands now."""
    if request.granted is False:
        return REFUSED
    if request.granted:
        return USED if request.used_at else GRANTED
    return EXPIRED if request.expires_at <= timezone.now() else WAITING


def is_for(request: GrantRequest, user: User) -> bool:
    """Whether this person may decide: a key says whose it is, everything else asks whoever is signed in."""
    return request.kind != GrantRequest.KEY or str(request.details.get("email", "")).lower() == user.email


def roles_for(request: GrantRequest, role: str) -> list[str]:
    """The roles that somebody with `role` may give to what asks, the least first."""
    most = min(role, request.details.get("role") or role, key=ROLES.index)
    return list(ROLES[: ROLES.index(most) + 1])


def ends_at(request: GrantRequest) -> datetime | None:
    """Until when the access would last, if granted now; None where its kind does not say."""
    if given := request.details.get("expires_at"):
        return datetime.fromisoformat(given)
    lifetime = request.details.get("lifetime")
    return timezone.now() + timedelta(seconds=lifetime) if lifetime else None


def grant(actor: Actor, user: User, request_id: UUID, role: str, session_key: str) -> str:
    """Give what asks access for `actor`'s organisation, which is in scope, with `role` at most.

    Gives what the browser has to show or to go to, if anything. Raises `Denied`, `ValidationError`.
    """
    check(actor, "access-key.create")
    request = _decided(user, request_id, granted=True)
    if request.organisation_id not in (None, actor.organisation_id):
        raise ValidationError("this request is for another organisation")
    if role not in roles_for(request, actor.role or ROLES[0]):
        raise ValidationError(f"{role!r} cannot be granted: choose a role that you have and that was asked for")
    request.organisation_id, request.session_key = actor.organisation_id, session_key
    request.details = {**request.details, "role": role}
    make: Callable[..., AccessKey | str | None] = import_string(KINDS[request.kind])
    made = make(replace(actor, role=role, ceiling=role), user, request, session_key)
    request.outcome = {"access_key": str(made.id)} if isinstance(made, AccessKey) else {}
    request.save()
    return made if isinstance(made, str) else ""


def refuse(user: User, request_id: UUID) -> GrantRequest:
    """Turn a request down for good. Raises `ValidationError`."""
    with transaction.atomic():
        request = _decided(user, request_id, granted=False)
        request.save()
    return request


def outcome_of(secret: str, kind: str) -> Outcome | None:
    """What became of the request of a kind with this secret, None if there is none.

    A grant is fetched once: this uses it up.
    """
    with transaction.atomic():
        request = GrantRequest.objects.select_for_update().filter(kind=kind, secret_hash=token_hash(secret)).first()
        if request is None:
            return None
        state = state_of(request)
        if state != GRANTED:
            return Outcome(state)
        if request.expires_at <= timezone.now():
            return Outcome(EXPIRED)
        request.used_at = timezone.now()
        request.save(update_fields=["used_at"])
        return Outcome(GRANTED, request)


def _decided(user: User, request_id: UUID, granted: bool) -> GrantRequest:
    """The request, locked and marked, not stored yet. Raises `ValidationError` unless it waits for this person."""
    request = GrantRequest.objects.select_for_update().filter(id=request_id).first()
    if request is None or state_of(request) != WAITING:
        raise ValidationError("this request was decided already, or its time is over; start again in your terminal")
    if not is_for(request, user):
        raise ValidationError(f"this request is for {request.details.get('email')}, not for {user.email}")
    request.user, request.granted = user, granted
    return request
