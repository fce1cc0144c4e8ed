"""Templates that must not be synced, over REST: 400 with the reason, and nothing changed."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from apps.audit.models import AuditRecord
from apps.clusters.models import Cluster, MachineSetNode
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from tests.apps.clusters.templates import template
from tests.apps.clusters.world import World, uuid_of

ACME = "/api/v1/organisations/acme"


@pytest.fixture
def client(api: Callable[..., APIClient]) -> APIClient:
    made = api("operator")
    made.raise_request_exception = False
    return made


def sync(client: APIClient, text: str, **files: str) -> Any:
    return client.post(f"{ACME}/templates/sync", {"template": text, "files": files})


def refused(client: APIClient, organisation: Organisation, text: str, words: str, **files: str) -> None:
    """The sync is refused with these words, and leaves nothing: no cluster, no hint, no audit of one."""
    answer = sync(client, text, **files)
    assert answer.status_code == 400, answer.content
    assert words in answer.json()["detail"]
    with tenant_scope(organisation.id):
        assert not Cluster.objects.exists()
        assert not AuditRecord.objects.filter(object_kind="cluster").exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM reconcile_outbox WHERE kind = 'cluster'")
        assert cursor.fetchone() == (0,)


def with_file(path: str) -> str:
    return template([1]).replace("---", f"patches:\n  - file: {path}\n---", 1)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(template([1]) + "---\nkind: Pod\n", 'unknown model kind "Pod"', id="unknown kind"),
        pytest.param(template([1]) + "nodes: 3\n", "nodes", id="unknown field"),
        pytest.param(template([1]) + "---\n" + template([2]), "should contain 1 cluster, got 2", id="two clusters"),
        pytest.param(template([1, 1]), "duplicate", id="machine twice in a set"),
        pytest.param(template([1], [1]), "both controlplane and workers", id="machine in two sets"),
        pytest.param(template([1], [2]) + "---\nkind: Workers\nmachines: []\n", "duplicate", id="set twice"),
        pytest.param(with_file("none.yaml"), "open none.yaml: no such file or directory", id="missing file"),
        pytest.param(with_file("../../etc/passwd"), "leaves the template's folder", id="path escapes"),
        pytest.param(with_file("/etc/passwd"), "leaves the template's folder", id="absolute path"),
        pytest.param(with_file("a/../../b"), "leaves the template's folder", id="path escapes within"),
        pytest.param(BOMB, "too many nodes after expanding its aliases", id="alias bomb"),
        pytest.param("a: &a\n  b: *a\n", "contains itself", id="endless alias"),
        pytest.param("[" * 3000, "nesting", id="flow nesting"),
        pytest.param("\n".join(" " * n + "a:" for n in range(900)), "deeper than 500", id="block nesting"),
        pytest.param(template([1]) + "# \x01\n", "control characters", id="control character"),
        pytest.param(template([1], name="x" * 64), "at most 63 are kept", id="long name"),
        pytest.param(template([1], name="a/b"), "letters, digits, dashes", id="name with a slash"),
        pytest.param(template([1], name="é"), "ASCII", id="name that is no address"),
        pytest.param(template([1], workers_text=f"name: {'w' * 300}\nmachines: []"), "at most 130", id="long set name"),
        pytest.param(
            template([1], patch="{machine: {env: {A: b}}}").replace("sysctls", "p" * 400),
            "at most 253 are kept",
            id="long patch name",
        ),
        pytest.param(template([1]).replace(uuid_of(1), "x"), "invalid machine ID", id="no UUID"),
        pytest.param(
            template([1]).replace(uuid_of(1), "AAAAAAAA-0000-4000-8000-000000000001"),
            "write aaaaaaaa-0000-4000-8000-000000000001",
            id="UUID in capitals",
        ),
        pytest.param(template([1], kubernetes="1.20.0"), "too old to be used with Talos", id="old Kubernetes"),
        pytest.param(template([1], kubernetes="1.99.0"), "too new to be used with Talos", id="new Kubernetes"),
        pytest.param(template([1], talos="1.5.0"), "too old", id="old Talos"),
        pytest.param(template([1], talos="9.9.9"), "not supported", id="Talos of the future"),
        pytest.param(template([1], talos="1.13.x"), "semver", id="no version"),
        pytest.param(template([1], patch="{cluster: {secret: x}}"), "cluster.secret", id="forbidden field"),
        pytest.param(
            template(
                [1], patch="{apiVersion: v1alpha1, kind: KubeClusterConfig, clusterName: x, endpoint: 'https://x'}"
            ),
            "KubeClusterConfig",
            id="forbidden document",
        ),
        pytest.param(template([1], patch="{machine: {netwrk: {}}}"), "netwrk", id="unknown field of a patch"),
        pytest.param(
            template([1], patch="{machine: {network: {hostname: x}}}"),
            "patch 200-cluster-lab-sysctls: static hostname is already set",
            id="patch against the contract",
        ),
        pytest.param(
            template(
                [1],
                talos="1.9.0",
                kubernetes="1.32.0",
                patch="{apiVersion: v1alpha1, kind: UserVolumeConfig, name: data}",
            ),
            "UserVolumeConfig is known to Talos from 1.10 on, and the cluster has 1.9.0",
            id="patch newer than the contract",
        ),
        pytest.param(
            template([1], workers_text="machineClass: {name: none, size: 1}"),
            "class none, which does not exist; make it first",
            id="unknown class",
        ),
        pytest.param(
            template([1], workers_text="machineClass: {name: c, size: 99999999999999999999}"),
            "invalid machine count",
            id="count out of range",
        ),
    ],
)
def test_refused(client: APIClient, organisation: Organisation, text: str, words: str) -> None:
    refused(client, organisation, text, words)


def test_a_bomb_in_a_file(client: APIClient, organisation: Organisation) -> None:
    refused(client, organisation, with_file("p.yaml"), "too many nodes", **{"p.yaml": BOMB})


def test_a_machine_of_another_cluster(client: APIClient, organisation: Organisation) -> None:
    assert sync(client, template([1])).status_code == 200
    answer = sync(client, template([1], name="other"))
    assert answer.status_code == 400
    assert "belongs to cluster lab: remove it there first" in answer.json()["detail"]
    with tenant_scope(organisation.id):
        assert MachineSetNode.objects.get().machine_set.cluster.name == "lab"
        assert not Cluster.objects.filter(name="other").exists()


def test_a_refused_change_leaves_what_was(client: APIClient, organisation: Organisation) -> None:
    assert sync(client, template([1], [2], patch="{machine: {sysctls: {a.b: '1'}}}")).status_code == 200
    before = client.get(f"{ACME}/clusters/lab/template").json()["content"]
    generation = client.get(f"{ACME}/clusters/lab").json()["generation"]
    for worse in (
        template([2], [3]),
        template([1], [2], patch="{machine: {network: {hostname: x}}}"),
        template([1], [2], talos="1.12.0"),
    ):
        assert sync(client, worse).status_code == 400
    assert client.get(f"{ACME}/clusters/lab/template").json()["content"] == before
    assert client.get(f"{ACME}/clusters/lab").json()["generation"] == generation


def test_an_even_number_of_control_planes_is_a_warning(client: APIClient) -> None:
    answer = sync(client, template([1, 2]))
    assert answer.status_code == 200
    assert "2 control planes tolerate no more failures than 1: use an odd number" in answer.json()["warnings"]


def test_ten_thousand_lines(client: APIClient, organisation: Organisation, world: World) -> None:
    text = template([1]) + "---\nkind: Workers\nmachines:\n"
    text += "".join(f"- 22222222-0000-4000-8000-{number:012d}\n" for number in range(10_000))
    answer = client.post(f"{ACME}/templates/plan", {"template": text})
    assert answer.status_code == 200
    assert len(answer.json()["changes"]) == 10_004


def test_patches_are_looked_at_where_they_apply(client: APIClient) -> None:
    """One that is wrong for one machine only names that machine's patch, and says it once."""

    def refusals(patch: str) -> Any:
        machine = f"---\nkind: Machine\nname: {uuid_of(2)}\npatches:\n- name: host\n  inline: {patch}\n"
        planned = client.post(f"{ACME}/templates/plan", {"template": template([1], [2, 3]) + machine})
        return planned.json()["refusals"]

    wrong = "{machine: {network: {hostname: x}}}"
    assert refusals(wrong) == [f"patch 400-cm-{uuid_of(2)}-host: static hostname is already set in v1alpha1 config"]
    assert refusals("{apiVersion: v1alpha1, kind: HostnameConfig, auto: off, hostname: x}") == []


def test_a_disk_selector_that_is_no_expression(client: APIClient, organisation: Organisation) -> None:
    for selector, words in {"disk.colour == 'red'": "undefined field 'colour'", "disk.size": "expected bool"}.items():
        machine = f'---\nkind: Machine\nname: {uuid_of(1)}\ninstall:\n  diskSelector: "{selector}"\n'
        refused(client, organisation, template([1]) + machine, words)
