"""Reading members and API tokens: one query for a list, with what states and counts are made of."""

from typing import Any

from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import allowed
from apps.accounts.models import ApiToken, Membership, SignInLink
from apps.accounts.states import ENDS_SOON

MEMBER_SORTS = {
    "name": ("user__email",),
    "role": ("role", "user__email"),
    "joined": ("created_at",),
    "seen": ("user__last_login", "user__email"),
}

TOKEN_SORTS = {
    "name": ("name", "id"),
    "user": ("user__email", "name"),
    "created": ("created_at",),
    "expires": ("expires_at", "name"),
    "used": ("last_used_at", "name"),
}

VIEWS = ("living", "soon", "unused", "ended")
"""Parts of a list of tokens: usable, ending soon, never used, ended."""


def members() -> QuerySet[Membership]:
    """The members of the organisation in scope and those invited, each with its person, `invited_until` (the end of
    their unused link) and `tokens` (how many usable API tokens they have here)."""
    links = SignInLink.objects.filter(membership_id=OuterRef("id"), used_at=None).order_by("-expires_at")
    tokens = ApiToken.objects.filter(user=OuterRef("user")).filter(_living()).order_by()
    return Membership.everybody.select_related("user").annotate(
        invited_until=Subquery(links.values("expires_at")[:1]), tokens=_count(tokens.values("user"))
    )


def search_members(rows: QuerySet[Membership], text: str) -> QuerySet[Membership]:
    """Narrow by a text in address or name. Raises ValueError for a text that no name has."""
    text = searchable(text)
    return rows.filter(Q(user__email__icontains=text) | Q(user__name__icontains=text))


def api_tokens(actor: Actor) -> QuerySet[ApiToken]:
    """The API tokens that `actor` may see: one's own, and everybody's for admins; each with `holder_role`, the role
    that its person or service account has now, None when they are no member any more."""
    role = Membership.objects.filter(user=OuterRef("user")).values("role")
    rows = ApiToken.objects.select_related("user", "service_account").annotate(
        holder_role=Coalesce("service_account__role", Subquery(role[:1]))
    )
    if allowed(actor, "member.update"):
        return rows
    return rows.filter(Q(user_id=actor.id) | Q(service_account_id=actor.id))


def search_api_tokens(rows: QuerySet[ApiToken], text: str) -> QuerySet[ApiToken]:
    """Narrow by a text in the token's name or its holder's. Raises ValueError for a text that no name has."""
    text = searchable(text)
    holder = Q(user__email__icontains=text) | Q(service_account__name__icontains=text)
    return rows.filter(Q(name__icontains=text) | holder)


def view_of_api_tokens(rows: QuerySet[ApiToken], view: str) -> QuerySet[ApiToken]:
    """One of `VIEWS`; everything for anything else."""
    condition = _views().get(view)
    return rows.filter(condition) if condition is not None else rows


def count_api_tokens(rows: QuerySet[ApiToken]) -> dict[str, int]:
    """How many tokens each of `VIEWS` has, and `all`."""
    return rows.aggregate(all=Count("id"), **{name: Count("id", filter=part) for name, part in _views().items()})


def searchable(text: str) -> str:
    """A text to search for. Raises ValueError."""
    if "\0" in text:
        raise ValueError("a NUL character is in no name")
    return text.strip()


def _living() -> Q:
    return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


def _views() -> dict[str, Q]:
    soon = timezone.now() + ENDS_SOON
    return {
        "living": _living(),
        "soon": _living() & Q(expires_at__lt=soon),
        "unused": _living() & Q(last_used_at=None),
        "ended": ~_living(),
    }


def _count(grouped: QuerySet[Any, Any]) -> Coalesce:
    counted = grouped.annotate(number=Count("id")).values("number")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
