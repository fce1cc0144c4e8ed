"""The page of last resort."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def server_error(request: HttpRequest) -> HttpResponse:
    """A view raised: say what still works, and the id under which the log has the reason."""
    return render(request, "500.html", {"request_id": getattr(request, "request_id", "")}, status=500)
