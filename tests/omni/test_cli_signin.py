"""`omni login` by a browser, `omni logout`, `omni sessions`, against the real API in this process."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from django.test import Client
from rest_framework.test import APIClient
from structlog.testing import capture_logs

from apps.accounts.identity import from_token
from apps.accounts.models import BrowserSession, GrantRequest, User
from omni.cli import api, main, signin
from omni.cli import context as contexts

Run = Callable[..., Result]
URL = "https://omni.example.com"


@pytest.fixture
def run(organisation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("login", URL)`: the command, with contexts of its own and no browser here."""
    original = httpx.Client

    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"Authorization": given} if (given := request.headers.get("Authorization")) else {}
        with capture_logs():
            path = request.url.raw_path.decode()
            said = APIClient().generic(request.method, path, request.content, "application/json", headers=headers)
        return httpx.Response(said.status_code, headers=dict(said.items()), content=said.content)

    def client(**options: Any) -> httpx.Client:
        return original(**{**options, "transport": httpx.MockTransport(answer)})

    monkeypatch.setattr(api.httpx, "Client", client)
    monkeypatch.setenv("OMNI_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 22")
    for name in ("OMNI_URL", "OMNI_TOKEN", "OMNI_ORGANISATION"):
        monkeypatch.delenv(name, raising=False)

    def type_in(*words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(main, list(words))
        assert done.exit_code == code, done.output
        return done

    return type_in


@pytest.fixture
def person(member: Callable[..., User]) -> User:
    return member("admin")


@pytest.fixture
def answers(person: User, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the person answers, one for each time that the command waits; given instead of waiting."""
    given: list[str] = []
    browser = Client()
    browser.force_login(person)

    def answer(seconds: float) -> None:
        form = {"answer": given.pop(0), "organisation": "acme", "role": "operator"}
        browser.post(f"/grant/{GrantRequest.objects.get().id}", form)

    monkeypatch.setattr(signin.time, "sleep", answer)
    return given


def test_a_login_is_granted_in_a_browser_and_ended(run: Run, answers: list[str]) -> None:
    answers += ["nothing", "grant"]
    done = run("login", URL)
    asked = GrantRequest.objects.get()
    assert f"/grant/{asked.id}" in done.stderr
    assert asked.details["code"] in done.stderr
    assert "Signed in to https://omni.example.com as admin@acme.example.com, organisation acme." in done.stdout
    stored = contexts.load().contexts["default"]
    assert (stored.url, stored.organisation) == (URL, "acme")
    assert stored.token not in done.output
    identity = from_token(stored.token)
    assert identity is not None
    assert identity.token is not None
    assert identity.token.role == "operator"
    assert "Signed out" in run("logout").stdout
    assert from_token(stored.token) is None
    assert contexts.load().contexts == {}


def test_a_refused_login_stores_nothing(run: Run, answers: list[str]) -> None:
    answers.append("refuse")
    assert "was refused" in run("login", URL, code=1).output
    assert contexts.load().contexts == {}


def test_the_organisation_asked_for_is_shown_first(run: Run, answers: list[str]) -> None:
    answers.append("refuse")
    assert "?organisation=acme" in run("login", URL, "--organisation", "acme", code=1).stderr


def test_a_server_that_is_away_for_a_moment_is_waited_for(
    run: Run, answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers += ["nothing", "grant"]
    original, times = api.Api.call, []

    def call(self: api.Api, method: str, path: str, **options: Any) -> Any:
        if path.endswith("fetch"):
            times.append(path)
            if len(times) == 1:
                raise api.Away("it restarts")
        return original(self, method, path, **options)

    monkeypatch.setattr(api.Api, "call", call)
    assert "Signed in" in run("login", URL).stdout


def test_signing_out_of_a_server_that_is_gone_forgets_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts.save(contexts.Contexts("a", {"a": contexts.Context(URL, "acme", "omni_gone", "")}))
    done = run("logout")
    assert "was not revoked, and may still work" in done.stderr
    assert contexts.load().contexts == {}
    assert "there is no context" in run("logout", code=1).output


def test_sessions_are_listed_and_ended(run: Run, answers: list[str], person: User) -> None:
    answers.append("grant")
    run("login", URL)
    contexts.save(replace(contexts.load(), current="default"))
    elsewhere = Client()
    elsewhere.force_login(person)
    browser = BrowserSession.objects.get(session_key=elsewhere.session.session_key)
    browser.browser = "Firefox on Linux"
    browser.save()
    listed = run("sessions", "list").stdout
    assert "Firefox on Linux" in listed
    assert elsewhere.session.session_key not in listed
    assert "give the ID" in run("sessions", "end", code=2).output
    run("sessions", "end", "Firefox on Linux")
    assert elsewhere.get("/o/acme/").status_code == 302
    assert "there is no session" in run("sessions", "end", "Firefox on Linux", code=1).output
    run("sessions", "end", "--all")
    assert not BrowserSession.objects.exists()
    assert "revoked" in run("sessions", "list", code=1).output  # a browser had granted this login, too
