"""Errors as `application/problem+json` (RFC 9457): what failed, on what, what to do."""

from typing import Any

import structlog
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions, status
from rest_framework.response import Response

from apps.access.check import Denied
from apps.tenants import failures

CONTENT_TYPE = "application/problem+json"

FULL = "the disk of the database is full: nothing was changed; free space there, then try again"
AWAY = "the database does not answer now; try again in a moment"


class NotSignedIn(exceptions.NotAuthenticated):
    default_detail = "sign in, or send an API token as `Authorization: Bearer ...`"


class Stale(exceptions.APIException):
    """If-Match does not hold: somebody changed the object meanwhile."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_detail = "the object changed since you read it; read it again and repeat your change"


class Conflict(exceptions.APIException):
    """The request contradicts what is there."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "the request contradicts the present state"


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. An error nobody foresaw is logged whole and answered with its request's id only."""
    request = context["request"]
    request_id = getattr(request, "request_id", "")
    if isinstance(error, Denied) and error.hidden:
        response = problem(404, "Not Found", "there is no such object here")
    elif isinstance(error, Denied):
        response = problem(403, "Forbidden", str(error))
    elif isinstance(error, Http404):
        response = problem(404, "Not Found", str(error) or "there is no such object here")
    elif isinstance(error, DjangoValidationError | exceptions.ValidationError):
        details = _details(error)
        response = problem(400, "Bad Request", "; ".join(d["message"] for d in details), errors=details)
    elif isinstance(error, exceptions.APIException):
        title = str(error.status_code) if error.status_code not in TITLES else TITLES[error.status_code]
        response = problem(error.status_code, title, str(error.detail))
        if header := getattr(error, "auth_header", None):
            response["WWW-Authenticate"] = header
        if wait := getattr(error, "wait", None):
            response["Retry-After"] = str(int(wait))
    elif isinstance(error, IntegrityError):
        structlog.get_logger("api").warning("conflict", exc_info=error)
        text = "somebody changed the same thing at the same moment; read it again and repeat"
        response = problem(409, "Conflict", text)
    elif isinstance(error, OperationalError | InterfaceError):
        structlog.get_logger("api").error("database failed", exc_info=error)
        response = problem(503, "Service Unavailable", FULL if failures.disk_full(error) else AWAY)
    elif isinstance(error, DataError):  # of PostgreSQL, before it stored anything: "value too long", "out of range"
        structlog.get_logger("api").warning("value does not fit", error=str(error))
        response = problem(400, "Bad Request", f"a value does not fit where it is kept: {str(error).splitlines()[0]}")
    else:
        structlog.get_logger("api").error("request failed", exc_info=error, database=isinstance(error, DatabaseError))
        response = problem(500, "Internal Server Error", "something failed here; the log tells under this request's id")
    response.data["request_id"] = request_id
    return response


def problem(code: int, title: str, detail: str, **more: Any) -> Response:
    """A problem document as a response."""
    body = {"type": "about:blank", "title": title, "status": code, "detail": detail} | more
    return Response(body, status=code, content_type=CONTENT_TYPE)


TITLES = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    412: "Precondition Failed",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


def _details(error: DjangoValidationError | exceptions.ValidationError) -> list[dict[str, str]]:
    """Every message with the path of the field it is about ("" for none)."""
    if isinstance(error, DjangoValidationError):
        found: Any = error.message_dict if hasattr(error, "error_dict") else error.messages
    else:
        found = error.detail
    return list(_flatten("", found))


def _flatten(path: str, found: Any) -> Any:
    if isinstance(found, dict):
        for key, value in found.items():
            inner = "" if key in ("non_field_errors", "__all__") else str(key)
            yield from _flatten(".".join(p for p in (path, inner) if p), value)
    elif isinstance(found, list | tuple):
        for index, value in enumerate(found):
            deeper = isinstance(value, dict | list)
            yield from _flatten(f"{path}.{index}" if deeper and path else str(index) if deeper else path, value)
    else:
        yield {"field": path, "message": str(found)}


def not_found(request: HttpRequest) -> JsonResponse:
    """An address below `/api/` that does not exist."""
    response = problem(404, "Not Found", f"there is no {request.path}; see /api/v1/schema")
    return JsonResponse(response.data, status=404, content_type=CONTENT_TYPE)
