"""What is refused before anything reads it."""

import json
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from omni.asgi import application
from omni.limits import LARGEST_BODY


async def ask(path: str, query: bytes = b"", length: int | None = None, chunks: tuple[bytes, ...] = ()) -> Any:
    """Status and problem of a POST to the whole application."""
    headers = [(b"host", b"omni.example.com"), (b"content-type", b"application/json")]
    headers += [(b"content-length", str(length).encode())] if length is not None else []
    scope = {"type": "http", "method": "POST", "path": path, "query_string": query, "headers": headers}
    request = ApplicationCommunicator(application, scope)
    for number, chunk in enumerate(chunks, start=1):
        await request.send_input({"type": "http.request", "body": chunk, "more_body": number < len(chunks)})
    start = await request.receive_output(10)
    body = await request.receive_output(10)
    return start["status"], json.loads(body["body"])


@pytest.mark.parametrize(("path", "query"), [("/api/v1/organisations/a\0", b""), ("/o/acme/machines", b"q=%00")])
async def test_nul_in_an_address(path: str, query: bytes) -> None:
    status, problem = await ask(path, query)
    assert (status, problem["detail"]) == (400, "a NUL character cannot be part of an address")


async def test_a_body_that_says_it_is_too_large() -> None:
    status, problem = await ask("/api/v1/organisations/acme/templates/plan", length=LARGEST_BODY + 1)
    assert status == 413
    assert "at most 8 MiB" in problem["detail"]


async def test_a_body_that_does_not_say_how_large_it_is() -> None:
    chunk = bytes(LARGEST_BODY // 4)
    status, _ = await ask("/api/v1/organisations/acme/templates/plan", chunks=(chunk, chunk, chunk, chunk, b"x"))
    assert status == 413


async def test_nul_in_the_address_of_a_websocket() -> None:
    scope = {"type": "websocket", "path": "/o/acme/live", "query_string": b"kinds=%00", "headers": []}
    socket = ApplicationCommunicator(application, scope)
    await socket.send_input({"type": "websocket.connect"})
    assert (await socket.receive_output(10))["code"] == 4400


@pytest.mark.parametrize("path", ["/k8s/", "/k8s/acme/prod/api/v1/pods"])
async def test_requests_for_clusters_are_misdirected(path: str) -> None:
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    start = await ApplicationCommunicator(application, scope).receive_output(10)
    assert start["status"] == 421
    assert (b"connection", b"close") in start["headers"]
    socket = ApplicationCommunicator(application, {**scope, "type": "websocket"})
    await socket.send_input({"type": "websocket.connect"})
    assert (await socket.receive_output(10))["code"] == 4400
