"""Commands against the real API in this process."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from rest_framework.test import APIClient
from structlog.testing import capture_logs

from omni.cli import api, history, main

Run = Callable[..., Result]


@pytest.fixture
def run(api_client: APIClient, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("members", "list")`: the command as its owner types it. Fails unless it ends as expected."""
    original = httpx.Client

    def answer(request: httpx.Request) -> httpx.Response:
        path, headers = request.url.raw_path.decode(), {"Authorization": request.headers["Authorization"]}
        with capture_logs():  # they would mix with what the command prints
            said = APIClient().generic(request.method, path, request.content, "application/json", headers=headers)
        return httpx.Response(said.status_code, headers=dict(said.items()), content=said.content)

    def client(**options: Any) -> httpx.Client:
        return original(**{**options, "transport": httpx.MockTransport(answer)})

    monkeypatch.setattr(api.httpx, "Client", client)
    monkeypatch.setattr(history, "FOLLOW_SECONDS", 0)
    monkeypatch.setenv("OMNI_URL", "https://omni.example.com")
    monkeypatch.setenv("OMNI_TOKEN", api_client._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer "))
    monkeypatch.setenv("OMNI_ORGANISATION", "acme")

    def type_in(*words: str, code: int = 0, **more: Any) -> Result:
        done = CliRunner().invoke(main, list(words), **more)
        assert done.exit_code == code, done.output
        return done

    return type_in


@pytest.fixture
def api_client(api: Callable[..., APIClient]) -> APIClient:
    return api("owner")
