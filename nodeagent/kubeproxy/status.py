"""Refusals and failures as Kubernetes says them: a `Status` object, whose message kubectl prints."""

import json
from http import HTTPStatus

import h11

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Failure(Exception):
    """The request has no answer of the cluster; the text says why, and what to do."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def answer(failure: Failure, method: bytes, *, last: bool) -> list[h11.Event]:
    """The events that tell a client. After the `last` answer the connection is closed."""
    body = json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(failure),
            "reason": _REASONS.get(failure.status, ""),
            "code": failure.status,
        }
    ).encode()
    headers = [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", str(len(body)).encode()),
        (b"Cache-Control", b"no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
    ]
    if failure.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"WWW-Authenticate", b"Bearer"))
    if last:
        headers.append((b"Connection", b"close"))
    reason = HTTPStatus(failure.status).phrase.encode()
    content = [] if method == b"HEAD" else [h11.Data(data=body)]
    return [h11.Response(status_code=failure.status, headers=headers, reason=reason), *content, h11.EndOfMessage()]
