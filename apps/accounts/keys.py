"""Access keys: what signs talosctl's calls, and the list of everything that proves somebody to the proxies.

A key that talosctl made is registered by nobody in particular (`register`) and becomes an access key when its person
accepts it in a browser (`grant_key`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.access.actor import ROLES, Actor
from apps.access.check import Denied, allowed, check
from apps.accounts import grants
from apps.accounts.actions import check_role
from apps.accounts.identity import actor_in, from_key, new_request_id
from apps.accounts.models import AccessKey, GrantRequest, ServiceAccount, User
from apps.audit.actions import record
from apps.reconcile.outbox import changed
from apps.tenants import lookups
from apps.tenants.ids import uuid7
from apps.tenants.scope import tenant_scope
from nodeagent.authservice import KeyRefused, NewKey
from talos import openpgp, signing

KEYS_OF_ONE = 100
"""Usable keys that one person or service account may have in an organisation."""

WAITING_OF_ONE = 20
"""Keys that may wait for one person to accept them; beyond that the oldest leaves."""

LONGEST_OF_PROGRAMS = timedelta(days=365)
"""How long a service account's key may live."""

SIGNING = (AccessKey.PGP, AccessKey.PLAIN)


# Keys that talosctl makes


def register(email: str, key: NewKey, source: str) -> str:
    """Let a key wait for its person, and give the address at which they accept it. Raises `KeyRefused`.

    For somebody who may not sign in nothing waits, and what is answered tells nobody so.
    """
    if key.role and key.role not in ROLES:
        raise KeyRefused("INVALID_ARGUMENT", f"{key.role[:40]!r} is not a role; choose one of {', '.join(ROLES)}")
    try:
        grants.check_pace(source)
    except grants.TooMany as error:
        raise KeyRefused("RESOURCE_EXHAUSTED", " ".join(error.messages)) from None
    user = User.objects.filter(email=email, is_active=True).first()
    known = lookups.access_key(key.fingerprint) is not None
    request = GrantRequest(id=uuid7()) if user is None or known else _waiting(user, key, source)
    return f"{settings.CONFIG.public_url}{grants.path_of(request)}"


def _waiting(user: User, key: NewKey, source: str) -> GrantRequest:
    """The request for a key of a person: the one that waits already, or a new one."""
    with transaction.atomic():
        User.objects.select_for_update().get(id=user.id)  # one after the other
        waiting = GrantRequest.objects.filter(
            kind=GrantRequest.KEY, details__email=user.email, granted=None, expires_at__gt=timezone.now()
        )
        if same := waiting.filter(fingerprint=key.fingerprint).first():
            return same
        kept = waiting.order_by("-created_at").values("id")[: WAITING_OF_ONE - 1]
        waiting.exclude(id__in=list(kept.values_list("id", flat=True))).delete()
        details = {
            "email": user.email,
            "name": key.name,
            "kind": key.kind,
            "public": key.public.decode(),
            "role": key.role,
            "expires_at": key.expires.isoformat(),
        }
        return grants.ask(GrantRequest.KEY, details, source, fingerprint=key.fingerprint)[0]


def grant_key(actor: Actor, user: User, request: GrantRequest, session_key: str) -> AccessKey:
    """Make the access key of a request that its person accepts. Raises `Denied`, `ValidationError`."""
    check(actor, "access-key.create")
    given = request.details
    return _store(
        actor,
        user,
        kind=given["kind"],
        public=given["public"].encode(),
        fingerprint=request.fingerprint,
        name=given["name"],
        role=actor.role or ROLES[0],
        expires_at=datetime.fromisoformat(given["expires_at"]),
        session_key=session_key,
        source=request.source,
    )


# Keys of service accounts


def add_signing_key(
    actor: Actor, account: ServiceAccount, armored_public: str, *, role: str = "", name: str = ""
) -> AccessKey:
    """Let a service account sign calls with a key that somebody made for it. Raises `Denied`, `ValidationError`.

    `role` is the most that is done with it, by default the account's role; `name` by default the key's own.
    """
    check(actor, "service-account.write", account.name)
    check_role(actor, account.role)
    check_role(actor, role or account.role)
    try:
        key = openpgp.read_public(armored_public.encode())
        expires = key.check_lifetime(timezone.now(), LONGEST_OF_PROGRAMS)
        name = name.strip() or key.user_id.removesuffix(f"<{key.email}>").strip() or account.name
    except ValueError as error:
        raise ValidationError({"public_key": str(error)}) from None
    if not name.isprintable():
        raise ValidationError({"name": "give the key a name of characters that can be printed"})
    return _store(
        actor,
        account,
        kind=AccessKey.PGP,
        public=key.armored.encode(),
        fingerprint=key.fingerprint,
        name=name,
        role=role or account.role,
        expires_at=expires,
        source=actor.source,
    )


# What there is


def access_keys(actor: Actor) -> QuerySet[AccessKey]:
    """The access keys that `actor` may see, ended ones too: one's own, and everybody's for admins."""
    rows = AccessKey.objects.select_related("user", "service_account", "direct")
    return rows if allowed(actor, "member.update") else rows.filter(Q(user=actor.id) | Q(service_account=actor.id))


def search(rows: QuerySet[AccessKey], text: str) -> QuerySet[AccessKey]:
    """Narrow by a text in name, fingerprint or holder."""
    holder = Q(user__email__icontains=text) | Q(service_account__name__icontains=text)
    return rows.filter(holder | Q(name__icontains=text) | Q(fingerprint__icontains=text))


def is_own(actor: Actor, key: AccessKey) -> bool:
    """Whether `actor` is who the key speaks for."""
    return actor.id == str(key.user_id or key.service_account_id)


def revoke_access_key(actor: Actor, key: AccessKey) -> None:
    """End a key at once, with what is open through it: one's own, or anybody's for an admin. Raises `Denied`."""
    check(actor, "access-key.revoke" if is_own(actor, key) else "member.update", f"access key {key.name}")
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
        record(actor, "access-key.revoke", "access-key", key.id, key.name, key=key.fingerprint, holder=holder_of(key))
        changed("access-key", key.id, actor.organisation_id)


def holder_of(key: AccessKey) -> str:
    """Who a key speaks for, in words."""
    if key.user is not None:
        return key.user.email
    return f"service account {key.service_account.name}" if key.service_account else ""


# Proof


def signing_key(fingerprint: str) -> signing.PublicKey | None:
    """The key that verifies calls signed under this fingerprint, if it may be used now."""
    found = lookups.access_key(fingerprint)
    if found is None:
        return None
    organisation_id, key_id = found
    with tenant_scope(organisation_id):
        living = AccessKey.objects.filter(id=key_id, kind__in=SIGNING, revoked_at=None, expires_at__gt=timezone.now())
        row = living.first()
        return signing.parse_public(row.kind, bytes(row.public)) if row else None


def revoke_signed(metadata: Mapping[str, Sequence[str]], method: str, fingerprint: str, source: str) -> None:
    """End a key at the wish of whoever signed this call. Raises `KeyRefused`."""
    try:
        signer = from_key(signing.verify(metadata, method, timezone.now(), signing_key))
    except (signing.Unsigned, signing.BadSignature) as error:
        raise KeyRefused("UNAUTHENTICATED", f"invalid signature: {error}") from None
    found = lookups.access_key(fingerprint)
    actor = actor_in(signer, found[0], new_request_id(), source) if signer and found else None
    refused = KeyRefused("PERMISSION_DENIED", "there is no such key of yours")
    if found is None or actor is None:
        raise refused
    with tenant_scope(found[0]):
        key = AccessKey.objects.select_related("user", "service_account").get(id=found[1])
        try:
            revoke_access_key(actor, key)
        except Denied:
            raise refused from None


def _store(
    actor: Actor,
    holder: User | ServiceAccount,
    *,
    kind: str,
    public: bytes,
    fingerprint: str,
    name: str,
    role: str,
    expires_at: datetime,
    source: str,
    session_key: str = "",
) -> AccessKey:
    whose = {"user": holder} if isinstance(holder, User) else {"service_account": holder}
    check_room(**whose)
    if expires_at <= timezone.now():
        raise ValidationError("the key has expired meanwhile; start again in your terminal")
    try:
        with transaction.atomic():
            key = AccessKey.new(
                kind=kind,
                public=public,
                fingerprint=fingerprint,
                name=name[:120],
                role=role,
                expires_at=expires_at,
                source=source[:64],
                session_key=session_key,
                **whose,
            )
    except IntegrityError:
        raise ValidationError("this key was registered before; make a new one") from None
    record(
        actor, "access-key.create", "access-key", key.id, key.name, key=fingerprint, role=role, holder=holder_of(key)
    )
    changed("access-key", key.id, actor.organisation_id)
    return key


def check_room(**holder: User | ServiceAccount) -> None:
    """Raise `ValidationError` when somebody (`user=` or `service_account=`) has as many usable keys as they may."""
    living = AccessKey.objects.filter(revoked_at=None, expires_at__gt=timezone.now(), **holder)
    if living.exclude(kind=AccessKey.KUBERNETES).count() >= KEYS_OF_ONE:
        raise ValidationError(f"there are {KEYS_OF_ONE} usable keys already; revoke some that are not needed")
