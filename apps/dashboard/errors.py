"""Pages of last resort. They are drawn without the database, which may be what failed."""

import sys
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

AWAY = (OperationalError, InterfaceError)
"""What is raised while the database does not answer."""

RETRY_SECONDS = 8


def server_error(request: HttpRequest) -> HttpResponse:
    """A view raised: say what still works, and the id under which the log has the reason."""
    if isinstance(sys.exc_info()[1], AWAY):
        return database_away(request)
    return render(request, "500.html", {"request_id": getattr(request, "request_id", "")}, status=500)


def database_away(request: HttpRequest) -> HttpResponse:
    """The database does not answer: a page that asks again by itself, unless something was to be changed."""
    again = RETRY_SECONDS if request.method in ("GET", "HEAD") else 0
    context = {"request_id": getattr(request, "request_id", ""), "again": again}
    headers = {"Retry-After": str(RETRY_SECONDS), "Cache-Control": "no-store"}
    return HttpResponse(render_to_string("503.html", context), status=503, headers=headers)


def refused(status: int, sentence: str) -> str:
    """The page for what is refused before anything reads it: 413 for a body that is too large, else 400."""
    return render_to_string(
        "413.html" if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else "400.html", {"why": sentence}
    )
