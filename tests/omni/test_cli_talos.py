"""talosctl's way in and access keys on the command line, against the real API in this process."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from apps.accounts.models import AccessKey
from apps.clusters.models import Cluster
from apps.tenants.scope import tenant_scope
from talos import serviceaccount
from talos.talosconfig import TalosConfig
from tests.omni.conftest import Run

OTHERS = "context: mine\ncontexts:\n    mine:\n        endpoints: [10.0.0.1]\n"


@pytest.fixture
def cluster(organisation: Any) -> str:
    with tenant_scope(organisation.id):
        versions = {"talos_version": "1.14.0", "initial_talos_version": "1.14.0", "kubernetes_version": "1.36.0"}
        return str(Cluster.new(name="prod", balancer_port=10000, **versions).name)


def test_a_talosconfig_without_a_secret(run: Run, cluster: str) -> None:
    context = TalosConfig.from_yaml(run("talosconfig", "--cluster", cluster).stdout).contexts["acme-prod"]
    assert (context.cluster, context.identity) == ("prod", "owner@acme.example.com")
    assert context.endpoints == [settings.CONFIG.public_url]
    assert not context.key
    whole = TalosConfig.from_yaml(run("talosconfig").stdout)
    assert (whole.context, whole.contexts["acme"].cluster) == ("acme", "")
    assert "there is no cluster" in run("talosconfig", "--cluster", "other", code=1).output


def test_a_talosconfig_with_a_certificate(run: Run, cluster: str, tmp_path: Path) -> None:
    file = tmp_path / "talosconfig"
    said = run("talosconfig", "--cluster", cluster, "--certificate", "--lifetime", "2h", "--to", str(file))
    assert "good until" in said.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    context = TalosConfig.from_yaml(file.read_text()).contexts["acme-prod"]
    assert context.crt
    assert context.key
    assert context.identity is None
    assert "24 hours at most" in run("talosconfig", "--certificate", "--lifetime", "25h", code=1).output


def test_merging_leaves_other_contexts_alone(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "talos" / "config"
    monkeypatch.setenv("TALOSCONFIG", str(file))
    run("talosconfig", "--merge")
    file.write_text(OTHERS)
    for _ in range(2):
        assert "context acme now" in run("talosconfig", "--merge").stdout
    merged = TalosConfig.from_yaml(file.read_text())
    assert (merged.context, sorted(merged.contexts)) == ("acme", ["acme", "mine"])
    file.write_text("contexts: 7")
    assert "nothing was changed" in run("talosconfig", "--merge", code=1).output
    assert file.read_text() == "contexts: 7"
    assert "not both" in run("talosconfig", "--merge", "--to", "x", code=2).output


def test_keys_are_listed_and_revoked(run: Run, organisation: Any) -> None:
    assert "No access key" in run("accesskeys", "list").output
    for _ in range(2):
        run("talosconfig", "--certificate")
    first, second = json.loads(run("accesskeys", "list", "-o", "json").stdout)
    assert (first["kind"], first["user"], first["state"]["word"]) == (
        "certificate",
        "owner@acme.example.com",
        "Not used yet",
    )
    assert "several are called" in run("accesskeys", "revoke", "talosctl", code=1).output
    assert "is revoked" in run("accesskeys", "revoke", first["id"]).stderr
    run("accesskeys", "revoke", second["fingerprint"])
    assert "No access key" in run("accesskeys", "list", "-q", "talos").output
    assert run("accesskeys", "list", "--all").stdout.count("Revoked") == 2
    with tenant_scope(organisation.id):
        assert not AccessKey.objects.filter(revoked_at=None)


def test_a_service_account_gets_a_key_that_only_it_has(run: Run, organisation: Any) -> None:
    run("serviceaccounts", "create", "ci", "--role", "operator")
    text = run("serviceaccounts", "key", "ci", "--days", "30", "--role", "reader", "--name", "pipeline").stdout.strip()
    name, key = serviceaccount.read_key(text)
    (row,) = json.loads(run("accesskeys", "list", "--service-account", "ci", "-o", "json").stdout)
    assert name == "ci"
    assert (row["name"], row["service_account"], row["role"]) == ("pipeline", "ci", "reader")
    assert row["fingerprint"] == key.public.fingerprint
    with tenant_scope(organisation.id):
        stored = AccessKey.objects.get()
        assert b"PRIVATE" not in bytes(stored.public)
    assert "there is no" in run("serviceaccounts", "key", "nobody", code=1).output
    assert "is not in the range" in run("serviceaccounts", "key", "ci", "--days", "366", code=2).output
