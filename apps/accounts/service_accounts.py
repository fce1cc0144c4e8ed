"""Service accounts: programs that act by themselves, with a role of their own and as many credentials as they need."""

import re
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import check
from apps.accounts.actions import Shown, check_role, make_api_token
from apps.accounts.models import AccessKey, ApiToken, ServiceAccount
from apps.audit.actions import record
from apps.reconcile.outbox import changed

LONGEST_DESCRIPTION = 200

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

SORTS = {"name": ("name",), "role": ("role", "name"), "created": ("created_at",), "used": ("last_used_at", "name")}


def service_accounts() -> QuerySet[ServiceAccount]:
    """The service accounts of the organisation in scope, each with `tokens` and `keys`, how many usable API tokens and
    access keys it has, and `last_used_at`, when any of its credentials was."""
    living = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))

    def of(model: type[ApiToken] | type[AccessKey], **what: Count | Max) -> Subquery:
        (name,) = what
        rows = model.objects.filter(service_account=OuterRef("id")).order_by().values("service_account")
        if name == "number":
            rows = rows.filter(living)
        return Subquery(rows.annotate(**what).values(name))

    return ServiceAccount.objects.annotate(
        tokens=Coalesce(of(ApiToken, number=Count("id")), 0),
        keys=Coalesce(of(AccessKey, number=Count("id")), 0),
        last_used_at=Greatest(of(ApiToken, last=Max("last_used_at")), of(AccessKey, last=Max("last_used_at"))),
    )


def create(actor: Actor, name: str, role: str, description: str = "") -> ServiceAccount:
    """Make a service account. Raises `Denied`, `ValidationError`. Nobody gives a role above their own."""
    check(actor, "service-account.write", name)
    check_role(actor, role)
    if not _NAME.fullmatch(name):
        raise ValidationError({"name": f"“{name[:80]}” cannot be a name; use 1 to 63 of a-z, 0-9 and inner hyphens"})
    try:
        with transaction.atomic():
            row = ServiceAccount.new(name=name, role=role, description=_described(description), created_by=actor.name)
    except IntegrityError:
        raise ValidationError({"name": f"there is a service account {name} already"}) from None
    _record(actor, "create", row, role=role)
    return row


def update(actor: Actor, row: ServiceAccount, role: str, description: str) -> None:
    """Change role and description; what it holds acts with the new role from its next request on.

    Raises `Denied`, `ValidationError`.
    """
    check(actor, "service-account.write", row.name)
    check_role(actor, role)
    check_role(actor, row.role)
    before = row.role
    row.role, row.description = role, _described(description)
    row.save(update_fields=["role", "description"])
    _record(actor, "update", row, before=before, after=role)


def delete(actor: Actor, row: ServiceAccount) -> None:
    """End a service account and every credential of it, at once. Raises `Denied`, `ValidationError`."""
    check(actor, "service-account.write", row.name)
    check_role(actor, row.role)
    if actor.subject == f"service-account:{row.name}":
        raise ValidationError(f"{row.name} cannot delete itself; let somebody else do it")
    _record(actor, "delete", row, role=row.role)
    row.delete()


def create_token(
    actor: Actor, row: ServiceAccount, name: str, role: str = "", expires_at: datetime | None = None
) -> Shown:
    """Make an API token that acts for a service account, with its role or less. Raises `Denied`, `ValidationError`."""
    check(actor, "service-account.write", row.name)
    check_role(actor, row.role)
    return make_api_token(actor, row, name, role or row.role, expires_at)


def _record(actor: Actor, act: str, row: ServiceAccount, **details: str) -> None:
    record(actor, f"service-account.{act}", "service-account", row.id, row.name, **details)
    changed("service-account", row.id, actor.organisation_id)


def _described(text: str) -> str:
    text = " ".join(text.split())
    if len(text) > LONGEST_DESCRIPTION or not text.isprintable():
        raise ValidationError({"description": f"at most {LONGEST_DESCRIPTION} characters that can be printed"})
    return text
