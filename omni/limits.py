"""What is refused before anything reads it: bodies that are too large, addresses with NUL in them, and requests for
clusters, which the public port leads to the Kubernetes proxy unless their connection had asked for something else.
"""

import json
from typing import Any

LARGEST_BODY = 8 << 20
"""Bytes of a request's body. A template of 10,000 lines with the files it names has less than a tenth of it."""


MISDIRECTED = (
    "requests under /k8s/ need a connection of their own, or HTTP/2: a connection goes where its first one went"
)


class TooLarge(Exception):
    """More of a body came than is taken."""


class Limits:
    """ASGI around everything: answers 413, 421 and 400 by itself. NUL is refused since PostgreSQL cannot hold it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await _refuse(scope, receive, send, 400, "Bad Request", "a NUL character cannot be part of an address")
        elif scope["path"].startswith("/k8s/"):
            await _refuse(scope, receive, send, 421, "Misdirected Request", MISDIRECTED, (b"connection", b"close"))
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        taken = 0

        async def counted() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > LARGEST_BODY:
                raise TooLarge
            return message

        try:
            if _declared(scope) > LARGEST_BODY:
                raise TooLarge
            await self.app(scope, counted, send)
        except TooLarge:  # bodies are read whole before anything is answered
            sentence = f"the body is too large: at most {LARGEST_BODY >> 20} MiB are taken"
            await _refuse(scope, receive, send, 413, "Content Too Large", sentence)


def _declared(scope: dict[str, Any]) -> int:
    given = dict(scope["headers"]).get(b"content-length", b"0")
    return int(given) if given.isdigit() else 0


async def _refuse(
    scope: dict[str, Any], receive: Any, send: Any, status: int, title: str, sentence: str, *more: tuple[bytes, bytes]
) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4400, "reason": sentence})
        return
    from apps.dashboard.errors import refused  # settings read this module before there are apps
    from omni.middleware import CONTENT_POLICY

    if _by_browser(scope):
        kind, body = "text/html; charset=utf-8", refused(status, sentence)
    else:
        problem = {"type": "about:blank", "title": title, "status": status, "detail": sentence}
        kind, body = "application/problem+json", json.dumps(problem)
    headers = [(b"content-type", kind.encode()), (b"content-security-policy", CONTENT_POLICY.encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


def _by_browser(scope: dict[str, Any]) -> bool:
    """Whether somebody looks at the answer: a page was asked for."""
    accepted = dict(scope["headers"]).get(b"accept", b"")
    return b"text/html" in accepted and not scope["path"].startswith("/api/")
