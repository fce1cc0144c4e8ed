"""What people change of themselves: their name, another organisation of theirs, their place in one."""

from typing import Any

from django.core.exceptions import ValidationError

from apps.access.actor import Actor
from apps.access.check import check
from apps.accounts.actions import create_organisation, keep_an_owner
from apps.accounts.credentials import revoke_all_of
from apps.accounts.models import Membership, User
from apps.audit.actions import record
from apps.reconcile.outbox import changed
from apps.tenants.models import Organisation
from apps.tenants.rls import ask
from apps.tenants.scope import tenant_scope

LONGEST_NAME = 120


def record_own(user: User, verb: str, request_id: str = "", source: str = "", **details: Any) -> None:
    """Add to the audit of each of a person's organisations what was done to their own account.

    Call it outside any organisation's scope.
    """
    for place in ask("memberships_of", user.id):
        organisation_id = place[0]
        with tenant_scope(organisation_id):
            actor = Actor("user", str(user.id), str(user), organisation_id, None, request_id, source)
            record(actor, verb, "account", user.id, user.email, **details)


def rename_person(user: User, name: str) -> None:
    """Change what a person is called; they do it themselves. Raises `ValidationError`."""
    user.name = _name(name, "your name")
    user.save(update_fields=["name"])


def open_organisation(actor: Actor, owner: User, name: str, slug: str) -> Organisation:
    """Make another organisation, owned by whoever asks: an owner of one already. Raises `Denied`, `ValidationError`.

    Call it outside any organisation's scope: the new one has its own.
    """
    check(actor, "organisation.create", slug)
    return create_organisation(_name(name, "the organisation"), slug, owner, made_by=actor.name)


def leave(actor: Actor) -> None:
    """End one's own membership, and one's API tokens and access keys here with it.

    Raises `Denied`, and `ValidationError` for the last owner.
    """
    check(actor, "organisation.leave")
    membership = Membership.objects.select_related("user").get(user_id=actor.id)
    keep_an_owner(membership)
    revoke_all_of(membership.user, actor.organisation_id)
    record(actor, "organisation.leave", "member", membership.id, membership.user.email, role=membership.role)
    changed("member", membership.id, actor.organisation_id)
    membership.delete()


def _name(given: str, whose: str) -> str:
    name = " ".join(given.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValidationError({"name": f"Give {whose} a name of 1 to {LONGEST_NAME} characters."})
    return name
