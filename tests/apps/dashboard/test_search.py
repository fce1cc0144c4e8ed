"""One box over everything: what is called so first, a few of each kind, nothing that one may not list."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from apps.access.actor import Actor
from apps.accounts.identity import Place
from apps.accounts.models import Membership, User
from apps.clusters.models import Cluster
from apps.dashboard.search import EACH, LONGEST, PAGES, Hit, search
from apps.machines import actions
from apps.machines.models import Machine, MachineObservation
from apps.tenants.ids import uuid7
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

OTHERS = [Place(uuid7(), "halden", "Halden Energy", "reader")]


@pytest.fixture
def filled(organisation: Organisation, actor: Callable[..., Actor]) -> Organisation:
    with tenant_scope(organisation.id):
        for number, name in enumerate(("osl2-w-28", "w-28", "w-2", "ber-1", *(f"edge-{n}" for n in range(10)))):
            machine = Machine.new(uuid=f"00000000-0000-4000-8000-{number:012d}")
            MachineObservation.new(machine=machine, hostname=name, connected=True, addresses=[f"10.0.0.{number}/24"])
        for number, name in enumerate(("prod-osl", "osl")):
            Cluster.new(
                name=name, kubernetes_version="1.36.2", talos_version="1.13.8", initial_talos_version="1.13.8",
                balancer_port=10_000 + number,
            )  # fmt: skip
        actions.create_join_token(actor(), "rack osl")
        Membership.new(user=User.objects.create_user("ana@example.com"), role="reader")
    return organisation


def find(actor: Actor, text: str) -> list[Hit]:
    with tenant_scope(actor.organisation_id):
        return search(actor, "acme", text, OTHERS)


def names(actor: Actor, text: str, kind: str) -> list[str]:
    return [hit.name for hit in find(actor, text) if hit.kind == kind]


def test_what_is_called_so_comes_before_what_begins_so(filled: Organisation, actor: Callable[..., Actor]) -> None:
    assert names(actor(), "w-2", "machine") == ["w-2", "w-28", "osl2-w-28"]
    assert names(actor(), "OSL", "cluster") == ["osl", "prod-osl"]


def test_by_address_uuid_and_query(filled: Organisation, actor: Callable[..., Actor]) -> None:
    assert names(actor(), "10.0.0.3", "machine") == ["ber-1"]
    assert names(actor(), "8000-000000000003", "machine") == ["ber-1"]
    assert names(actor(), "connected=no", "machine") == []
    assert len(names(actor(), "edge", "machine")) == EACH


def test_pages_things_to_do_and_other_organisations(filled: Organisation, actor: Callable[..., Actor]) -> None:
    assert names(actor(), "new cluster", "act") == ["New cluster"]
    assert names(actor(), "password", "page") == ["Your account"]
    assert names(actor(), "halden", "organisation") == ["Halden Energy"]
    history = find(actor(), "a&b=c")[-1]
    assert (history.name, history.page) == ("What happened to “a&b=c”", "/o/acme/audit?q=a%26b%3Dc")


def test_without_words_the_pages(filled: Organisation, actor: Callable[..., Actor]) -> None:
    assert [hit.name for hit in find(actor(), "  ")] == [entry.name for entry in PAGES]


def test_what_one_may_not_list_is_not_found(filled: Organisation, actor: Callable[..., Actor]) -> None:
    assert names(actor("operator"), "rack", "join-token") == ["rack osl"]
    reader = find(actor("reader"), "osl")
    assert {hit.kind for hit in reader} == {"cluster", "machine"}
    assert names(actor("reader"), "ana@", "member") == ["ana@example.com"]
    assert "Audit" not in [hit.name for hit in find(actor("reader"), "")]


@pytest.mark.parametrize("text", ["\0", "%", "_", "'; DROP TABLE", "colour=blue", "label:(", "x" * (LONGEST * 50), "“"])
def test_whatever_is_typed(filled: Organisation, actor: Callable[..., Actor], text: str) -> None:
    assert all(hit.kind in ("audit", "page", "act") for hit in find(actor(), text))


def test_a_constant_number_of_queries(
    filled: Organisation, actor: Callable[..., Actor], django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(10):
        find(actor(), "osl")


def test_nothing_of_another_organisation(
    filled: Organisation, other_organisation: Organisation, actor: Callable[..., Actor]
) -> None:
    stranger = actor("owner", other_organisation)
    assert {hit.kind for hit in find(stranger, "osl")} == {"audit"}


def test_over_rest_and_in_the_page(
    filled: Organisation, api: Callable[..., APIClient], member: Callable[..., User]
) -> None:
    answer = api("admin").get("/api/v1/organisations/acme/search", {"q": "ber-1"}).json()
    assert answer["items"][0] == {
        "kind": "machine",
        "name": "ber-1",
        "detail": "machine, connecting",
        "page": "/o/acme/machines/00000000-0000-4000-8000-000000000003",
    }
    browser = Client()
    browser.force_login(member("reader"))
    text = browser.get("/o/acme/jump", {"q": "<b>nothing"}).content.decode()
    assert "Nothing here is called “&lt;b&gt;nothing”" in text
