"""Policies over REST: written, previewed, and what they then do to other requests."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.access.models import Policy
from apps.audit.models import AuditRecord
from apps.machines.models import Machine, MachineObservation
from apps.tenants.scope import tenant_scope
from tests.apps.access.conftest import ACME, UUIDS, House

LIFT = {"name": "deploy", "subjects": ["user:ana@example.com"], "role": "operator", "clusters": ["prod"]}
OUT = {"subjects": ["user:ana@example.com"], "effect": "limit", "role": "none"}


def test_a_policy_is_made_changed_and_ended(house: House) -> None:
    admin = house.client("admin")
    made = admin.post(f"{ACME}/policies", {**LIFT, "description": "CD"}, format="json")
    assert made.status_code == 201, made.content
    assert made.json()["clusters"] == ["prod"]
    assert (made.json()["effect"], made.json()["cluster_labels"]) == ("grant", "")
    again = admin.post(f"{ACME}/policies", LIFT, format="json")
    assert "there is a policy deploy already" in again.json()["detail"]
    shown = admin.get(f"{ACME}/policies/deploy")
    changed = admin.put(f"{ACME}/policies/deploy", {**shown.json(), "role": "admin"}, format="json",
                        HTTP_IF_MATCH=shown["ETag"])  # fmt: skip
    assert changed.status_code == 200, changed.content
    assert changed.json()["role"] == "admin"
    stale = admin.put(f"{ACME}/policies/deploy", LIFT, format="json", HTTP_IF_MATCH=shown["ETag"])
    assert stale.status_code == 412
    assert [row["name"] for row in admin.get(f"{ACME}/policies?q=ana").json()["items"]] == ["deploy"]
    assert admin.delete(f"{ACME}/policies/deploy").status_code == 204
    with tenant_scope(house.organisation.id):
        told = list(AuditRecord.objects.filter(object_kind="policy").order_by("at").values_list("verb", "object_name"))
    assert told == [(f"policy.{act}", "deploy") for act in ("create", "update", "delete")]


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ({**LIFT, "name": "No Name"}, "cannot be a name"),
        ({**LIFT, "colour": "red"}, "a policy has no such field"),
        ({**LIFT, "role": "owner"}, "you are admin and cannot give owner"),
        ({**LIFT, "kubernetes_groups": ["system:masters"]}, "only an owner gives it"),
        ({**LIFT, "kubernetes_groups": ["omni:owner"]}, "only an owner gives it"),
        ({**LIFT, "kubernetes_groups": ["omni:boss"]}, "there is no group omni:boss"),
        ({**LIFT, "name": 3}, "a text is expected"),
        (["x"], "an object with the fields of a policy"),
    ],
)
def test_what_an_admin_cannot_write(house: House, sent: Any, text: str) -> None:
    answer = house.client("admin").post(f"{ACME}/policies", sent, format="json")
    assert answer.status_code == 400
    assert text in answer.json()["detail"]
    with tenant_scope(house.organisation.id):
        assert not Policy.objects.exists()


def test_an_admin_cannot_undo_what_limits_them(house: House) -> None:
    house.policy("careful", subjects=["role:admin"], effect="limit", role="reader", clusters=["prod"])
    house.policy("boss", subjects=["user:x@y"], role="owner")
    admin, owner = house.client("admin"), house.client("owner")
    assert "limits you; an owner can change it" in admin.delete(f"{ACME}/policies/careful").json()["detail"]
    wish = {**LIFT, "name": "careful"}
    assert "limits you" in admin.put(f"{ACME}/policies/careful", wish, format="json").json()["detail"]
    assert "gives owner, and you are admin" in admin.delete(f"{ACME}/policies/boss").json()["detail"]
    assert owner.delete(f"{ACME}/policies/careful").status_code == 204


def test_a_lifted_reader_may_where_they_are_lifted(house: House) -> None:
    ana = house.client("reader", "ana@example.com")
    path = f"{ACME}/machines/{UUIDS['m-1']}/labels"
    assert ana.put(path, {"labels": {}}, format="json").status_code == 403
    house.policy("deploy", **{key: value for key, value in LIFT.items() if key != "name"})
    assert ana.put(path, {"labels": {}}, format="json").status_code == 200
    refused = ana.put(f"{ACME}/machines/{UUIDS['m-2']}/labels", {"labels": {}}, format="json")
    assert refused.status_code == 403
    assert refused.json()["detail"].startswith("machine.label needs operator on machine m-2; ana@example.com")
    assert ana.delete(f"{ACME}/clusters/stage").status_code == 403
    assert ana.delete(f"{ACME}/clusters/prod").status_code == 202
    assert ana.post(f"{ACME}/members", {"email": "b@c.d", "role": "reader"}, format="json").status_code == 403


def test_a_lesser_credential_is_not_lifted(house: House) -> None:
    house.policy("deploy", subjects=["*"], role="admin")
    client = house.client("operator", "ana@example.com")
    made = client.post(f"{ACME}/api-tokens", {"name": "less", "role": "reader"}, format="json").json()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {made['secret']}")
    refused = client.put(f"{ACME}/machines/{UUIDS['m-1']}/labels", {"labels": {}}, format="json")
    assert refused.status_code == 403
    assert "is reader with this credential" in refused.json()["detail"]


def test_a_limited_operator_may_not(house: House) -> None:
    ana = house.client("operator", "ana@example.com")
    house.policy("careful", **{**OUT, "role": "reader"}, machine_labels="disk = ssd")
    refused = ana.put(f"{ACME}/machines/{UUIDS['m-1']}/labels", {"labels": {}}, format="json")
    assert "ana@example.com (token" in refused.json()["detail"]
    assert "is reader there by policy careful" in refused.json()["detail"]
    assert ana.put(f"{ACME}/machines/{UUIDS['m-2']}/labels", {"labels": {}}, format="json").status_code == 200
    whole = ana.delete(f"{ACME}/clusters/prod")
    assert whole.status_code == 403, "the machine would be wiped"
    assert "machine m-1" in whole.json()["detail"]


@pytest.mark.parametrize("how", [{"clusters": ["prod"]}, {"cluster_labels": "env = prod"}])
def test_who_is_shut_out_of_a_cluster_sees_nothing_of_it(house: House, how: dict[str, Any]) -> None:
    ana = house.client("admin", "ana@example.com")
    house.policy("out", **OUT, **how)
    assert [row["name"] for row in ana.get(f"{ACME}/clusters").json()["items"]] == ["stage"]
    assert {row["hostname"] for row in ana.get(f"{ACME}/machines").json()["items"]} == {"m-2", "m-3"}
    nothing = ana.get(f"{ACME}/clusters/nothing").json()["detail"]
    for method, path in (
        ("get", ""),
        ("get", "/status"),
        ("get", "/template"),
        ("delete", ""),
        ("post", "/kubeconfig"),
    ):
        answer = getattr(ana, method)(f"{ACME}/clusters/prod{path}")
        assert answer.status_code == 404
        assert answer.json()["detail"].replace("prod", "nothing") == nothing
    for path in ("", "/events", "/logs"):
        assert ana.get(f"{ACME}/machines/{UUIDS['m-1']}{path}").status_code == 404
    status = ana.get(f"{ACME}/status").json()
    assert (status["machines"]["all"], status["clusters"]["all"]) == (2, 1)
    assert not [hit for hit in ana.get(f"{ACME}/search?q=prod").json()["items"] if hit["kind"] != "audit"]
    assert not [hit for hit in ana.get(f"{ACME}/search?q=m-1").json()["items"] if hit["kind"] == "machine"]
    assert ana.get(f"{ACME}/access/who?object=cluster/prod").status_code == 404
    assert ana.get(f"{ACME}/access/explain?verb=cluster.read&object=cluster/prod").status_code == 404


def test_who_is_shut_out_of_machines_sees_the_others(house: House) -> None:
    ana = house.client("operator", "ana@example.com")
    house.policy("out", **OUT, machine_labels="disk = ssd")
    assert {row["name"] for row in ana.get(f"{ACME}/clusters").json()["items"]} == {"prod", "stage"}
    assert {row["hostname"] for row in ana.get(f"{ACME}/machines").json()["items"]} == {"m-2", "m-3"}
    assert ana.get(f"{ACME}/clusters/prod/machines").json() == []
    assert ana.get(f"{ACME}/clusters/prod/status").json()["machines"] == []
    assert ana.get(f"{ACME}/clusters/prod/config?machine={UUIDS['m-1']}").status_code == 404


def test_labels_do_not_open_what_policies_close(house: House) -> None:
    ana = house.client("operator", "ana@example.com")
    house.policy("boss", subjects=["user:ana@example.com"], role="admin", machine_labels="team = a")
    refused = ana.put(f"{ACME}/machines/{UUIDS['m-3']}/labels", {"labels": {"team": "a"}}, format="json")
    assert refused.status_code == 403
    assert "policy boss would be otherwise about" in refused.json()["detail"]
    assert "let an admin do that" in refused.json()["detail"]
    fine = ana.put(f"{ACME}/machines/{UUIDS['m-3']}/labels", {"labels": {"team": "b"}}, format="json")
    assert fine.status_code == 200


def template(name: str, machine: str = "", labels: str = "") -> dict[str, str]:
    machines = f"machines:\n  - {machine}\n" if machine else "machines: []\n"
    return {
        "template": f"kind: Cluster\nname: {name}\n{labels}kubernetes:\n  version: v1.33.0\n"
        f"talos:\n  version: v1.10.0\n---\nkind: ControlPlane\n{machines}"
    }


def test_a_template_is_checked_on_its_cluster_and_each_machine(house: House) -> None:
    ana = house.client("reader", "ana@example.com")
    house.policy("own", subjects=["user:ana@example.com"], role="operator", clusters=["ana-*"])
    sync = f"{ACME}/templates/sync?dry_run=true"
    other = ana.post(sync, template("other", UUIDS["m-3"]), format="json")
    assert other.status_code == 403
    assert "template.sync needs operator on cluster other" in other.json()["detail"]
    taking = ana.post(sync, template("ana-1", UUIDS["m-3"]), format="json")
    assert taking.status_code == 403
    assert "template.sync needs operator on machine m-3" in taking.json()["detail"]
    assert (
        "machine m-3"
        in ana.post(f"{ACME}/templates/plan", template("ana-1", UUIDS["m-3"]), format="json").json()["detail"]
    )
    house.policy("free", subjects=["user:ana@example.com"], role="operator", machine_labels="!disk")
    assert ana.post(sync, template("ana-1", UUIDS["m-3"]), format="json").status_code in (200, 400)


def test_a_limit_by_labels_holds_for_new_clusters_too(house: House) -> None:
    ana = house.client("operator", "ana@example.com")
    house.policy("careful", **{**OUT, "role": "reader"}, cluster_labels="env = prod")
    wish = template("new", UUIDS["m-3"], "labels:\n  env: prod\n")
    refused = ana.post(f"{ACME}/templates/sync?dry_run=true", wish, format="json")
    assert refused.status_code == 403
    assert "is reader there by policy careful" in refused.json()["detail"]
    assert (
        ana.post(f"{ACME}/templates/sync?dry_run=true", template("new", UUIDS["m-3"]), format="json").status_code != 403
    )


def test_a_preview_says_whom_and_what_it_touches(house: House) -> None:
    admin = house.client("admin")
    house.client("reader", "ana@example.com")
    house.client("owner", "olga@example.com")
    wish = {"name": "x", "subjects": ["user:*"], "effect": "limit", "role": "none", "cluster_labels": "env = prod"}
    found = admin.post(f"{ACME}/policies/preview", wish, format="json").json()
    assert {holder["name"] for holder in found["holders"]} == {
        "admin@acme.example.com", "ana@example.com", "olga@example.com"
    }  # fmt: skip
    assert (found["clusters"], found["machines"], found["unbound"]) == (["prod"], 1, ["olga@example.com"])
    assert {"name": "ana@example.com", "before": "reader", "after": None, "on": ["prod"]} in found["changes"]
    with tenant_scope(house.organisation.id):
        assert not Policy.objects.exists()


def test_explain_and_who(house: House) -> None:
    admin, ana = house.client("admin"), house.client("reader", "ana@example.com")
    house.policy(
        "deploy", subjects=["user:ana@example.com"], role="operator", clusters=["prod"], kubernetes_groups=["dev"]
    )
    house.policy("out", **{**OUT, "subjects": ["role:reader"]}, clusters=["stage"])

    def explained(client: Any, **asked: str) -> dict[str, Any]:
        answer = client.get(f"{ACME}/access/explain", asked)
        assert answer.status_code == 200, answer.content
        return dict(answer.json())

    found = explained(admin, user="ana@example.com", verb="cluster.destroy", object="cluster/prod")
    assert (found["allowed"], found["held"], found["own"], found["decided_by"]) == (
        True,
        "operator",
        "reader",
        ["deploy"],
    )
    assert found["sentence"] == (
        "cluster.destroy needs operator on cluster prod; ana@example.com is operator there by deploy "
        "(reader in the organisation)."
    )
    boots = explained(ana, verb="talos:Reboot", object="machine/m-1")
    assert (boots["verb"], boots["allowed"]) == ("talos:machine.MachineService/Reboot", True)
    hidden = explained(admin, user="user:ana@example.com", verb="kubernetes", object="cluster/stage")
    assert (hidden["allowed"], hidden["hidden"], hidden["decided_by"]) == (False, True, ["out"])
    assert explained(ana, verb="kubernetes", object="cluster/prod")["groups"] == ["omni:operator", "dev"]
    assert "but a policy may let them on some object" in explained(ana, verb="cluster.destroy")["sentence"]
    who = admin.get(f"{ACME}/access/who", {"object": "cluster/stage"}).json()
    assert [(row["name"], row["role"], row["policies"]) for row in who["items"]] == [
        ("admin@acme.example.com", "admin", []), ("ana@example.com", None, ["out"])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        ({"verb": "x"}, 400, "there is no verb “x”"),
        ({"verb": "talos:Reboot"}, 400, "name one: machine/NAME"),
        ({"verb": "talos:Nothing", "object": "machine/m-1"}, 400, "“Nothing” is no Talos method"),
        ({"verb": "talos:List", "object": "machine/m-1"}, 400, "several methods"),
        ({"verb": "kubernetes", "object": "machine/m-1"}, 400, "name one: cluster/NAME"),
        ({"verb": "machine.read", "object": "cluster/prod"}, 400, "is about a machine"),
        ({"verb": "cluster.read", "object": "prod"}, 404, "write cluster/NAME or machine/NAME"),
        ({"verb": "cluster.read", "object": "cluster/x"}, 404, "there is no cluster x here"),
        ({"verb": "cluster.read", "user": "b@example.com"}, 403, "needs admin"),
    ],
)
def test_questions_that_make_no_sense(house: House, asked: dict[str, str], status: int, text: str) -> None:
    answer = house.client("reader").get(f"{ACME}/access/explain", asked)
    assert (answer.status_code, text in answer.json()["detail"]) == (status, True), answer.content


def test_of_nobody(house: House) -> None:
    answer = house.client("admin").get(f"{ACME}/access/explain", {"user": "x@y.z", "verb": "cluster.read"})
    assert "nobody in this organisation is called x@y.z" in answer.json()["detail"]


@pytest.mark.parametrize("where", ["machines", "clusters", "status", "search?q=m", "agents"])
def test_hiding_takes_as_many_queries_for_many(house: House, where: str) -> None:
    ana = house.client("operator", "ana@example.com")
    house.policy("out", **OUT, machine_labels="disk = ssd")
    house.policy("out-too", **OUT, clusters=["prod"])

    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert ana.get(f"{ACME}/{where}").status_code == 200
        return len(queries)

    asked()  # the token's use is noted once
    few = asked()
    with tenant_scope(house.organisation.id):
        for number in range(20):
            machine = Machine.new(uuid=f"00000000-0000-4000-8000-{number + 100:012d}", labels={"disk": "ssd"})
            MachineObservation.new(machine=machine, hostname=f"m-{number + 10}", connected=number % 2 == 0)
    assert asked() == few
