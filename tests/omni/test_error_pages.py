"""What a browser is shown when something fails: in words, with the content policy, and never a bare code."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import InterfaceError, OperationalError
from django.test import Client

from apps.accounts.models import User
from apps.dashboard import home
from omni.asgi import application
from omni.limits import LARGEST_BODY


@pytest.fixture
def browser(member: Callable[..., User]) -> Client:
    """Somebody signed in as a reader."""
    client = Client(raise_request_exception=False)
    client.force_login(member("reader"))
    return client


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
@pytest.mark.parametrize("method", ["get", "post"])
def test_the_database_is_away(
    browser: Client, monkeypatch: pytest.MonkeyPatch, error: type[Exception], method: str
) -> None:
    def away(*_: Any) -> None:
        raise error("no route to host")

    monkeypatch.setattr(home.attention, "fleet", away)
    answer = getattr(browser, method)("/o/acme/")
    text = answer.content.decode()
    assert answer.status_code == 503
    assert answer["Retry-After"] == "8"
    assert "your fleet did not" in text
    assert answer["X-Request-Id"] in text
    assert "no route" not in text
    assert ('http-equiv="refresh"' in text) == (method == "get"), "what changes something is not sent again by itself"


def test_the_database_is_away_before_anybody_is_known(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    def away(*_: Any) -> None:
        raise OperationalError

    monkeypatch.setattr("apps.dashboard.page.session_identity", away)
    assert Client(raise_request_exception=False).get("/o/acme/").status_code == 503


def test_something_nobody_foresaw(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home.attention, "fleet", lambda *_: 1 / 0)
    answer = browser.get("/o/acme/")
    assert answer.status_code == 500
    assert answer["X-Request-Id"] in answer.content.decode()
    assert "division" not in answer.content.decode()


def test_no_permission_says_who_can_change_it(browser: Client, member: Callable[..., User]) -> None:
    admin, owner = member("admin"), member("owner")
    member("operator")
    answer = browser.get("/o/acme/audit")
    text = answer.content.decode()
    assert answer.status_code == 403
    assert "audit.list needs admin in this organisation; reader@acme.example.com is reader" in text
    assert f"{admin}, {owner} can change your role" in text


def test_a_form_that_is_too_old(member: Callable[..., User]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(member("owner"))
    answer = client.post("/o/acme/settings/name", {"name": "Other"})
    assert answer.status_code == 403
    assert "This page was too old to send its form" in answer.content.decode()


async def ask(path: str, accept: bytes, query: bytes = b"") -> tuple[int, dict[bytes, bytes], str]:
    """Status, headers and body of a POST with a body that says it is too large."""
    headers = [(b"host", b"omni.example.com"), (b"accept", accept), (b"content-length", str(LARGEST_BODY + 1).encode())]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": query, "headers": headers}
    request = ApplicationCommunicator(application, scope)
    start = await request.receive_output(10)
    return start["status"], dict(start["headers"]), (await request.receive_output(10))["body"].decode()


async def test_a_body_that_is_too_large() -> None:
    status, headers, text = await ask("/o/acme/template/sync", b"text/html,*/*;q=0.8")
    assert status == 413
    assert headers[b"content-type"].startswith(b"text/html")
    assert b"script-src 'self'" in headers[b"content-security-policy"]
    assert "at most 8 MiB are taken" in text
    status, headers, text = await ask("/api/v1/organisations/acme/templates/sync", b"text/html")
    assert json.loads(text)["status"] == 413


async def test_nul_in_an_address() -> None:
    status, _, text = await ask("/o/acme/machines", b"text/html", b"q=%00")
    assert status == 400
    assert "a NUL character cannot be part of an address" in text
