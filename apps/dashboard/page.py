"""What every page has in common: who looks at it, for which organisation, and whether they may."""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode

from apps.access.actor import Actor
from apps.access.check import Denied, allowed, check
from apps.accounts.authentication import session_identity
from apps.accounts.identity import Place, actor_in, new_request_id, places, source_of
from apps.tenants.scope import tenant_scope

View = Callable[..., HttpResponse]


class PageRequest(HttpRequest):
    """A request inside a page: the actor and the organisation are known."""

    actor: Actor
    organisation: Place
    places: list[Place]


PAGES: dict[str, str] = {}
"""Name of each page's view function -> the verb it needs, for the permission matrix."""


def page(verb: str) -> Callable[[View], View]:
    """Make a view a page of one organisation (`/o/<slug>/...`): signed in, allowed `verb`, in the tenant's scope."""

    def decorate(view: View) -> View:
        PAGES[view.__name__] = verb

        @wraps(view)
        def inside(request: Any, slug: str, *args: Any, **kwargs: Any) -> HttpResponse:
            identity = session_identity(request)
            if identity is None:
                return redirect(f"/accounts/login/?{urlencode({'next': request.get_full_path()})}")
            request.places = places(identity.user)
            place = next((place for place in request.places if place.slug == slug), None)
            request_id = new_request_id(request.headers.get("X-Request-ID"))
            actor = place and actor_in(identity, place.organisation_id, request_id, source_of(request.META))
            if place is None or actor is None:
                raise Http404(f"you are in no organisation called {slug}")
            request.organisation, request.actor = place, actor
            try:
                with tenant_scope(place.organisation_id):
                    check(request.actor, verb)
                    response = view(request, *args, **kwargs)
                    response.headers.setdefault("Cache-Control", "no-store")  # not for whoever goes back afterwards
                    return response
            except Denied as refusal:
                return show(request, "denied.html", {"refusal": str(refusal)}, status=403)

        return inside

    return decorate


def in_order(rows: "QuerySet[Any]", sorts: Mapping[str, tuple[str, ...]], sort: str) -> "QuerySet[Any]":
    """Rows in the order that the address asks for: a key of `sorts`, with `-` in front downwards; by name otherwise."""
    first, *rest = sorts.get(sort.removeprefix("-"), sorts["name"])
    order = F(first).desc(nulls_last=True) if sort.startswith("-") else F(first).asc(nulls_last=True)
    return rows.order_by(order, *rest)


def start_of(request: HttpRequest) -> int:
    """The row that a further part of a list begins at (`?from=`); 0 for what is no such number."""
    given = request.GET.get("from", "")
    return int(given) if given.isdecimal() and len(given) < 10 else 0


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
    """A page with its frame. `section` is marked in the navigation, `live` names the kinds it hears changes of."""
    frame = {
        "organisation": request.organisation,
        "places": request.places,
        "actor": request.actor,
        "section": section,
        "live": live,
        "sees_join": allowed(request.actor, "join-token.list"),
    }
    return render(request, template, {**frame, **context}, status=status)
