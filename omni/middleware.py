"""What every answer carries and every request leaves behind: an id, a content policy, a log line, a measurement."""

import time
from collections.abc import Callable

import structlog
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from prometheus_client import Histogram

from apps.accounts.identity import new_request_id, source_of
from apps.dashboard.errors import AWAY, database_away

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)  # style attributes carry the numbers of bars; style elements stay out
SECONDS = Histogram("omni_http_seconds", "Duration of HTTP requests", ["method", "route", "status"])
UNLOGGED = ("/healthz", "/readyz", "/metrics", "/static/")

log = structlog.get_logger("http")


class RequestMiddleware:
    """Gives `request.request_id`. The log line has the route, never a path's secrets or the query."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Log what a view did not foresee. Django answers it with 500, we with 503 while the database is away."""
        if not isinstance(error, Http404 | PermissionDenied):
            log.error("request failed", exc_info=error)
        return database_away(request) if isinstance(error, AWAY) else None

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        request.request_id = new_request_id(request.headers.get("X-Request-Id"))  # type: ignore[attr-defined]
        with structlog.contextvars.bound_contextvars(request=request.request_id):  # type: ignore[attr-defined]
            response = self.get_response(request)
            seconds = time.perf_counter() - started
            match = request.resolver_match
            route = match.route if match else ""
            SECONDS.labels(request.method, route, response.status_code).observe(seconds)
            if not request.path.startswith(UNLOGGED):
                log.info(
                    "request",
                    method=request.method,
                    route=route,
                    status=response.status_code,
                    ms=round(seconds * 1000, 1),
                    source=source_of(request.META),
                )
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        response.setdefault("Content-Security-Policy", CONTENT_POLICY)
        return response
