"""One-time links: into an account without a password, and into an organisation by invitation.

Nobody proves an address to us, so a link is what binds: whoever opens the first link of a new account has the account,
and each organisation lets in only who opened a link of its own. So no organisation gives another one's place away.
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apps.access.actor import Actor
from apps.accounts.credentials import token_hash
from apps.accounts.models import Membership, SignInLink, User
from apps.accounts.states import claimed
from apps.audit.actions import record
from apps.reconcile.outbox import changed
from apps.tenants.models import Organisation
from apps.tenants.rls import ask
from apps.tenants.scope import tenant_scope

SIGN_IN_LINK_LIFE = timedelta(hours=1)
INVITATION_LIFE = timedelta(days=7)
OVER = "this link was used already or is too old; ask for a new one"


@dataclass(frozen=True)
class Opened:
    """A link that works. `signs_in`: it needs nobody signed in; `organisation` and `role` are an invitation's."""

    user: User
    signs_in: bool
    organisation: Organisation | None = None
    role: str = ""


def make_sign_in_link(user: User, life: timedelta = SIGN_IN_LINK_LIFE) -> str:
    """The path of a link that signs `user` in once, within `life`. Whoever calls this answers for who gets it."""
    return _store(SignInLink(user=user, expires_at=timezone.now() + life))


def make_invitation(membership: Membership) -> str:
    """The path of the only link that lets a person into the organisation in scope; the one before ends."""
    end_invitation(membership)
    link = SignInLink(
        user=membership.user,
        expires_at=timezone.now() + INVITATION_LIFE,
        organisation_id=membership.organisation_id,
        membership_id=membership.id,
    )
    return _store(link)


def end_invitation(membership: Membership) -> None:
    """Let an unused invitation open nothing."""
    SignInLink.objects.filter(membership_id=membership.id, used_at=None).delete()


def open_link(secret: str) -> Opened | None:
    """What a link opens; None when it works no more. Changes nothing."""
    link = _working(secret).first()
    if link is None:
        return None
    if link.organisation_id is None:
        return Opened(link.user, signs_in=True)
    with tenant_scope(link.organisation_id):
        membership = Membership.everybody.filter(id=link.membership_id).first()
        if membership is None:
            return None
        organisation = Organisation.objects.get(id=link.organisation_id)
    return Opened(link.user, _unclaimed(link), organisation, membership.role)


def take_link(secret: str, by: User | None, request_id: str = "", source: str = "") -> User:
    """Use a link up, and take up its invitation if it is one; the person that it is for.

    `by` is who is signed in. Raises `ValidationError` when it works no more, and for an invitation of an account that
    is somebody's already unless they opened it.
    """
    with transaction.atomic():
        link = _working(secret).select_for_update(of=("self", "user")).first()
        if link is None:
            raise ValidationError(OVER)
        signs_in = link.organisation_id is None or _unclaimed(link)
        if not signs_in and by != link.user:
            raise ValidationError(f"this invitation is for {link.user.email}; sign in as them")
        now = timezone.now()
        link.used_at = now
        link.save(update_fields=["used_at"])
        if signs_in:
            User.objects.filter(id=link.user_id).update(last_login=now)  # claimed: no other invitation signs in
        if link.organisation_id is not None:
            _join(link, request_id, source)
        return link.user


def _join(link: SignInLink, request_id: str, source: str) -> None:
    assert link.organisation_id is not None
    with tenant_scope(link.organisation_id):
        membership = Membership.everybody.filter(id=link.membership_id).first()
        if membership is None:
            raise ValidationError(OVER)
        if membership.accepted_at is None:
            membership.accepted_at = timezone.now()
            membership.save(update_fields=["accepted_at"])
        user, role = link.user, membership.role
        actor = Actor("user", str(user.id), str(user), link.organisation_id, role, request_id, source)
        record(actor, "member.join", "member", membership.id, user.email, role=role)
        changed("member", membership.id, link.organisation_id)


def _working(secret: str) -> "QuerySet[SignInLink]":
    return SignInLink.objects.select_related("user").filter(
        token_hash=token_hash(secret), used_at=None, expires_at__gt=timezone.now(), user__is_active=True
    )


def _unclaimed(link: SignInLink) -> bool:
    """Whether nobody has the account yet: it was never used, and no other organisation counts it as its own."""
    elsewhere = any(place[0] != link.organisation_id for place in ask("memberships_of", link.user_id))
    return not claimed(link.user) and not elsewhere


def _store(link: SignInLink) -> str:
    secret = secrets.token_urlsafe(32)
    link.token_hash = token_hash(secret)
    link.save(force_insert=True)
    return f"/accounts/link/{secret}"
