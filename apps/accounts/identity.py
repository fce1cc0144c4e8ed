"""Who is asking: a session's person or an API token, and what that makes them in one organisation."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from apps.access.actor import ROLES, Actor
from apps.access.models import rules
from apps.access.policy import Rule
from apps.accounts.credentials import has_second_factor, token_hash
from apps.accounts.models import AccessKey, ApiToken, Membership, ServiceAccount, User
from apps.tenants import lookups
from apps.tenants.models import Organisation
from apps.tenants.rls import ask
from apps.tenants.scope import tenant_scope

Credential = TypeVar("Credential", ApiToken, AccessKey)

USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Identity:
    """A person or a service account, with the credential that speaks for them if there is one; or with the key of the
    session that does, where nobody looks at that with each request."""

    user: User | None
    token: ApiToken | None = None
    session: str | None = None
    service_account: ServiceAccount | None = None
    key: AccessKey | None = None


@dataclass(frozen=True)
class Place:
    """An organisation a person belongs to."""

    organisation_id: UUID
    slug: str
    name: str
    role: str
    second_factor: bool = False  # whether its members need one to act in a browser


def lacks_second_factor(identity: Identity, place: Place) -> bool:
    """Whether all that keeps a person out of an organisation of theirs is a second factor to set up."""
    return place.second_factor and identity.user is not None and not has_second_factor(identity.user)


def from_token(secret: str) -> Identity | None:
    """Whose token this is; None if unknown, expired, revoked, or its person may no longer sign in. Notes the use."""
    found = ask("find_api_token", token_hash(secret))
    if not found:
        return None
    organisation_id, token_id = found[0]
    with tenant_scope(organisation_id):
        token = _usable(ApiToken, token_id)
        return Identity(token.user, token=token, service_account=token.service_account) if token else None


def from_key(fingerprint: str) -> Identity | None:
    """Whose access key this is; None if unknown, expired, revoked, or its person may no longer sign in. Notes the use.

    Whoever calls this has seen proof that the other end holds the key.
    """
    found = lookups.access_key(fingerprint)
    if found is None:
        return None
    organisation_id, key_id = found
    with tenant_scope(organisation_id):
        key = _usable(AccessKey, key_id)
        return Identity(key.user, key=key, service_account=key.service_account) if key else None


def _usable(model: type[Credential], row_id: UUID) -> Credential | None:
    now = timezone.now()
    holder = Q(user=None) | Q(user__is_active=True)
    row = _living(model).filter(holder, id=row_id).select_related("user", "service_account").first()
    if row and (row.last_used_at is None or row.last_used_at < now - USE_NOTED_EVERY):
        _living(model).filter(id=row_id).update(last_used_at=now)
    return row


def _living(model: type[Credential]) -> "QuerySet[Credential]":
    return model.objects.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)


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

    A credential acts in its own organisation only, with the lesser of its role and its holder's. A session that granted
    an access key and was ended has ended the key. A person in a browser has no place where a second factor is asked
    for, until they have one.
    """
    credential = identity.token or identity.key
    if credential and credential.organisation_id != organisation_id:
        return None
    if identity.session is not None and identity.user and not _signed_in(identity.user, identity.session):
        return None
    with tenant_scope(organisation_id):
        if (identity.token and not _living(ApiToken).filter(id=identity.token.id)) or (
            identity.key and not _living(AccessKey).filter(id=identity.key.id)
        ):
            return None
        if identity.key and identity.key.session_key and not _alive([identity.key.session_key]).exists():
            return None
        holder: ServiceAccount | Membership | None
        if identity.service_account is not None:
            holder = ServiceAccount.objects.filter(id=identity.service_account.id).first()
        else:
            members = Membership.objects.filter(user=identity.user, user__is_active=True)
            holder = members.select_related("user", "organisation").first()
            if holder and not credential and holder.organisation.second_factor_required:
                holder = holder if has_second_factor(holder.user) else None
        return _acting(holder, credential, rules(), request_id, source) if holder else None


def _acting(
    holder: ServiceAccount | Membership,
    credential: ApiToken | AccessKey | None,
    policies: tuple[Rule, ...],
    request_id: str = "",
    source: str = "",
) -> Actor:
    """A service account, or a person by their membership, with the credential that speaks for them.

    One of its holder's whole role does whatever they may, by policies too; a lesser one never more than its own role.
    """
    if isinstance(holder, ServiceAccount):
        kind, id, name, subject = "service-account", holder.id, holder.name, f"service-account:{holder.name}"
    else:
        user = holder.user
        kind, id, name, subject = "user", user.id, str(user), f"user:{user.email}"
    role = holder.role
    lowers = credential is not None and ROLES.index(credential.role) < ROLES.index(role)
    ceiling = credential.role if credential and lowers else ROLES[-1]
    if credential:
        kind = "token" if isinstance(credential, ApiToken) else "key"
        name = f"{name} ({kind} {credential.name})"
    lesser = min(role, ceiling, key=ROLES.index)
    return Actor(
        kind, str(id), name, holder.organisation_id, lesser, request_id, source, subject, ceiling, policies, role
    )


def actors_with(keys: Iterable[UUID]) -> dict[UUID, Actor | str]:
    """Who acts now with each of these access keys of the organisation in scope, or a sentence why nobody does.

    Four queries, however many keys there are.
    """
    keys = list(keys)
    rows = {row.id: row for row in AccessKey.objects.filter(id__in=keys).select_related("service_account")}
    people = {row.user_id for row in rows.values() if row.user_id}
    members = {row.user_id: row for row in Membership.objects.filter(user__in=people).select_related("user")}
    sessions = set(_alive({row.session_key for row in rows.values()}).values_list("session_key", flat=True))
    policies, now = rules(), timezone.now()

    def answer(key_id: UUID) -> Actor | str:
        key = rows.get(key_id)
        if key is None:
            return "this key was removed"
        if key.revoked_at is not None:
            return "this key was revoked"
        if key.expires_at <= now:
            return "this key has expired"
        if key.session_key and key.session_key not in sessions:
            return "the session that granted this key was ended"
        holder = key.service_account or members.get(key.user_id)
        if holder is None:
            return "you are no member of this organisation any more"
        if isinstance(holder, Membership) and not holder.user.is_active:
            return "this account is closed"
        return _acting(holder, key, policies)

    return {key_id: answer(key_id) for key_id in keys}


def note_uses(keys: Iterable[UUID]) -> None:
    """These access keys of the organisation in scope were just used. Noted at most once a minute each."""
    now = timezone.now()
    unnoted = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_NOTED_EVERY)
    AccessKey.objects.filter(unnoted, id__in=list(keys)).update(last_used_at=now)


def _alive(session_keys: Iterable[str]) -> "QuerySet[Session]":
    return Session.objects.filter(session_key__in=list(session_keys), expire_date__gt=timezone.now())


def places(user: User) -> list[Place]:
    """The organisations a person belongs to, by slug."""
    return [Place(*row) for row in ask("memberships_of", user.id)]


def places_of(identity: Identity) -> list[Place]:
    """Where an identity has a place: a credential in its own organisation only."""
    credential = identity.token or identity.key
    if identity.service_account is not None:
        account = identity.service_account
        with tenant_scope(account.organisation_id):
            own = Organisation.objects.get(id=account.organisation_id)
            return [Place(own.id, own.slug, own.name, account.role)]
    found = places(identity.user) if identity.user else []
    return [place for place in found if credential is None or place.organisation_id == credential.organisation_id]


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
