"""Pages of policies: the form with its preview, the question who may do what, who reaches a cluster."""

import pytest
from django.test import Client

from apps.access.models import Policy
from apps.accounts.models import Membership, User
from apps.tenants.scope import tenant_scope
from tests.apps.access.conftest import House, house

__all__ = ["house"]

FORM = {
    "description": "CD",
    "subjects": "user:ana@example.com\nrole:operator",
    "effect": "grant",
    "role": "admin",
    "clusters": "prod",
}


def browser(house: House, role: str, email: str = "") -> Client:
    email = email or f"{role}@acme.example.com"
    user = User.objects.create_user(email)
    with tenant_scope(house.organisation.id):
        Membership.new(user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


def test_a_policy_is_written_read_and_ended(house: House) -> None:
    admin = browser(house, "admin")
    assert b"No policy: everybody has their role everywhere" in admin.get("/o/acme/policies").content
    made = admin.post("/o/acme/policies/new", {**FORM, "name": "deploy"})
    assert (made.status_code, made["Location"]) == (302, "/o/acme/policies/deploy")
    listed = admin.get("/o/acme/policies").content.decode()
    assert "ana@example.com and every operator" in listed
    assert "at least admin" in listed
    shown = admin.get("/o/acme/policies/deploy").content.decode()
    assert "user:ana@example.com\nrole:operator</textarea>" in shown
    admin.post("/o/acme/policies/deploy/edit", {**FORM, "name": "deploy", "role": "operator"})
    with tenant_scope(house.organisation.id):
        assert Policy.objects.get().rule.role == "operator"
    admin.post("/o/acme/policies/deploy/delete")
    with tenant_scope(house.organisation.id):
        assert not Policy.objects.exists()


def test_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(house: House) -> None:
    admin = browser(house, "admin")
    answer = admin.post("/o/acme/policies/new", {**FORM, "name": "x", "subjects": "ana@example.com", "role": "owner"})
    assert answer.status_code == 400
    text = answer.content.decode()
    assert "write user:ana@example.com" in text
    assert "ana@example.com</textarea>" in text
    assert 'value="CD"' in text
    assert b"is the name of a page" in admin.post("/o/acme/policies/new", {**FORM, "name": "new"}).content


def test_the_preview_says_whom_it_touches(house: House) -> None:
    admin = browser(house, "admin")
    browser(house, "reader", "ana@example.com")
    text = admin.post("/o/acme/policies/preview", FORM).content.decode()
    assert "reader → admin on prod" in text
    assert "clusters prod" not in text
    assert b"Name somebody" in admin.post("/o/acme/policies/preview", {**FORM, "subjects": ""}).content
    assert b"it changes nothing" in admin.post("/o/acme/policies/preview", {**FORM, "role": ""}).content


def test_a_reader_sees_policies_and_cannot_change_them(house: House) -> None:
    house.policy("boss", subjects=["*"], role="owner", clusters=["prod"])
    reader = browser(house, "reader")
    shown = reader.get("/o/acme/policies/boss")
    assert shown.status_code == 200
    assert b"Save policy" not in shown.content
    assert "reader → owner on prod" in shown.content.decode()
    assert reader.get("/o/acme/policies/new").status_code == 403


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            "verb=cluster.destroy&object=cluster/prod&user=ana@example.com",
            "ana@example.com is operator there by deploy",
        ),
        ("verb=cluster.destroy&object=cluster/stage&user=ana@example.com", "needs operator on cluster stage"),
        ("verb=nothing", "there is no verb “nothing”"),
        ("verb=cluster.read&object=cluster/x", "there is no cluster x here"),
        ("verb=cluster.read&user=x@y.z", "nobody in this organisation is called x@y.z"),
    ],
)
def test_the_question(house: House, asked: str, said: str) -> None:
    admin = browser(house, "admin")
    browser(house, "reader", "ana@example.com")
    house.policy("deploy", subjects=["user:ana@example.com"], role="operator", clusters=["prod"])
    assert said in admin.get(f"/o/acme/policies?{asked}").content.decode()


def test_who_reaches_a_cluster(house: House) -> None:
    reader = browser(house, "reader")
    browser(house, "admin", "ana@example.com")
    house.policy("out", subjects=["user:ana@example.com"], effect="limit", role="none", clusters=["prod"])
    text = reader.get("/o/acme/clusters/prod/who").content.decode()
    assert "Shut out" in text
    assert "omni:reader" in text
    assert "for ana@example.com: nothing (shut out), on cluster prod" in text
    shut_out = Client()
    shut_out.force_login(User.objects.get(email="ana@example.com"))
    assert shut_out.get("/o/acme/clusters/prod/who").status_code == 404
    assert shut_out.get("/o/acme/clusters/prod").status_code == 404
    assert b"prod" not in shut_out.get("/o/acme/clusters").content


def test_a_lifted_reader_sees_what_they_may_there(house: House) -> None:
    ana = browser(house, "reader", "ana@example.com")
    house.policy("deploy", subjects=["user:ana@example.com"], role="operator", clusters=["prod"])
    assert b"Destroy prod" in ana.get("/o/acme/clusters/prod").content
    assert b"Destroy stage" not in ana.get("/o/acme/clusters/stage").content
    refused = ana.post("/o/acme/clusters/stage/destroy", {"name": "stage"})
    assert refused.status_code == 403
    assert b"cluster.destroy needs operator on cluster stage; ana@example.com is reader" in refused.content
