"""The own endpoint in REST and on pages."""

from collections.abc import Callable

import pytest
import yaml
from django.test import Client
from rest_framework.test import APIClient

from apps.access.actor import system
from apps.accounts.models import User
from apps.dashboard.effects import effects, names_of
from apps.dashboard.example import example
from apps.tenants.scope import tenant_scope
from tests.apps.clusters.templates import template
from tests.apps.clusters.test_endpoint_plans import URL, behind_agents, own, review
from tests.apps.clusters.test_lifecycle import Lab
from tests.apps.clusters.world import World, uuid_of

ACME = "/api/v1/organisations/acme"


@pytest.fixture
def pages(member: Callable[..., User]) -> Client:
    client = Client()
    client.force_login(member("owner"))
    return client


def test_rest_takes_and_shows_it(api: Callable[..., APIClient], world: World) -> None:
    world.join(1)
    wanted = {
        "name": "lab",
        "kubernetes_version": "1.36.3",
        "talos_version": "1.13.8",
        "endpoint": {"address": "k8s.example.org"},
        "control_planes": {"machines": [uuid_of(1)]},
    }
    client = api("admin")
    assert client.post(f"{ACME}/clusters", wanted).status_code == 201
    assert client.get(f"{ACME}/clusters/lab").json()["endpoint"] == {"address": URL, "virtual_ip": ""}
    refused = client.put(f"{ACME}/clusters/lab", {**wanted, "endpoint": {"virtual_ip": "10.96.0.9"}})
    assert refused.status_code == 400
    assert "from which services" in str(refused.json())
    world.run(Lab(world).ready)
    for query, server in (("", URL), ("?endpoint=node", "https://192.0.2.1:6443")):
        answer = client.post(f"{ACME}/clusters/lab/kubeconfig{query}").json()
        assert yaml.safe_load(answer["content"])["clusters"][0]["cluster"]["server"] == server
    assert client.post(f"{ACME}/clusters/lab/kubeconfig?endpoint=nowhere").status_code == 400
    del wanted["endpoint"]
    assert client.put(f"{ACME}/clusters/lab", wanted).json()["endpoint"] == {"address": "", "virtual_ip": ""}


def test_the_page_of_a_cluster(world: World, pages: Client) -> None:
    world.join(1)
    lab = Lab(world)
    lab.sync(own(template([1]), address="k8s.example.org", virtualIP="192.0.2.1"))
    page = pages.get("/o/acme/clusters/lab").content.decode()
    assert URL in page
    assert 'value="own" checked' in page
    assert "Virtual IP" in page


def test_the_choice_on_the_page(world: World, pages: Client) -> None:
    world.join(1)
    lab = Lab(world)
    lab.sync(own(template([1]), address="k8s.example.org"))
    world.run(lab.ready)
    for chosen, server in (("own", URL), ("node", "https://192.0.2.1:6443")):
        text = pages.post("/o/acme/clusters/lab/kubeconfig", {"endpoint": chosen}).content
        assert yaml.safe_load(text)["clusters"][0]["cluster"]["server"] == server


def said_of(world: World, text: str) -> list[str]:
    """The effects of a sync, in words."""
    with tenant_scope(world.organisation.id):
        planned = review(world, text)
        return [effect.text for effect in effects(planned, names_of(planned, system(world.organisation.id)))]


def test_effects_name_it(world: World) -> None:
    world.join(1)
    lab, text = Lab(world), own(template([1]), address="k8s.example.org")
    assert any(f"reached at {URL} without this installation" in effect for effect in said_of(world, text))
    lab.sync(template([1]))
    world.run(lab.ready)
    assert said_of(world, text) == ["m-1 is given a new config."]


def test_the_editor_hints_at_it_where_it_is_needed(world: World) -> None:
    world.join(1)
    with tenant_scope(world.organisation.id):
        assert "endpoint" not in example(system(world.organisation.id))
        behind_agents(world)
        assert "take an unused address in 192.0.2.0/24" in example(system(world.organisation.id))
