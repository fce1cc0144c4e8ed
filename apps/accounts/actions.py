"""Changing who may act: organisations, members, tokens. Each checks, writes and audits."""

import contextlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from apps.access.actor import ROLES, Actor, system
from apps.access.check import allowed, check
from apps.accounts.credentials import revoke_all_of, token_hash
from apps.accounts.links import end_invitation, make_invitation
from apps.accounts.models import AccessKey, ApiToken, Membership, ServiceAccount, User
from apps.accounts.states import claimed
from apps.audit.actions import record
from apps.reconcile.outbox import changed
from apps.tenants import lookups
from apps.tenants.ids import uuid7
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

TOKEN_PREFIX = "omni_"  # noqa: S105 (so that scanners recognise one that leaked)
_FIRST_RUN_LOCK = 0x66697273
_TOKEN_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,80}")


@dataclass(frozen=True)
class Shown:
    """A new credential: the one time that its secret is there to be shown."""

    row: ApiToken
    secret: str


@dataclass(frozen=True)
class Invited:
    """Somebody invited, and the path of the link that lets them in."""

    membership: Membership
    sign_in_path: str


def create_organisation(name: str, slug: str, owner: User, made_by: str = "first run") -> Organisation:
    """Make an organisation with its first owner. Raises `ValidationError` when the slug is taken or not allowed."""
    organisation = Organisation(id=uuid7(), name=name, slug=slug)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", slug):
        raise ValidationError(f"{slug!r} cannot be in an address; use lower-case letters, digits and inner hyphens")
    with tenant_scope(organisation.id):
        try:
            with transaction.atomic():
                organisation.save(force_insert=True)
        except IntegrityError:
            raise ValidationError(f"an organisation {slug!r} exists already; choose another short name") from None
        Membership.new(user=owner, role="owner")
        actor = system(organisation.id, made_by)
        record(actor, "organisation.create", "organisation", organisation.id, slug, owner=owner.email)
    return organisation


def make_first_owner(email: str, name: str, password: str | None, slug: str, organisation_name: str) -> User:
    """Make the first account and organisation of an installation.

    Raises `ValidationError` when it has an owner already: two at once cannot both be first.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_FIRST_RUN_LOCK])
        if lookups.organisations():
            raise ValidationError("this installation has an owner already; ask them to invite you")
        user, _ = User.objects.get_or_create(email=email.lower(), defaults={"name": name})
        user.name = name
        user.set_password(password)
        user.save()
        create_organisation(organisation_name, slug, user)
    return user


def first_owner_of(organisation_id: UUID) -> User:
    """The person who has owned an organisation longest."""
    with tenant_scope(organisation_id):
        owners = Membership.objects.filter(role="owner", user__is_active=True).select_related("user")
        return owners.order_by("created_at")[0].user


def add_member(actor: Actor, email: str, role: str) -> Invited:
    """Invite a person: they have the role from when they open the link. Raises `Denied`, `ValidationError`.

    Nobody gives a role above their own.
    """
    check(actor, "member.invite", email)
    check_role(actor, role)
    user = _account(email)
    if there := Membership.everybody.filter(user=user).first():
        was = "a member" if there.accepted_at else "invited"
        raise ValidationError({"email": f"{user.email} is {was} already; change the role instead"})
    membership = Membership.new(user=user, role=role, accepted_at=None)
    record(actor, "member.invite", "member", membership.id, user.email, role=role)
    changed("member", membership.id, actor.organisation_id)
    return Invited(membership, make_invitation(membership))


def renew_invitation(actor: Actor, membership: Membership) -> str:
    """The path of a new link for somebody who did not come yet; the one given before ends.

    Raises `Denied`, `ValidationError`.
    """
    user = User.objects.select_for_update().get(id=membership.user_id)
    check(actor, "member.invite", user.email)
    check_role(actor, membership.role)
    if membership.accepted_at is not None and claimed(user):
        raise ValidationError(f"{user.email} is a member already and needs no link")
    record(actor, "member.invite", "member", membership.id, user.email, role=membership.role, again=True)
    changed("member", membership.id, actor.organisation_id)
    return make_invitation(membership)


def update_member(actor: Actor, membership: Membership, role: str) -> None:
    """Change a member's role. Raises `Denied`, `ValidationError`; the last owner stays one."""
    check(actor, "member.update", membership.user.email)
    check_role(actor, role)
    check_role(actor, membership.role)
    if role != "owner":
        keep_an_owner(membership)
    before, membership.role = membership.role, role
    membership.save(update_fields=["role"])
    record(actor, "member.update", "member", membership.id, membership.user.email, before=before, after=role)
    changed("member", membership.id, actor.organisation_id)


def remove_member(actor: Actor, membership: Membership) -> None:
    """End a membership, with every token and access key of that person here. Raises `Denied`, `ValidationError`."""
    check(actor, "member.remove", membership.user.email)
    check_role(actor, membership.role)
    keep_an_owner(membership)
    revoke_all_of(membership.user, actor.organisation_id)
    record(actor, "member.remove", "member", membership.id, membership.user.email, role=membership.role)
    changed("member", membership.id, actor.organisation_id)
    end_invitation(membership)
    membership.delete()


def revoke_credentials(actor: Actor, membership: Membership) -> tuple[int, int]:
    """End every token and access key of a member here, who stays one; how many of each. Raises `Denied`.

    Their browsers stay signed in: these are the person's, in all their organisations.
    """
    check(actor, "member.update", membership.user.email)
    check_role(actor, membership.role)
    tokens, keys = revoke_all_of(membership.user, actor.organisation_id)
    record(actor, "member.revoke", "member", membership.id, membership.user.email, tokens=tokens, keys=keys)
    changed("member", membership.id, actor.organisation_id)
    return tokens, keys


def create_api_token(actor: Actor, user: User, name: str, role: str, expires_at: datetime | None = None) -> Shown:
    """Make a token that acts for `user` with at most `role`. Raises `Denied`, `ValidationError`."""
    check(actor, "api-token.create", name)
    return make_api_token(actor, user, name, role, expires_at)


def make_api_token(
    actor: Actor, holder: User | ServiceAccount, name: str, role: str, expires_at: datetime | None = None
) -> Shown:
    """Make a token for somebody; whoever calls this has seen that `actor` may. Raises `ValidationError`."""
    check_role(actor, role)
    name = name.strip()
    if not _TOKEN_NAME.fullmatch(name):
        raise ValidationError({"name": "give the token a name of 1 to 80 characters"})
    if expires_at is not None and expires_at <= timezone.now():
        raise ValidationError(f"{expires_at:%Y-%m-%d %H:%M} is past; give a later time or none")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    whose: dict[str, Any] = {"user": holder} if isinstance(holder, User) else {"service_account": holder}
    row = ApiToken.new(name=name, role=role, token_hash=token_hash(secret), expires_at=expires_at, **whose)
    named = holder.email if isinstance(holder, User) else f"service account {holder.name}"
    record(actor, "api-token.create", "api-token", row.id, name, role=role, user=named)
    changed("api-token", row.id, actor.organisation_id)
    return Shown(row, secret)


def revoke_api_token(actor: Actor, row: ApiToken) -> None:
    """End a token at once, and the access keys it got: one's own, or anybody's for an admin. Raises `Denied`."""
    own = allowed(actor, "api-token.revoke") and actor.id in (str(row.user_id), str(row.service_account_id))
    if not own:
        check(actor, "member.update", f"API token {row.name}")
    if row.revoked_at is None:
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
        AccessKey.objects.filter(api_token=row, revoked_at=None).update(revoked_at=row.revoked_at)
        record(actor, "api-token.revoke", "api-token", row.id, row.name)
        changed("api-token", row.id, actor.organisation_id)


def _account(email: str) -> User:
    """The account with this address, locked; made when there is none. Raises `ValidationError`."""
    try:
        validate_email(email)
    except ValidationError:
        raise ValidationError({"email": f"“{email[:80]}” is no email address"}) from None
    found = User.objects.select_for_update().filter(email=email.lower())
    user = found.first()
    if user is None:
        with contextlib.suppress(IntegrityError), transaction.atomic():  # two may invite the same person at once
            User.objects.create_user(email)
        user = found.get()
    return user


def check_role(actor: Actor, role: str) -> None:
    """Raise `ValidationError` unless `actor` may give, change and take this role: nobody one above their own."""
    if role not in ROLES:
        raise ValidationError(f"{role!r} is not a role; choose one of {', '.join(ROLES)}")
    if actor.kind != "system" and (actor.role is None or ROLES.index(role) > ROLES.index(actor.role)):
        raise ValidationError(f"{actor.name} is {actor.role} and cannot give, change or take the role {role}")


def keep_an_owner(membership: Membership) -> None:
    """Raise `ValidationError` for the last owner of the organisation; of two who go at once, one stays."""
    owners = Membership.objects.select_for_update().filter(role="owner")
    if membership.role == "owner" and membership.accepted_at and len(owners) == 1:
        raise ValidationError(f"{membership.user.email} is the last owner; make somebody else an owner first")
