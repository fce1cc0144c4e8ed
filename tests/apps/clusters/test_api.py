"""Clusters, templates and machine classes over REST."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import yaml
from rest_framework.test import APIClient

from apps.access.models import Policy
from apps.audit.models import AuditRecord
from apps.clusters.models import Cluster
from apps.machines.models import Machine
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from tests.apps.clusters.templates import template
from tests.apps.clusters.test_lifecycle import Lab
from tests.apps.clusters.world import World, uuid_of

Api = Callable[..., APIClient]
ACME = "/api/v1/organisations/acme"
SECRET = "hunter2-the-secret"


@pytest.fixture(name="api")
def one_client_a_role(api: Api) -> Api:
    """As `api`, but the same client for the same role."""
    return cache(api)


def changes_recorded() -> list[str]:
    return [verb for verb in AuditRecord.objects.values_list("verb", flat=True) if verb.startswith("cluster.")]


def sync(client: APIClient, text: str, **files: str) -> Any:
    return client.post(f"{ACME}/templates/sync", {"template": text, "files": files})


def test_a_cluster_from_template_to_ready(api: Api, world: World) -> None:
    client = api("operator")
    world.join(1)
    text = template([1], [2])
    planned = client.post(f"{ACME}/templates/plan", {"template": text})
    assert planned.status_code == 200, planned.content
    assert {change["act"] for change in planned.json()["changes"]} == {"create"}
    assert any("has not joined yet" in warning for warning in planned.json()["warnings"])
    assert sync(client, text).status_code == 200

    created = client.get(f"{ACME}/clusters/lab").json()
    assert (created["ready"], created["state"]["word"]) == (False, "Creating")
    world.run(lambda: "to join" in str(client.get(f"{ACME}/clusters/lab/status").json()["conditions"]))
    status = client.get(f"{ACME}/clusters/lab/status").json()
    waiting = next(item for item in status["conditions"] if item["state"] == "wait")
    assert waiting["message"] == f"Waiting for machine {uuid_of(2)} to join."
    assert waiting["since"]

    world.join(2)
    world.run(Lab(world).ready)
    status = client.get(f"{ACME}/clusters/lab/status").json()
    assert status["ready"]
    assert {step["state"] for step in status["steps"]} == {"ok"}
    assert [machine["state"]["word"] for machine in status["machines"]] == ["Ready", "Ready"]
    listed = client.get(f"{ACME}/clusters", {"q": "ready=true"}).json()["items"]
    assert [(item["name"], item["machines"]["ready"]) for item in listed] == [("lab", 2)]


def test_an_exported_template_changes_nothing(api: Api, world: World) -> None:
    client = api("operator")
    text = template([1], [2, 3], patch='{machine: {sysctls: {a: "1"}}}', workers_text="updateStrategy: {type: Rolling}")
    assert sync(client, text).status_code == 200
    exported = client.get(f"{ACME}/clusters/lab/template").json()["content"]
    again = client.post(f"{ACME}/templates/plan", {"template": exported}).json()
    assert (again["changes"], again["refusals"]) == ([], [])


def test_a_dry_run_changes_nothing(api: Api, world: World, organisation: Organisation) -> None:
    answer = api("operator").post(f"{ACME}/templates/sync?dry_run=true", {"template": template([1])})
    assert answer.status_code == 200
    with tenant_scope(organisation.id):
        assert not Cluster.objects.exists()
        assert not changes_recorded()


def test_files_of_a_template(api: Api, world: World) -> None:
    text = template([1]).replace("---\nkind: ControlPlane", "patches:\n  - file: p/ntp.yaml\n---\nkind: ControlPlane")
    client = api("operator")
    missing = sync(client, text)
    assert missing.status_code == 400
    assert "no such file" in missing.json()["detail"]
    assert sync(client, text, **{"p/ntp.yaml": "machine: {time: {servers: [ntp.example]}}"}).status_code == 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: Pod\n", "unknown model kind"),
        ("kind: Cluster\nnam: x\n", "nam"),
        (template([1, 1]), "duplicate"),
        (template([1], [1]), "both controlplane and workers"),
        (template([1], talos="1.13.8", kubernetes="1.20.0"), "too old to be used with Talos"),
        (template([1], patch="{machine: {token: x}}"), "machine.token"),
        (
            template([1]).replace("machines:", "bootstrapSpec: {clusterUUID: a, snapshot: b}\nmachines:"),
            "bootstrapSpec",
        ),
        (template([1], workers_text="machineClass: {name: none, size: 1}"), "class none, which does not exist"),
        ("a: &a [x]\nb: &b [*a, *a]\n", "kind"),
        (template([1]).replace("name: lab", "name: lab\nfeatures: {diskEncryption: true}"), "diskEncryption"),
        (
            template([1]).replace("---", "patches:\n  - file: ../../etc/passwd\n---", 1),
            "leaves the template's folder",
        ),
    ],
)
def test_bad_templates(api: Api, world: World, organisation: Organisation, text: str, words: str) -> None:
    answer = sync(api("operator"), text)
    assert answer.status_code == 400, answer.content
    assert words in answer.json()["detail"]
    with tenant_scope(organisation.id):
        assert not Cluster.objects.exists()
        assert not changes_recorded()


def test_versions_that_do_not_go_together(api: Api, world: World) -> None:
    world.join(1, version="1.14.1")
    answer = sync(api("operator"), template([1]))
    assert answer.status_code == 400
    assert "newer than 1.13.8 of the cluster" in answer.json()["detail"]


def test_what_is_not_acted_on_yet_is_said(api: Api, world: World) -> None:
    world.join(1)
    text = template([1]).replace("name: lab", "name: lab\nfeatures: {enableWorkloadProxy: true}")
    warnings = sync(api("operator"), text).json()["warnings"]
    assert "features.enableWorkloadProxy is stored and not acted on yet" in warnings


def test_two_organisations_with_one_name(
    api: Api, world: World, organisation: Organisation, other_organisation: Organisation
) -> None:
    assert sync(api("operator"), template([1])).status_code == 200
    with tenant_scope(other_organisation.id):
        assert not Cluster.objects.exists()
    assert api("operator").get("/api/v1/organisations/umbrella/clusters/lab").status_code == 404


def test_a_cluster_by_fields(api: Api, world: World) -> None:
    client = api("operator")
    wanted = {
        "name": "lab",
        "kubernetes_version": "1.36.3",
        "talos_version": "v1.13.8",
        "labels": {"team": "a"},
        "control_planes": {"machines": [uuid_of(1)]},
        "workers": [{"name": "gpu", "machines": [uuid_of(2)]}],
        "patches": [{"name": "ntp", "patch": "machine: {time: {servers: [ntp.example]}}"}],
    }
    created = client.post(f"{ACME}/clusters", wanted)
    assert created.status_code == 201, created.content
    assert created.json()["labels"] == {"team": "a"}
    assert client.post(f"{ACME}/clusters", wanted).status_code == 400
    assert client.put(f"{ACME}/clusters/lab", {**wanted, "labels": {}}).json()["labels"] == {}
    assert client.put(f"{ACME}/clusters/lab", {**wanted, "name": "other"}).status_code == 400
    gone = client.delete(f"{ACME}/clusters/lab")
    assert (gone.status_code, gone.json()["state"]["word"]) == (202, "Creating")
    world.run(Lab(world).gone)
    assert client.get(f"{ACME}/clusters/lab").status_code == 404


def test_break_glass(api: Api, world: World, organisation: Organisation) -> None:
    world.join(1)
    sync(api("operator"), template([1]))
    world.run(Lab(world).ready)
    assert api("operator").post(f"{ACME}/clusters/lab/talosconfig").status_code == 403
    talos = yaml.safe_load(api("admin").post(f"{ACME}/clusters/lab/talosconfig").json()["content"])
    assert talos["contexts"]["lab"]["endpoints"] == ["192.0.2.1"]
    kube = yaml.safe_load(api("admin").post(f"{ACME}/clusters/lab/kubeconfig").json()["content"])
    assert kube["clusters"][0]["cluster"]["server"] == "https://192.0.2.1:6443"
    with tenant_scope(organisation.id):
        assert {"cluster.talosconfig", "cluster.kubeconfig"} <= set(changes_recorded())


def test_secrets_show_nowhere(api: Api, world: World, organisation: Organisation) -> None:
    """A canary in a patch, and the cluster's own secrets, in everything a reader or operator sees but the template."""
    world.join(1)
    patch = f"{{machine: {{env: {{PASSWORD: x}}, registries: {{config: {{r: {{auth: {{password: {SECRET}}}}}}}}}}}}}"
    sync(api("operator"), template([1], patch=patch))
    world.run(Lab(world).ready)
    client = api("operator")
    pages = [
        client.get(f"{ACME}/clusters").content,
        client.get(f"{ACME}/clusters/lab").content,
        client.get(f"{ACME}/clusters/lab/status").content,
        client.get(f"{ACME}/clusters/lab/machines").content,
        client.get(f"{ACME}/clusters/lab/config", {"machine": uuid_of(1)}).content,
        api("admin").get(f"{ACME}/audit").content,
    ]
    with tenant_scope(organisation.id):
        cluster = Cluster.objects.select_related("secrets").get()
    from apps.clusters.credentials import bundle_of

    bundle = bundle_of(cluster.secrets)
    for page in pages:
        for secret in (SECRET, bundle.trustd_token, bundle.bootstrap_token, bundle.cluster_secret):
            assert secret.encode() not in page
    assert b"machine:" in pages[4]


def test_machine_classes(api: Api, world: World) -> None:
    client = api("operator")
    made = client.post(f"{ACME}/machine-classes", {"name": "big", "match_labels": ["omni.sidero.dev/cores > 4"]})
    assert made.status_code == 201, made.content
    assert client.post(f"{ACME}/machine-classes", {"name": "big", "match_labels": ["a"]}).status_code == 400
    assert client.post(f"{ACME}/machine-classes", {"name": "odd", "match_labels": ["a in ("]}).status_code == 400
    assert client.put(f"{ACME}/machine-classes/big", {"match_labels": ["a"]}).json()["match_labels"] == ["a"]
    sync(client, template([1], workers_text="machineClass: {name: big, size: 1}"))
    used = client.delete(f"{ACME}/machine-classes/big")
    assert used.status_code == 400
    assert "lab-workers" in used.json()["detail"]
    assert api("reader").get(f"{ACME}/machine-classes").json()["items"][0]["name"] == "big"


@pytest.mark.parametrize("on", [{"machine_labels": "zone = vault"}, {"clusters": ["lab"]}])
def test_a_class_in_use_gives_nobody_what_a_policy_keeps_from_them(api: Api, world: World, on: dict[str, Any]) -> None:
    """A class that was harmless when the cluster was synced, and is changed afterwards."""
    client = api("operator")
    world.join(1)
    world.join(2)
    with tenant_scope(world.organisation.id):
        Machine.objects.filter(uuid=uuid_of(2)).update(labels={"zone": "vault"})
    client.post(f"{ACME}/machine-classes", {"name": "big", "match_labels": ["zone = open"]})
    sync(client, template([1], workers_text="machineClass: {name: big, size: 1}"))
    with tenant_scope(world.organisation.id):
        Policy.new(name="vault", spec={"subjects": ["role:operator"], "effect": "limit", "role": "reader", **on})
    refused = client.put(f"{ACME}/machine-classes/big", {"match_labels": ["zone = vault"]})
    assert refused.status_code == 403, refused.content
    assert client.get(f"{ACME}/machine-classes/big").json()["match_labels"] == ["zone = open"]
    assert api("admin").put(f"{ACME}/machine-classes/big", {"match_labels": ["zone = vault"]}).status_code == 200
