"""Pages of who and what may act: members with their roles and invitations, API tokens."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode
from uuid import uuid4

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from apps.access.actor import ROLES
from apps.access.check import allowed
from apps.access.models import Policy
from apps.access.verbs import VERBS
from apps.accounts import actions, links, queries, states
from apps.accounts.keys import access_keys
from apps.accounts.models import ApiToken, Membership, ServiceAccount, User
from apps.api.idempotency import LONGEST_KEY, done_once
from apps.api.problems import Conflict
from apps.dashboard.page import PageRequest, headings, in_order, page, show, start_of
from apps.machines.models import JoinToken
from apps.reconcile.conditions import Shown

ROWS = 50

LONGEST_DAYS = 4
"""Digits of the days that a token may live."""

MEMBER_COLUMNS = (("name", "Person"), ("role", "Role"), ("", "State"), ("", "API tokens"), ("joined", "Member since"),
                  ("seen", "Last sign-in"), ("", ""))  # fmt: skip

TOKEN_COLUMNS = (("name", "Token"), ("", "Role"), ("", "State"), ("created", "Made"), ("expires", "Ends"),
                 ("used", "Last used"), ("", ""))  # fmt: skip

TOKEN_VIEWS = (("living", "Usable"), ("soon", "Ends soon"), ("unused", "Not used yet"), ("ended", "Ended"))

MAY = (
    ("See machines, clusters, events and logs", "machine.logs"),
    ("Let machines in, label and forget them", "join-token.create"),
    ("Create, change and destroy clusters", "cluster.destroy"),
    ("Take break-glass files: talosconfig, kubeconfig", "cluster.talosconfig"),
    ("Invite people, change roles, end anybody’s tokens, read the audit", "member.invite"),
    ("Name the organisation, make somebody an owner", "organisation.update"),
)
"""What the roles differ in, each by a verb that stands for it."""


@dataclass(frozen=True)
class MemberRow:
    """A member as a row shows them. `kept`: why their role cannot be changed or taken by who looks, if so."""

    member: Membership
    state: Shown
    me: bool
    invited: bool
    kept: str


@dataclass(frozen=True)
class TokenRow:
    """An API token as a row shows it. `lowered`: its holder's role when that is below the token's own."""

    token: ApiToken
    state: Shown
    lowered: str
    mine: bool


@dataclass(frozen=True)
class Secret:
    """A credential just made: the one time that it is shown."""

    title: str
    text: str
    sentence: str


def roles_up_to(role: str | None) -> list[str]:
    """The roles that somebody with this one may give, the least first."""
    return list(ROLES[: ROLES.index(role) + 1]) if role else []


def tabs(request: PageRequest) -> dict[str, Any]:
    """What the tabs of these pages count."""
    sees_join = allowed(request.actor, "join-token.list")
    return {
        "people": Membership.everybody.count(),
        "accounts": ServiceAccount.objects.count(),
        "tokens": queries.view_of_api_tokens(queries.api_tokens(request.actor), "living").count(),
        "join_tokens": JoinToken.objects.filter(revoked_at=None).count() if sees_join else None,
        "keys": access_keys(request.actor).filter(revoked_at=None, expires_at__gt=timezone.now()).count(),
        "policies": Policy.objects.count(),
    }


def made_once(request: PageRequest, make: Callable[[], Any]) -> Any:
    """What `make` gives, a JSON value; a form that is sent twice is done once, and both times answered.

    Raises ValidationError, after which nothing is left of the attempt.
    """
    key = f"page {request.POST.get('once') or uuid4().hex}"[:LONGEST_KEY]
    fields = {name: value for name, value in request.POST.items() if name != "csrfmiddlewaretoken"}
    try:
        with transaction.atomic():
            return done_once(request.actor.id, key, f"{request.path}\n{sorted(fields.items())}", lambda: (200, make()))[
                1
            ]
    except Conflict:
        raise ValidationError("This form was used before with other values. Open it anew.") from None


def expiry(days: str) -> datetime | None:
    """The time after so many days; None, which is never, for nothing and 0. Raises ValidationError."""
    if days and not (days.isascii() and days.isdecimal() and len(days) <= LONGEST_DAYS):
        raise ValidationError(f"“{days[:20]}” is no number of days; no token was made.")
    return timezone.now() + timedelta(days=int(days)) if int(days or 0) else None


# Members


def _member_rows(request: PageRequest, members: Iterable[Any]) -> list[MemberRow]:
    """Rows of `queries.members()` as the page shows them."""
    now, actor = timezone.now(), request.actor
    may = allowed(actor, "member.update")
    below = roles_up_to(actor.role)
    last_owner = Membership.objects.filter(role="owner").count() == 1
    rows = []
    for member in members:
        kept = "" if may else "only admins change roles"
        if may and member.role not in below:
            kept = f"only an owner changes an {member.role}"
        elif may and member.role == "owner" and member.accepted_at and last_owner:
            kept = "the last owner stays"
        until = member.invited_until
        rows.append(
            MemberRow(
                member=member,
                state=states.member_state(member, until, now),
                me=str(member.user_id) == actor.id,
                invited=member.user.is_active and not (member.accepted_at and states.claimed(member.user)),
                kept=kept,
            )
        )
    return rows


def _members(request: PageRequest, secret: Secret | None = None) -> HttpResponse:
    query, sort, start = request.GET.get("q", ""), request.GET.get("sort", "name"), start_of(request)
    rows, error = queries.members(), ""
    try:
        rows = queries.search_members(rows, query)
    except ValueError as problem:
        error = str(problem)
    total = rows.count()
    window = list(in_order(rows, queries.MEMBER_SORTS, sort)[start : start + ROWS])
    more = start + len(window)
    context: dict[str, Any] = {
        "rows": _member_rows(request, window),
        "roles": roles_up_to(request.actor.role),
        "more": urlencode({"q": query, "sort": sort, "from": more}) if more < total else "",
        "organisation": request.organisation,
    }
    if start:
        return render(request, "people/member_rows.html", context)
    context |= {
        "query": query,
        "sort": sort,
        "error": error,
        "total": total,
        "columns": headings(MEMBER_COLUMNS, query, sort),
        "tabs": tabs(request),
        "can_invite": allowed(request.actor, "member.invite"),
        "once": uuid4().hex,
        "secret": secret,
        "all_roles": ROLES,
        "differences": [(words, [_may(role, verb) for role in ROLES]) for words, verb in MAY],
    }
    return show(request, "people/members.html", context, "members", "member,api-token")


def _may(role: str, verb: str) -> bool:
    return ROLES.index(role) >= ROLES.index(VERBS[verb])


def _member(member_id: str) -> Membership:
    found = queries.members().filter(id=member_id).first()
    if found is None:
        raise Http404("they are no member of this organisation any more")
    return found


@page("member.list")
def members(request: PageRequest) -> HttpResponse:
    """The people of the organisation, their roles and invitations."""
    return _members(request)


@page("member.list")
def member_row(request: PageRequest, member_id: str) -> HttpResponse:
    """One row of the list, for a live swap."""
    row = _member_rows(request, [_member(member_id)])[0]
    roles = roles_up_to(request.actor.role)
    return render(request, "people/member_row.html", {"row": row, "roles": roles, "organisation": request.organisation})


@page("member.list")
def member_count(request: PageRequest) -> HttpResponse:
    """How many members there are, beside what the page shows, for a live swap."""
    return _count(request, Membership.everybody.count(), "member", "member:*")


def _count(request: PageRequest, total: int, noun: str, topics: str) -> HttpResponse:
    shown = {"total": total, "shown": request.GET.get("shown", ""), "noun": noun, "topics": topics}
    return render(request, "includes/count.html", {**shown, "src": request.get_full_path()})


@page("member.invite")
def member_invite(request: PageRequest) -> HttpResponse:
    """Invite somebody, and show the link for them, once."""
    if request.method != "POST":
        return redirect("members", request.organisation.slug)
    email, role = request.POST.get("email", "").strip(), request.POST.get("role", "")
    try:
        path = made_once(request, lambda: actions.add_member(request.actor, email, role).sign_in_path)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("members", request.organisation.slug)
    return _members(request, _link(path, email))


@page("member.invite")
def member_link(request: PageRequest, member_id: str) -> HttpResponse:
    """A new link for somebody who did not come yet, shown once."""
    member = _member(member_id)
    if request.method != "POST":
        return redirect("members", request.organisation.slug)
    try:
        path = made_once(request, lambda: actions.renew_invitation(request.actor, member))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("members", request.organisation.slug)
    return _members(request, _link(path, member.user.email))


def _link(path: str, email: str) -> Secret:
    until = timezone.localtime(timezone.now() + links.INVITATION_LIFE).strftime("%-d %b %H:%M %Z")
    return Secret(
        title=f"Link for {email}",
        text=f"{settings.CONFIG.public_url}{path}",
        sentence=f"It is shown this once, lets them in once, and works until {until}. Send it where only they read."
        " Lost it? Make a new one; this one ends then.",
    )


@page("member.update")
def member_role(request: PageRequest, member_id: str) -> HttpResponse:
    """Change a member's role."""
    member = _member(member_id)
    if request.method == "POST":
        try:
            with transaction.atomic():
                actions.update_member(request.actor, member, request.POST.get("role", ""))
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
    return redirect("members", request.organisation.slug)


@page("member.update")
def member_revoke(request: PageRequest, member_id: str) -> HttpResponse:
    """End a member's API tokens and access keys here."""
    member = _member(member_id)
    if request.method == "POST":
        try:
            with transaction.atomic():
                tokens, keys = actions.revoke_credentials(request.actor, member)
            messages.success(request, f"Revoked of {member.user.email}: API tokens {tokens}, access keys {keys}.")
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
    return redirect("members", request.organisation.slug)


@page("member.remove")
def member_remove(request: PageRequest, member_id: str) -> HttpResponse:
    """End a membership, and the person's API tokens here."""
    member = _member(member_id)
    if request.method == "POST":
        try:
            with transaction.atomic():
                actions.remove_member(request.actor, member)
            messages.success(request, f"{member.user.email} is no member any more.")
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
    return redirect("members", request.organisation.slug)


# API tokens


def token_rows(request: PageRequest, tokens: Iterable[Any]) -> list[TokenRow]:
    """Rows of `queries.api_tokens()` as the page shows them."""
    now = timezone.now()
    rows = []
    for token in tokens:
        held = token.holder_role
        lowered = held if held and ROLES.index(held) < ROLES.index(token.role) else ""
        state = states.api_token_state(token, now)
        rows.append(TokenRow(token, state, lowered, mine=request.actor.id == str(token.user_id)))
    return rows


def _api_tokens(request: PageRequest, secret: Secret | None = None) -> HttpResponse:
    query, sort, start = request.GET.get("q", ""), request.GET.get("sort", "-created"), start_of(request)
    view = request.GET.get("view", "living")
    rows, error = queries.api_tokens(request.actor), ""
    counts = queries.count_api_tokens(rows)
    try:
        rows = queries.search_api_tokens(rows, query)
    except ValueError as problem:
        error = str(problem)
    rows = queries.view_of_api_tokens(rows, view)
    total = rows.count()
    window = list(in_order(rows, queries.TOKEN_SORTS, sort)[start : start + ROWS])
    more = start + len(window)
    context: dict[str, Any] = {
        "rows": token_rows(request, window),
        "everybodys": allowed(request.actor, "member.update"),
        "more": urlencode({"view": view, "q": query, "sort": sort, "from": more}) if more < total else "",
        "organisation": request.organisation,
    }
    if start:
        return render(request, "people/token_rows.html", context)
    context |= {
        "query": query,
        "sort": sort,
        "view": view,
        "views": [(name, words, counts[name]) for name, words in TOKEN_VIEWS],
        "counts": counts,
        "error": error,
        "total": total,
        "columns": headings(TOKEN_COLUMNS, query, sort),
        "tabs": tabs(request),
        "roles": roles_up_to(request.actor.role),
        "once": uuid4().hex,
        "secret": secret,
    }
    return show(request, "people/api_tokens.html", context, "members", "api-token,member")


def _token(request: PageRequest, token_id: str) -> ApiToken:
    found = queries.api_tokens(request.actor).filter(id=token_id).first()
    if found is None:
        raise Http404("no such API token, or it is somebody else's")
    return found


@page("api-token.list")
def api_tokens(request: PageRequest) -> HttpResponse:
    """Credentials for programs: one's own, and everybody's for admins."""
    return _api_tokens(request)


@page("api-token.list")
def api_token_row(request: PageRequest, token_id: str) -> HttpResponse:
    """One row of the list, for a live swap."""
    row = token_rows(request, [_token(request, token_id)])[0]
    everybodys = allowed(request.actor, "member.update")
    return render(
        request,
        "people/token_row.html",
        {"row": row, "everybodys": everybodys, "organisation": request.organisation},
    )


@page("api-token.list")
def api_token_count(request: PageRequest) -> HttpResponse:
    """How many tokens a view has, beside what the page shows, for a live swap."""
    rows = queries.view_of_api_tokens(queries.api_tokens(request.actor), request.GET.get("view", "living"))
    return _count(request, rows.count(), "token", "api-token:*")


@page("api-token.create")
def api_token_create(request: PageRequest) -> HttpResponse:
    """Make a token that acts for oneself, and show it once."""
    if request.method != "POST":
        return redirect("api-tokens", request.organisation.slug)
    name, role = request.POST.get("name", "").strip(), request.POST.get("role", "")

    def make() -> list[str]:
        ends = expiry(request.POST.get("days", ""))
        made = actions.create_api_token(request.actor, cast(User, request.user), name, role, ends)
        return [made.secret, f"{ends:%-d %b %Y}" if ends else ""]

    try:
        text, ends = made_once(request, make)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("api-tokens", request.organisation.slug)
    words = f"until {ends}" if ends else "without an end"
    sentence = "It is shown this once. We keep only a hash. Lost it? Make another and revoke this one."
    return _api_tokens(request, Secret(f"{name}, {role}, {words}", text, sentence))


@page("api-token.revoke")
def api_token_revoke(request: PageRequest, token_id: str) -> HttpResponse:
    """End a token at once."""
    token = _token(request, token_id)
    if request.method == "POST":
        actions.revoke_api_token(request.actor, token)
        messages.success(request, f"{token.name} is revoked. Nothing gets in with it any more.")
    return redirect("api-tokens", request.organisation.slug)
