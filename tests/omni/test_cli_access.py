"""Policies on the command line: as files, previewed, explained."""

import json
from pathlib import Path

import click
import pytest

from tests.apps.access.conftest import House, house
from tests.omni.conftest import Run

__all__ = ["house"]

FILE = """
name: deploy
subjects: [role:reader]
role: operator
clusters: [prod]
---
name: careful
subjects: ["*"]
effect: limit
role: none
machine_labels: disk = ssd
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "policies.yaml"
    path.write_text(FILE)
    return str(path)


def test_policies_from_a_file(run: Run, house: House, file: str) -> None:
    house.client("reader", "ana@example.com")
    said = run("policies", "apply", "-f", file, "--dry-run").stdout
    assert "ana@example.com: reader -> operator on prod" in said
    assert "careful: 2 of the organisation; no cluster; 1 machines" in said
    assert "owner@acme.example.com: an owner, whom no limit binds" in said
    assert "No policy: everybody has their role everywhere" in run("policies", "list").stderr
    assert run("policies", "apply", "-f", file).stdout == "made deploy\nmade careful\n"
    assert run("policies", "apply", "-f", file).stdout == "changed deploy\nchanged careful\n"
    assert "role:reader" in run("policies", "list", "-q", "deploy").stdout
    kept = run("policies", "get", "careful").stdout
    assert run("policies", "apply", "-f", "-", input=kept).stdout == "changed careful\n"
    assert "limits none to * on machines disk = ssd" in run("policies", "delete", "careful", input="n\n", code=1).stdout
    run("policies", "delete", "careful", "--yes")
    assert "careful" not in run("policies", "list").stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nsubjects: [a@example.com]\nrole: reader", "write user:a@example.com"),
        ("name: [x", "is no YAML"),
        ("- x", "document 1: a policy is a mapping with a `name`"),
        ("", "has no document"),
    ],
)
def test_what_is_no_policy(run: Run, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    assert said in run("policies", "apply", "-f", str(path), code=1).output


def test_edit_keeps_the_name(run: Run, house: House, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run("policies", "apply", "-f", file)
    monkeypatch.setattr(click, "edit", lambda text, **_: text.replace("operator", "admin"))
    assert run("policies", "edit", "deploy").stdout == "changed deploy\n"
    assert json.loads(run("policies", "get", "deploy", "-o", "json").stdout)["role"] == "admin"
    monkeypatch.setattr(click, "edit", lambda text, **_: text.replace("name: deploy", "name: other"))
    assert "a policy keeps its name: deploy" in run("policies", "edit", "deploy", code=1).output
    monkeypatch.setattr(click, "edit", lambda text, **_: None)
    assert run("policies", "edit", "deploy").stdout == "nothing changed\n"


def test_explain_says_yes_and_no(run: Run, house: House, file: str) -> None:
    house.client("reader", "ana@example.com")
    run("policies", "apply", "-f", file)
    yes = run("access", "explain", "ana@example.com", "cluster.destroy", "cluster/prod").stdout
    assert yes.startswith(
        "yes: cluster.destroy needs operator on cluster prod; ana@example.com is operator there by deploy"
    )
    no = run("access", "explain", "ana@example.com", "talos:Version", "machine/m-1", code=1).stdout
    assert (
        "no: machine.MachineService/Version needs reader on machine m-1; ana@example.com is shut out by policy careful"
        in no
    )
    assert json.loads(run("access", "explain", "me", "policy.write", "-o", "json").stdout)["held"] == "owner"
    assert "there is no verb" in run("access", "explain", "me", "x", code=1).output
    who = run("access", "who", "cluster/prod").stdout
    assert "ana@example.com" in who
    assert "operator" in who
