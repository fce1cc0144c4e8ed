"""The box that finds anything, as pages open it."""

from django.http import HttpResponse
from django.shortcuts import render

from apps.dashboard.page import PageRequest, page
from apps.dashboard.search import search


@page("organisation.read")
def jump(request: PageRequest) -> HttpResponse:
    """What fits the words typed so far (`?q=`)."""
    query = request.GET.get("q", "")
    hits = search(request.actor, request.organisation.slug, query, request.places)
    return render(request, "shell/found.html", {"hits": hits, "query": query})
