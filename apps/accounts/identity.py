"""Who is asking: a session's person or an API token, and what that makes them in one organisation."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from apps.access.actor import ROLES, Actor
from apps.accounts.actions import token_hash
from apps.accounts.models import ApiToken, Membership, User
from apps.tenants.rls import ask
from apps.tenants.scope import tenant_scope

USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Identity:
    """A person, with the token that speaks for them if there is one; or with the key of the session that does, where
    nobody looks at that with each request."""

    user: User
    token: ApiToken | None = None
    session: str | None = None


@dataclass(frozen=True)
class Place:
    """An organisation a person belongs to."""

    organisation_id: UUID
    slug: str
    name: str
    role: str


def from_token(secret: str) -> Identity | None:
    """Whose token this is; None if unknown, expired, revoked, or its person may no longer sign in. Notes the use."""
    found = ask("find_api_token", token_hash(secret))
    if not found:
        return None
    organisation_id, token_id = found[0]
    now = timezone.now()
    with tenant_scope(organisation_id):
        living = ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
        token = living.filter(id=token_id, user__is_active=True).select_related("user").first()
        if token and (token.last_used_at is None or token.last_used_at < now - USE_NOTED_EVERY):
            ApiToken.objects.filter(id=token.id).update(last_used_at=now)
    return Identity(token.user, token) if token else None


def from_scope(scope: dict[str, Any]) -> Identity | None:
    """The person of a websocket; `actor_in` then sees when their session ends."""
    user = scope.get("user")
    return Identity(user, session=scope["session"].session_key or "") if isinstance(user, User) else None


def _signed_in(user: User, session_key: str) -> bool:
    """Whether a session still speaks for a person: not ended, not expired, and no new password since."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    now = User.objects.filter(id=user.id, is_active=True).first()
    if now is None or session.get(SESSION_KEY) != str(now.pk):
        return False
    return constant_time_compare(session.get(HASH_SESSION_KEY, ""), now.get_session_auth_hash())


def actor_in(identity: Identity, organisation_id: UUID, request_id: str, source: str) -> Actor | None:
    """What this identity is in an organisation now, or None if it has no place there.

    A token acts in its own organisation only, with the lesser of its role and its person's.
    """
    token = identity.token
    if token and token.organisation_id != organisation_id:
        return None
    if identity.session is not None and not _signed_in(identity.user, identity.session):
        return None
    with tenant_scope(organisation_id):
        membership = Membership.objects.filter(user=identity.user, user__is_active=True).first()
        if membership is None:
            return None
        if token and not ApiToken.objects.filter(
            Q(expires_at=None) | Q(expires_at__gt=timezone.now()), id=token.id, revoked_at=None
        ):
            return None
    role = min(membership.role, token.role, key=ROLES.index) if token else membership.role
    name = f"{identity.user} (token {token.name})" if token else str(identity.user)
    kind = "token" if token else "user"
    return Actor(kind, str(identity.user.id), name, organisation_id, role, request_id, source)


def places(user: User) -> list[Place]:
    """The organisations a person belongs to, by slug."""
    return [Place(*row) for row in ask("memberships_of", user.id)]


def organisation_by_slug(slug: str) -> UUID | None:
    """The id behind an address; knowing it gives no right to anything."""
    found = ask("find_organisation", slug)
    return found[0][0] if found else None


def new_request_id(given: str | None = None) -> str:
    """The caller's id of this request if it is a sensible one, else a new one."""
    if given and len(given) <= 64 and given.isascii() and given.replace("-", "").replace("_", "").isalnum():
        return given
    return uuid.uuid4().hex


def source_of(meta: dict[str, Any]) -> str:
    """The address that a request came from, "local" for a connection inside this machine."""
    return str(meta.get("REMOTE_ADDR") or "local")
