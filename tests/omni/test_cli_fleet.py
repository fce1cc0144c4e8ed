"""`omni status`, `omni audit` and `omni orgs`, against the real REST interface in this process."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from rest_framework.test import APIClient
from structlog.testing import capture_logs

from apps.access.actor import Actor
from apps.accounts.actions import create_api_token
from apps.accounts.models import User
from apps.audit.actions import record
from apps.machines.actions import create_join_token
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from omni.cli import INTERRUPTED, context, fleet, history, main
from omni.cli.api import Api

URL = "https://omni.example.com"


class Django(httpx.BaseTransport):
    """The whole server in this process and transaction."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        kind, headers = request.headers.get("content-type", ""), {"authorization": request.headers["authorization"]}
        address = request.url.raw_path.decode()
        answer: Any = APIClient().generic(request.method, address, request.read(), content_type=kind, headers=headers)
        content = b"".join(answer) if answer.streaming else answer.content
        return httpx.Response(answer.status_code, headers={"content-type": answer["content-type"]}, content=content)


class InProcess(Api):
    """The REST client with Django at its other end."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", headers=self._client.headers, transport=Django())


@pytest.fixture
def omni(
    organisation: Organisation, member: Callable[..., User], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Result]:
    """`omni("status")`: the command, with an owner's token."""
    user = member("owner")
    with tenant_scope(organisation.id):
        acting = Actor("user", str(user.id), user.email, organisation.id, "owner")
        secret = create_api_token(acting, user, "cli", "owner").secret
    monkeypatch.setenv("OMNI_CONFIG", str(tmp_path / "config.json"))
    context.save(context.Contexts("default", {"default": context.Context(URL, "acme", secret)}))
    monkeypatch.setattr("omni.cli.api.Api", InProcess)

    def run(*words: str) -> Result:
        with capture_logs():
            return CliRunner().invoke(main, words)

    return run


def test_status(omni: Callable[..., Result], organisation: Organisation, actor: Callable[..., Actor]) -> None:
    assert omni("status").output == "Nothing needs you.\n\n0 machines\n0 clusters\n"
    with tenant_scope(organisation.id):
        create_join_token(actor(), "rack 7", datetime.now(UTC) + timedelta(hours=5))
    answer = omni("status").output
    assert answer.startswith("1 thing needs you\n  attention  Join token rack 7 expires")
    assert json.loads(omni("status", "-o", "json").output)["needs"][0]["name"] == "rack 7"
    assert "needs:\n- key: join-token/" in omni("status", "-o", "yaml").output


def test_audit(omni: Callable[..., Result], organisation: Organisation, actor: Callable[..., Actor]) -> None:
    with tenant_scope(organisation.id):
        record(actor("operator"), "cluster.destroy", "cluster", "", "lab")
    lines = omni("audit", "list", "--verb", "cluster.*", "--since", "1h", "--who", "operator").output.splitlines()
    assert len(lines) == 2
    assert "operator@example.com   cluster.destroy   cluster lab" in lines[1]
    assert "cluster.destroy" in omni("audit").output
    assert "No record matches." in omni("audit", "list", "--on", "nothing").output
    wrong = omni("audit", "list", "--since", "yesterday")
    assert wrong.exit_code == 1
    assert "is no time; give" in wrong.output


@pytest.mark.parametrize("form", ["text", "json"])
def test_audit_tail_goes_on_with_what_is_written(
    omni: Callable[..., Result],
    organisation: Organisation,
    actor: Callable[..., Actor],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    with tenant_scope(organisation.id):
        for name in ("one", "two"):
            record(actor(), "cluster.create", "cluster", "", name)
    rounds: list[float] = []

    def meanwhile(seconds: float) -> None:
        if rounds:
            raise KeyboardInterrupt
        rounds.append(seconds)
        with tenant_scope(organisation.id):
            record(actor(), "cluster.create", "cluster", "", "three")
            record(actor(), "machine.label", "machine", "", "other")

    monkeypatch.setattr(history.time, "sleep", meanwhile)
    ended = omni("audit", "tail", "-n", "1", "--verb", "cluster.*", "-o", form)
    assert ended.exit_code == INTERRUPTED
    output = ended.stdout.splitlines()
    if form == "json":
        assert [json.loads(line)["object_name"] for line in output if line.startswith("{")] == ["two", "three"]
    else:
        assert [line.split()[-1] for line in output if "cluster.create" in line] == ["two", "three"]


def test_audit_export(omni: Callable[..., Result], tmp_path: Path) -> None:
    answer = omni("audit", "export", "--to", str(tmp_path / "audit.csv"))
    assert answer.exit_code == 0, answer.output
    assert (tmp_path / "audit.csv").read_text().startswith("id,at,actor_kind,")
    assert "bytes" in answer.output
    nowhere = omni("audit", "export", "--to", str(tmp_path / "none" / "audit.csv"))
    assert (nowhere.exit_code, nowhere.stderr) == (1, f"Error: {tmp_path}/none/audit.csv: No such file or directory\n")
    refused = omni("audit", "export", "--since", "yesterday")
    assert refused.exit_code == 1
    assert "is no time" in refused.output


def test_orgs(omni: Callable[..., Result], other_organisation: Organisation) -> None:
    rows = json.loads(omni("orgs", "list", "-o", "json").output)
    assert rows == [{"slug": "acme", "name": "Acme", "role": "owner", "context": "default", "current": True}]
    refused = omni("orgs", "use", "umbrella")
    assert refused.exit_code == 1
    assert f"omni login {URL} --name umbrella --organisation umbrella" in refused.output
    stored = context.load()
    stored.contexts["u"] = context.Context(URL, "umbrella", "omni_x")
    context.save(stored)
    assert "Commands speak to umbrella now (context u)" in omni("orgs", "use", "umbrella").output
    assert context.load().current == "u"
    made = omni("--help")
    assert "orgs" in made.output


def test_making_one(omni: Callable[..., Result]) -> None:
    assert "halden   Halden Energy   owner" in omni("orgs", "create", "halden", "--name", "Halden Energy").output
    assert "exists already" in omni("orgs", "create", "halden").output


def test_completions(omni: Callable[..., Result]) -> None:
    def complete(function: Any, begun: str) -> list[str]:
        return [item.value for item in function(None, None, begun)]

    assert complete(fleet._known, "a") == ["acme"]
    assert complete(fleet._verbs, "cluster.d") == ["cluster.destroy"]
    assert "machine.*" in complete(fleet._verbs, "machine.")
