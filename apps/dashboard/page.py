"""What every page has in common: who looks at it, for which organisation, and whether they may."""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import urlencode

from apps.access.actor import ROLES, Actor
from apps.access.check import Denied, allowed, allowed_somewhere, check_somewhere
from apps.access.verbs import VERBS
from apps.accounts.authentication import session_identity
from apps.accounts.identity import Place, actor_in, lacks_second_factor, new_request_id, places_of, source_of
from apps.accounts.models import Membership
from apps.dashboard import attention
from apps.dashboard.consumers import KINDS
from apps.tenants.scope import tenant_scope

View = Callable[..., HttpResponseBase]

HELPERS = 3
"""Admins and owners whom a refusal names."""

DROPPED = 6
"""Words of a query that finds nothing which are tried without."""

FRAME_KINDS = ("cluster", "machine")
"""What every page hears of, for the number of things that need somebody."""


class PageRequest(HttpRequest):
    """A request inside a page: the actor and the organisation are known."""

    actor: Actor
    verb: str  # of the page: what is checked again on the object that it is about
    organisation: Place
    places: list[Place]


PAGES: dict[str, str] = {}
"""Name of each page's view function -> the verb it needs, for the permission matrix."""


def page(verb: str, outside: bool = False) -> Callable[[View], View]:
    """Make a view a page of one organisation (`/o/<slug>/...`): signed in, allowed `verb`, in the tenant's scope.

    One that works `outside` begins after the scope in which the verb was checked, and opens another one.
    """

    def decorate(view: View) -> View:
        PAGES[view.__name__] = verb

        @wraps(view)
        def inside(request: Any, slug: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
            identity = session_identity(request)
            if identity is None:
                return redirect(f"/accounts/login/?{urlencode({'next': request.get_full_path()})}")
            request.places = places_of(identity)
            place = next((place for place in request.places if place.slug == slug), None)
            if place is not None and lacks_second_factor(identity, place):
                return redirect("mfa_index")
            request_id = new_request_id(request.headers.get("X-Request-ID"))
            actor = place and actor_in(identity, place.organisation_id, request_id, source_of(request.META))
            if place is None or actor is None:
                raise Http404(f"you are in no organisation called {slug}")
            if any("\0" in str(part) for part in kwargs.values()):
                raise Http404("a NUL character is in no name")
            request.organisation, request.actor, request.verb = place, actor, verb
            try:
                with tenant_scope(place.organisation_id):
                    check_somewhere(request.actor, verb)
                    response = None if outside else view(request, *args, **kwargs)
                response = response or view(request, *args, **kwargs)
                response.headers.setdefault("Cache-Control", "no-store")  # not for whoever goes back afterwards
                return response
            except Denied as refusal:
                if refusal.hidden:
                    raise Http404("there is no such object in this organisation") from None
                return _denied(request, refusal)

        return inside

    return decorate


def _denied(request: PageRequest, refusal: Denied) -> HttpResponse:
    """Say which role it takes, which one they have, and who can change that."""
    with tenant_scope(request.organisation.organisation_id):
        above = ROLES[ROLES.index("admin") :]
        people = Membership.objects.filter(role__in=above, user__is_active=True).select_related("user")
        names = [str(membership.user) for membership in people.order_by("created_at")[:HELPERS]]
        context = {"refusal": refusal, "helpers": names, "request_id": request.actor.request_id}
        return show(request, "denied.html", context, status=403)


def in_order(rows: "QuerySet[Any]", sorts: Mapping[str, tuple[str, ...]], sort: str) -> "QuerySet[Any]":
    """Rows in the order that the address asks for: a key of `sorts`, with `-` in front downwards; by name otherwise."""
    first, *rest = sorts.get(sort.removeprefix("-"), sorts["name"])
    order = F(first).desc(nulls_last=True) if sort.startswith("-") else F(first).asc(nulls_last=True)
    return rows.order_by(order, *rest)


def start_of(request: HttpRequest) -> int:
    """The row that a further part of a list begins at (`?from=`); 0 for what is no such number."""
    given = request.GET.get("from", "")
    return int(given) if given.isdecimal() and len(given) < 10 else 0


def drops(search: Callable[[str], int], text: str) -> list[tuple[str, int, str]]:
    """Which words of a query that finds nothing keep rows away: each with how many there are without it, and the rest.

    `search` counts the rows of a query.
    """
    words = text.split()[:DROPPED]
    rests = [(word, " ".join(words[:at] + words[at + 1 :])) for at, word in enumerate(words)]
    return [(word, number, rest) for word, rest in rests if rest and (number := search(rest))]


def headings(titles: Iterable[tuple[str, str]], query: str, sort: str) -> list[dict[str, str]]:
    """The heads of a table's columns, each (sort key, title): a link that sorts by it, or the other way round."""
    heads = []
    for key, title in titles:
        current = key != "" and sort.removeprefix("-") == key
        downwards = current and sort.startswith("-")
        href = "?" + urlencode({"q": query, "sort": f"-{key}" if current and not downwards else key}) if key else ""
        heads.append(
            {"title": title, "href": href, "sorted": ("descending" if downwards else "ascending") if current else ""}
        )
    return heads


def show(
    request: Any, template: str, context: dict[str, Any], section: str = "", live: str = "", status: int = 200
) -> HttpResponse:
    """A page with its frame. `section` is marked in the navigation, `live` names the kinds it hears changes of.

    Kinds that this person may not hear of are left out. Call it in the organisation's scope.
    """
    actor, place = request.actor, request.organisation
    kinds = dict.fromkeys([*(kind for kind in live.split(",") if kind), *FRAME_KINDS])
    frame = {
        "organisation": place,
        "places": request.places,
        "actor": actor,
        "section": section,
        "live": ",".join(kind for kind in kinds if allowed(actor, KINDS[kind])),
        "needs": attention.needs(actor, place.slug, timezone.now()),
        "may": {verb for verb in VERBS if allowed_somewhere(actor, verb)},
    }
    return render(request, template, {**frame, **context}, status=status)
