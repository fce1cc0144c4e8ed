"""Members, tokens, events, logs and classes on the command line, against the real API in this process."""

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from allauth.mfa.totp.internal.auth import TOTP
from click.shell_completion import ShellComplete
from django.utils import timezone
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.machines.models import LogChunk, MachineEvent, MachineObservation
from nodeagent.identity import Hardware
from omni.cli import INTERRUPTED, api, complete, main
from tests.apps.machines.desk import OTHER_UUID, UUID, Desk
from tests.apps.machines.test_agents import FOUND, OTHER_PRINT, enrolled, note
from tests.omni.conftest import Run


@pytest.fixture
def desk(organisation: Any) -> Desk:
    return Desk(organisation)


def test_members_from_invitation_to_removal(run: Run) -> None:
    link = run("members", "invite", "ben@example.com", "--role", "admin").stdout.strip()
    assert link.startswith("https://omni.example.com/accounts/link/")
    assert run("members", "link", "ben@example.com").stdout.strip() != link
    run("members", "role", "BEN@example.com", "operator")
    (ben,) = [row for row in json.loads(run("members", "list", "-o", "json").stdout) if row["email"].startswith("ben")]
    assert (ben["role"], ben["state"]["word"]) == ("operator", "Invited")
    assert (
        "Remove ben@example.com (operator)" in run("members", "remove", "ben@example.com", input="n\n", code=1).stdout
    )
    run("members", "remove", ben["id"], "--yes")
    assert "there is no member" in run("members", "role", "ben@example.com", "reader", code=1).output
    assert "last owner" in run("members", "remove", "owner@acme.example.com", "--yes", code=1).output
    assert "is not one of" in run("members", "invite", "x@example.com", "--role", "king", code=2).output


def test_a_members_credentials_are_revoked(run: Run, api: Callable[..., APIClient]) -> None:
    ben = api("admin")
    done = run("members", "revoke", "admin@acme.example.com", "--yes")
    assert done.stdout == "Revoked: 1 API tokens, 0 access keys.\n"
    assert ben.get("/api/v1/me").status_code == 401


def test_members_are_asked_for_a_second_factor(run: Run) -> None:
    assert "Set up a second factor of your own first" in run("orgs", "second-factor", "required", code=1).output
    assert "is optional in acme now" in run("orgs", "second-factor", "optional").stdout
    TOTP.activate(User.objects.get(email="owner@acme.example.com"), "A" * 32)
    assert "is required in acme now" in run("orgs", "second-factor", "required").stdout
    assert "acme" in run("orgs", "list").stdout, "tokens go on"


def test_api_tokens_are_printed_once(run: Run) -> None:
    secret = run("tokens", "create", "ci <b>", "--role", "operator", "--days", "7").stdout.strip()
    assert secret.startswith("omni_")
    assert secret not in run("tokens", "list", "-o", "yaml").stdout
    run("tokens", "create", "ci <b>")
    assert "several are called" in run("tokens", "revoke", "ci <b>", code=1).output
    ids = [row["id"] for row in json.loads(run("tokens", "list", "--unused", "-o", "json").stdout)]
    assert len(ids) == 2
    run("tokens", "revoke", ids[0])
    run("tokens", "revoke", "ci <b>")
    assert "ci <b>" not in run("tokens", "list").stdout
    assert run("tokens", "list", "--all").stdout.count("Revoked") == 2


def test_join_tokens_say_what_to_know_of_them(run: Run, desk: Desk) -> None:
    desk.joined()
    desk.new_token("rack", expires_at=timezone.now() + timedelta(hours=1))
    done = run("jointokens", "list")
    assert "rack: It ends soon" in done.stderr
    assert [row["use_count"] for row in json.loads(run("jointokens", "list", "-o", "json").stdout)] == [1, 0]
    assert desk.token in run("jointokens", "kernel-args").stdout
    assert run("jointokens", "secret", "default").stdout == f"{desk.token}\n"
    run("jointokens", "revoke", "rack")
    assert "default join token" in run("jointokens", "revoke", "default", code=1).output


@pytest.fixture
def machine(desk: Desk) -> str:
    """A machine `osl-1` with four lines and two events."""
    link, _ = desk.joined()
    lines = [(0, "info", "kern"), (1, "warn", "user"), (2, "error", "kern"), (0, "info", "kern")]
    said = [
        json.dumps({"msg": f"line {n}", "seq": seq, "talos-level": level, "facility": facility, "talos-time": "T"})
        for n, (seq, level, facility) in enumerate(lines)
    ]

    def write() -> None:
        MachineObservation.objects.update(hostname="osl-1")
        data = zlib.compress("\n".join(said).encode())
        LogChunk.new(machine_id=link.machine_id, first_line=1, lines=4, at=timezone.now(), data=data)
        for n, kind in enumerate(("PhaseEvent", "TaskEvent")):
            MachineEvent.new(machine_id=link.machine_id, at=timezone.now(), kind=kind, summary=f"event {n}")

    desk.ask(write)
    return "osl-1"


def test_logs_with_filters(run: Run, machine: str) -> None:
    assert run("logs", machine).stdout.splitlines() == [
        "T line 0", "T line 1", "T line 2", "---- the machine booted ----", "T line 3",
    ]  # fmt: skip
    assert run("logs", machine, "--tail", "1").stdout.splitlines()[-1] == "T line 3"
    assert run("logs", machine, "--level", "warn").stdout.splitlines() == ["T line 1", "T line 2"]
    assert run("logs", machine, "--facility", "user", "-q", "LINE").stdout.splitlines() == ["T line 1"]
    rows = [json.loads(line) for line in run("logs", machine, "-o", "json").stdout.splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3, 4]
    assert "is no time" in run("logs", machine, "--since", "yesterday", code=1).output
    assert run("logs", machine, "--since", "1h", "--tail", "0").stdout == ""
    assert run("machines", "logs", UUID).stdout == run("logs", machine).stdout


def test_an_authority_that_is_none_is_said_to_be(
    run: Run, machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNI_CA", str(tmp_path / "ca.crt"))
    assert f"{tmp_path}/ca.crt: No such file" in run("logs", machine, code=1).stderr
    (tmp_path / "ca.crt").write_text("no certificate")
    assert "holds no certificate in PEM" in run("logs", machine, code=1).stderr


def test_events_oldest_first(run: Run, machine: str) -> None:
    said = run("events", machine).stdout.splitlines()
    assert [line.split()[1:] for line in said] == [["PhaseEvent", "event", "0"], ["TaskEvent", "event", "1"]]
    assert run("events", machine, "--kind", "TaskEvent").stdout.splitlines() == said[1:]
    assert run("events", machine, "-o", "yaml").stdout.count("---\n") == 2


def test_following_goes_on_while_the_server_is_away(
    run: Run, machine: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original = api.Api.log

    def log(self: api.Api, path: str, query: dict[str, Any]) -> Any:
        calls.append(1)
        if len(calls) in (2, 3):
            raise api.Away("it restarts")
        if len(calls) == 5:
            raise KeyboardInterrupt
        if len(calls) == 4:
            assert query["after"] == 4
            desk.ask(lambda: LogChunk.new(**more(desk)))
        return original(self, path, query)

    monkeypatch.setattr(api.Api, "log", log)
    done = run("logs", machine, "-f", "--tail", "1", code=INTERRUPTED)
    assert done.stdout.splitlines()[-2:] == ["T line 3", "after the restart"]
    assert done.stderr.count("it restarts; going on when it is back") == 1


def more(desk: Desk) -> dict[str, Any]:
    machine_id = LogChunk.objects.values_list("machine_id", flat=True)[0]
    data = zlib.compress(b"after the restart")
    return {"machine_id": machine_id, "first_line": 5, "lines": 1, "at": timezone.now(), "data": data}


def test_machine_classes_from_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "classes.yaml"
    file.write_text("name: big\nmatch_labels: [zone = a, rack]\n---\nname: small\nmatch_labels: ['!zone']\n")
    assert run("machineclasses", "apply", "-f", str(file)).stdout.splitlines() == ["made big", "made small"]
    assert run("machineclasses", "apply", "-f", str(file)).stdout.splitlines() == ["changed big", "changed small"]
    printed = run("machineclasses", "get", "big").stdout
    assert run("machineclasses", "apply", "-f", "-", input=printed).stdout == "changed big\n"
    run("machineclasses", "delete", "small", "--yes")
    assert "small" not in run("machineclasses", "list").stdout


@pytest.mark.parametrize("text", ["", "a: [", "[]", "name: x", "name: x\nmatch_labels: y", "name: 3\nmatch_labels: []"])
def test_what_is_no_class(run: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "classes.yaml"
    file.write_text(text)
    run("machineclasses", "apply", "-f", str(file), code=1)


def offered(*words: str) -> list[str]:
    completion = ShellComplete(main, {}, "omni", "_OMNI_COMPLETE")
    return [item.value for item in completion.get_completions(list(words[:-1]), words[-1])]


def test_names_are_completed_by_the_server(run: Run, machine: str, desk: Desk) -> None:
    assert offered("logs", "osl") == ["osl-1"]
    assert offered("machines", "get", UUID[:4]) == [UUID]
    assert offered("jointokens", "revoke", "de") == ["default"]
    assert offered("members", "role", "owner@") == ["owner@acme.example.com"]
    assert offered("logs", "--organisation", "ac") == ["acme"]
    assert offered("logs", "--organisation", "umbrella", "osl") == []
    assert offered("cluster", "status", "") == []
    agent = enrolled(desk)
    note(agent, replace(FOUND, hardware=Hardware(OTHER_UUID, OTHER_PRINT)), "10.6.0.3", named=False)
    assert offered("agents", "targets", "ra") == ["rack-7"]
    assert offered("agents", "accept", "rack-7", "10.6") == ["10.6.0.3"]
    assert offered("agents", "accept", "rack-8", "10.6") == []
    assert offered("events", "\0") == []


def test_completion_is_silent_without_a_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMNI_CONFIG", str(tmp_path / "none.json"))
    monkeypatch.delenv("OMNI_URL", raising=False)
    context, argument = click.Context(main), click.Argument(["machine"])
    assert complete.machines(context, argument, "osl") == complete.contexts(context, argument, "") == []
    monkeypatch.setenv("OMNI_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("OMNI_TOKEN", "omni_x")
    assert complete.machines(context, argument, "osl") == complete.organisations(context, argument, "") == []
    (tmp_path / "none.json").write_text("{")
    assert complete.contexts(context, argument, "") == []


def test_every_command_teaches() -> None:
    """Each command and group has a help text and a short line for lists."""

    def walk(command: click.Command, context: click.Context) -> None:
        assert command.help, context.command_path
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                walk(found, click.Context(found, info_name=name, parent=context))

    walk(main, click.Context(main, info_name="omni"))
