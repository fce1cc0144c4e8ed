"""`omni kubeconfig` and `omni kube-token`, as people and kubectl run them."""

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from apps.accounts.models import AccessKey, ServiceAccount
from apps.clusters.models import Cluster
from apps.proxies import tokens
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from omni.cli import context as contexts
from talos.kubeconfig import Kubeconfig
from tests.apps.proxies.conftest import make_cluster
from tests.omni.conftest import Run

CREDENTIAL = "client.authentication.k8s.io"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own folders, empty."""
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "KUBECONFIG", "OMNI_CONFIG", "KUBERNETES_EXEC_INFO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def cluster(organisation: Organisation) -> Cluster:
    return make_cluster(organisation)


def kept(home: Path) -> list[Path]:
    return list((home / ".cache" / "omni" / "kubernetes").iterdir())


def test_the_plugin_prints_a_credential(run: Run, organisation: Organisation) -> None:
    printed = json.loads(run("kube-token", "--cluster", "prod").stdout)
    assert printed["apiVersion"] == f"{CREDENTIAL}/v1"
    assert printed["kind"] == "ExecCredential"
    claims = tokens.verify(printed["status"]["token"], organisation.id, "acme", "prod")
    assert printed["status"]["expirationTimestamp"] == claims.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_it_speaks_the_version_of_kubectl(run: Run, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    told = {"apiVersion": f"{CREDENTIAL}/{version}", "kind": "ExecCredential", "spec": {"interactive": False}}
    monkeypatch.setenv("KUBERNETES_EXEC_INFO", json.dumps(told))
    assert json.loads(run("kube-token", "--cluster", "prod").stdout)["apiVersion"] == f"{CREDENTIAL}/{version}"


@pytest.mark.parametrize(
    "told", ['{"apiVersion": "client.authentication.k8s.io/v1alpha1"}', "{", "[]", '{"apiVersion": 7}']
)
def test_versions_that_nobody_speaks_any_more(run: Run, monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("KUBERNETES_EXEC_INFO", told)
    result = run("kube-token", "--cluster", "prod", code=1)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1


def test_a_token_is_kept_for_its_owner_alone(run: Run, home: Path, organisation: Organisation) -> None:
    first = run("kube-token", "--cluster", "prod").stdout
    assert run("kube-token", "--cluster", "prod").stdout == first
    (file,) = kept(home)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with tenant_scope(organisation.id):
        assert AccessKey.objects.count() == 1
    assert run("kube-token", "--cluster", "prod", "--fresh").stdout != first
    with tenant_scope(organisation.id):
        assert AccessKey.objects.count() == 2


def test_not_for_the_last_five_minutes(run: Run, home: Path) -> None:
    first = run("kube-token", "--cluster", "prod").stdout
    (file,) = kept(home)
    soon = (datetime.now(UTC) + timedelta(minutes=4)).strftime("%Y-%m-%dT%H:%M:%SZ")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"expires_at": soon}))
    assert run("kube-token", "--cluster", "prod").stdout != first


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"token": "x", "expires_at": "yesterday"}', '{"token": "x", "expires_at": 7}']
)
def test_a_kept_file_that_is_broken(run: Run, home: Path, content: str) -> None:
    run("kube-token", "--cluster", "prod")
    kept(home)[0].write_text(content)
    assert json.loads(run("kube-token", "--cluster", "prod").stdout)["status"]["token"].count(".") == 2


def test_another_credential_gets_another_token(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch, api: Callable[..., APIClient]
) -> None:
    first = run("kube-token", "--cluster", "prod").stdout
    other = api("reader")._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    monkeypatch.setenv("OMNI_TOKEN", other)
    assert run("kube-token", "--cluster", "prod").stdout != first
    assert len(kept(home)) == 2


def test_what_goes_wrong_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("kube-token", "--cluster", "none", code=1)
    assert (result.stdout, len(result.stderr.splitlines())) == ("", 1)
    assert "none" in result.stderr
    monkeypatch.setenv("OMNI_TOKEN", "omni_wrong")
    result = run("kube-token", "--cluster", "prod", code=1)
    assert (result.stdout, len(result.stderr.splitlines())) == ("", 1)


def test_the_server_decides_which_context_speaks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    token = os.environ["OMNI_TOKEN"]
    for name in ("OMNI_URL", "OMNI_TOKEN", "OMNI_ORGANISATION"):
        monkeypatch.delenv(name)
    other = contexts.Context("https://elsewhere.example.com", "acme", "omni_other")
    mine = contexts.Context("https://omni.example.com", "", token)
    contexts.save(contexts.Contexts("other", {"other": other, "mine": mine}))
    words = ["kube-token", "--organisation=acme", "--cluster=prod"]
    assert json.loads(run(*words, "--server=https://omni.example.com/").stdout)["status"]["token"]
    refused = run(*words, "--server=https://third.example.com", code=1)
    assert "omni login https://third.example.com" in refused.stderr


def test_a_kubeconfig_on_the_terminal(run: Run) -> None:
    file = Kubeconfig.from_yaml(run("kubeconfig", "--cluster", "prod").stdout)
    assert file.current_context == "acme-prod"
    assert file.clusters["acme-prod"] == {"server": f"{settings.CONFIG.public_url}/k8s/acme/prod"}
    command = file.users["acme-prod-owner@acme.example.com"]["exec"]
    assert command["args"][0] == "kube-token"


def test_kubectl_finds_the_command(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a checkout it is on nobody's path."""

    def named() -> str:
        file = Kubeconfig.from_yaml(run("kubeconfig", "--cluster", "prod").stdout)
        return str(file.users["acme-prod-owner@acme.example.com"]["exec"]["command"])

    beside = tmp_path / "venv" / "omni"
    beside.parent.mkdir()
    beside.write_text("#!/bin/sh\n")
    beside.chmod(0o755)
    monkeypatch.setattr("omni.cli.kube.sys.executable", str(beside.with_name("python")))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert named() == str(beside)
    monkeypatch.setenv("PATH", str(beside.parent))
    assert named() == "omni"


def test_it_trusts_what_the_command_trusts(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("omni.cli.api.ssl.create_default_context", lambda **_: True)
    (tmp_path / "ca.crt").write_text("PEM")
    monkeypatch.setenv("OMNI_CA", str(tmp_path / "ca.crt"))
    file = Kubeconfig.from_yaml(run("kubeconfig", "--cluster", "prod", "--oidc").stdout)
    assert file.clusters["acme-prod"]["certificate-authority-data"] == "UEVN"
    args = file.users["acme-prod-owner@acme.example.com"]["exec"]["args"]
    assert "--certificate-authority-data=UEVN" in args
    assert "--oidc-extra-scope=cluster:prod" in args


def test_merged_into_the_file_that_is_there(run: Run, home: Path) -> None:
    path = home / ".kube" / "config"
    run("kubeconfig", "--cluster", "prod", "--merge")
    assert Kubeconfig.from_yaml(path.read_text()).current_context == "acme-prod"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    mine = {
        "clusters": [{"name": "home", "cluster": {"server": "https://10.0.0.1:6443"}}],
        "contexts": [{"name": "home", "context": {"cluster": "home", "user": "me"}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "current-context": "home",
    }
    path.write_text(json.dumps(mine))
    done = run("kubeconfig", "--cluster", "prod", "--merge")
    assert "acme-prod" in done.stdout
    file = Kubeconfig.from_yaml(path.read_text())
    assert set(file.contexts) == {"home", "acme-prod"}
    assert file.users["me"] == {"token": "secret"}


def test_a_file_that_cannot_be_read_stays(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / "config"
    path.write_text("clusters: 7")
    monkeypatch.setenv("KUBECONFIG", f"{path}:/nowhere")
    assert "nothing was changed" in run("kubeconfig", "--cluster", "prod", "--merge", code=1).stderr
    assert path.read_text() == "clusters: 7"


def test_for_a_service_account(run: Run, organisation: Organisation, tmp_path: Path) -> None:
    with tenant_scope(organisation.id):
        ServiceAccount.new(name="ci", role="operator")
    path = tmp_path / "ci.kubeconfig"
    words = ["--service-account", "ci", "--lifetime", "7d", "--name", "github", "--role", "reader", "--to", str(path)]
    run("kubeconfig", "--cluster", "prod", *words)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = Kubeconfig.from_yaml(path.read_text()).users["acme-prod-ci"]["token"]
    claims = tokens.verify(token, organisation.id, "acme", "prod")
    assert timedelta(days=6) < claims.expires_at - datetime.now(UTC) <= timedelta(days=7)
    with tenant_scope(organisation.id):
        key = AccessKey.objects.get()
        assert (key.name, key.role) == ("github", "reader")


@pytest.mark.parametrize(
    "words",
    [
        ["--service-account", "ci", "--endpoint", "own"],
        ["--merge", "--to", "x"],
        ["--lifetime", "7d"],
        ["--service-account", "ci", "--lifetime", "soon"],
        ["--service-account", "ci", "--lifetime", "7"],
        [],
    ],
)
def test_words_that_do_not_fit(run: Run, words: list[Any]) -> None:
    cluster = ["--cluster", "prod"] if words else []
    assert "Usage" in run("kubeconfig", *cluster, *words, code=2).stderr
