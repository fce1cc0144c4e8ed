"""KubeSpan of a cluster, on and off: what is stored, what machines are given, what is refused, REST and the page."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from django.test import Client
from rest_framework.test import APIClient

from apps.access.actor import Actor
from apps.access.check import Denied
from apps.accounts.models import User
from apps.audit.models import AuditRecord
from apps.clusters import actions, queries, templates
from apps.clusters.models import Cluster, ClusterMachine, ConfigPatch
from apps.mesh import kubespan
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.sealing import unseal
from talos.config import kubespan as config_kubespan
from talos.config.document import Config, load
from talos.config.kubespan import KubeSpan
from talos.template.files import no_files
from tests.apps.clusters.templates import template
from tests.apps.clusters.world import World, uuid_of

Api = Callable[..., APIClient]
PATH = "/api/v1/organisations/acme/clusters/lab/kubespan"
FULL = {
    "mtu": 1380,
    "allow_down_peer_bypass": True,
    "advertise_kubernetes_networks": True,
    "harvest_extra_endpoints": True,
    "endpoint_filters": ["0.0.0.0/0", "!192.168.0.0/16", "::/0"],
    "exclude_networks": ["192.168.1.0/24"],
    "extra_endpoints": {uuid_of(2): ["203.0.113.7:52000", "[2001:db8::7]:51820"]},
}
SETTINGS = KubeSpan(True, 1380, True, True, True, ("0.0.0.0/0", "!192.168.0.0/16", "::/0"), ("192.168.1.0/24",))


class Lab:
    """A cluster of a control plane and a worker that run."""

    def __init__(self, world: World, talos: str = "1.13.8", kubernetes: str = "1.36.3") -> None:
        self.world = world
        self.owner = Actor("user", "1", "owner@example.com", world.organisation.id, "owner")
        for number in (1, 2):
            world.join(number, version=talos)
        self.text = template([1], [2], talos=talos, kubernetes=kubernetes)
        self.sync(self.text)
        self.run()

    def sync(self, text: str) -> None:
        with tenant_scope(self.world.organisation.id):
            actions.sync_template(self.owner, text)

    def run(self) -> None:
        """Until all machines have the configuration that is wanted."""

        def done() -> bool:
            with tenant_scope(self.world.organisation.id):
                cluster = Cluster.objects.get()
                rows = ClusterMachine.objects.filter(applied_sha="") | ClusterMachine.objects.exclude(
                    observed_generation=cluster.generation
                )
                return ClusterMachine.objects.count() == 2 and not rows.exists()

        self.world.run(done)

    def cluster(self) -> Cluster:
        with tenant_scope(self.world.organisation.id):
            return Cluster.objects.get()

    def write(self, settings: KubeSpan = SETTINGS, endpoints: kubespan.Endpoints | None = None) -> None:
        with tenant_scope(self.world.organisation.id):
            kubespan.write(self.owner, Cluster.objects.get(), settings, endpoints or {})

    def off(self) -> None:
        with tenant_scope(self.world.organisation.id):
            kubespan.turn_off(self.owner, Cluster.objects.get())

    def config(self, number: int) -> Config:
        with tenant_scope(self.world.organisation.id):
            row = ClusterMachine.objects.get(machine__uuid=uuid_of(number))
            assert row.sealed_config
            return load(unseal(row.sealed_config, row.organisation_id, row.id))

    def patches(self) -> set[str]:
        with tenant_scope(self.world.organisation.id):
            return set(ConfigPatch.objects.values_list("name", flat=True))

    def verbs(self) -> list[str]:
        with tenant_scope(self.world.organisation.id):
            verbs = AuditRecord.objects.order_by("id").values_list("verb", flat=True)
            return [verb for verb in verbs if verb.startswith("cluster.kubespan")]


@pytest.fixture
def lab(world: World) -> Lab:
    return Lab(world)


@pytest.mark.parametrize(("talos", "kubernetes"), [("1.12.5", "1.34.0"), ("1.13.8", "1.36.3"), ("1.14.1", "1.36.3")])
def test_machines_are_given_it_by_their_contract(world: World, talos: str, kubernetes: str) -> None:
    lab = Lab(world, talos, kubernetes)
    assert config_kubespan.read(lab.config(1)) is None
    lab.write(SETTINGS, {uuid_of(2): ["203.0.113.7:52000"]})
    lab.run()
    assert config_kubespan.read(lab.config(1)) == config_kubespan.read(lab.config(2)) == SETTINGS
    assert lab.config(1).all("KubeSpanEndpointsConfig") == []
    (document,) = lab.config(2).all("KubeSpanEndpointsConfig")
    assert document["extraAnnouncedEndpoints"] == ["203.0.113.7:52000"]
    assert bool(lab.config(1).find("KubeSpanConfig")) == (talos != "1.12.5")
    lab.off()
    lab.run()
    assert config_kubespan.read(lab.config(1)) is None
    assert lab.patches() == set()
    assert lab.verbs() == ["cluster.kubespan-on", "cluster.kubespan-off"]


def test_saying_it_twice_changes_nothing(lab: Lab) -> None:
    lab.write(SETTINGS, {uuid_of(2): ["203.0.113.7:52000"]})
    before = lab.cluster().generation
    lab.write(SETTINGS, {uuid_of(2): ["203.0.113.7:52000"], uuid_of(1): []})
    assert lab.cluster().generation == before
    lab.off()
    lab.off()
    assert lab.verbs() == ["cluster.kubespan-on", "cluster.kubespan-off"]


def test_what_was_written_is_read(lab: Lab) -> None:
    endpoints = {uuid_of(1): ["203.0.113.6:51820"], uuid_of(2): ["[2001:db8::7]:51820", "203.0.113.7:1"]}
    lab.write(SETTINGS, endpoints)
    with tenant_scope(lab.world.organisation.id):
        setup = kubespan.read(lab.cluster())
    assert setup.settings == SETTINGS
    assert {uuid: list(values) for uuid, values in setup.endpoints.items()} == endpoints
    lab.write(KubeSpan(), {})
    assert lab.patches() == {"500-lab-kubespan"}


def test_a_template_that_is_exported_has_it(lab: Lab) -> None:
    lab.write(SETTINGS, {uuid_of(2): ["203.0.113.7:52000"]})
    with tenant_scope(lab.world.organisation.id):
        text = queries.export(lab.cluster())
        assert templates.review(text, no_files).plan.empty
        without = templates.review(lab.text, no_files)
    assert "500-lab-kubespan" in text
    assert {item.id for group in without.plan.destroy for item in group} == lab.patches()
    assert ["the mesh is turned off" in warning for warning in without.warnings] == [True]


def test_patches_of_people_are_named(lab: Lab) -> None:
    mine = "{apiVersion: v1alpha1, kind: KubeSpanConfig, enabled: true}"
    lab.sync(template([1], [2], patch=mine))
    with tenant_scope(lab.world.organisation.id):
        setup = kubespan.read(lab.cluster())
        notes = list(kubespan.notes(lab.cluster(), setup))
    assert setup.settings is None
    assert [name in notes[0] for name in setup.elsewhere] == [True]


def test_what_no_machine_would_take_is_refused_whole(lab: Lab) -> None:
    """KubeSpan as a document beside KubeSpan as fields, which a person's patch has."""
    lab.sync(template([1], [2], patch="{machine: {network: {kubespan: {enabled: true}}}}"))
    with pytest.raises(Exception, match="kubespan"):
        lab.write()
    assert "500-lab-kubespan" not in lab.patches()


def test_a_cluster_that_is_being_destroyed_is_left_alone(lab: Lab) -> None:
    with tenant_scope(lab.world.organisation.id):
        actions.destroy_cluster(lab.owner, Cluster.objects.get())
    with pytest.raises(Exception, match="being destroyed"):
        lab.write()


def test_readers_may_not(lab: Lab) -> None:
    lab.owner = Actor("user", "2", "reader@example.com", lab.world.organisation.id, "reader")
    with pytest.raises(Denied):
        lab.write()
    with pytest.raises(Denied):
        lab.off()


def test_rest(lab: Lab, api: Api) -> None:
    client = api("operator")
    before = client.get(PATH).json()
    assert (before["enabled"], before["mtu"], before["extra_endpoints"], before["notes"]) == (False, None, {}, [])
    assert before["discovery_services"] == ["https://discovery.talos.dev"]
    answer = client.put(PATH, FULL, format="json")
    assert answer.status_code == 200, answer.content
    said = answer.json()
    assert {name: said[name] for name in FULL} == FULL
    assert said["enabled"]
    assert said["notes"] == ["traffic to a node whose tunnel is down goes in clear, outside of the mesh"]
    assert client.get(PATH).json() == said
    assert client.put(PATH, said, format="json").status_code == 200
    assert client.delete(PATH).json() == before


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("mtu", 1279, "takes 1280 to"),
        ("mtu", "many", "integer"),
        ("endpoint_filters", ["!10.0.0.0/8"], "let nothing in"),
        ("endpoint_filters", ["10.0.0.0/99"], "is no filter"),
        ("exclude_networks", ["192.168.1.1"], "is no network"),
        ("extra_endpoints", {uuid_of(2): ["203.0.113.7"]}, "is no endpoint"),
        ("extra_endpoints", {uuid_of(9): ["203.0.113.7:1"]}, "has no machine"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(lab: Lab, api: Api, field: str, value: Any, words: str) -> None:
    answer = api("operator").put(PATH, {**FULL, field: value}, format="json")
    assert answer.status_code == 400
    assert field in str(answer.json())
    assert words in str(answer.json())
    assert lab.patches() == set()


def test_networks_are_left_out_only_where_talos_can(world: World, api: Api) -> None:
    Lab(world, "1.12.3", "1.34.0")
    answer = api("operator").put(PATH, FULL, format="json")
    assert answer.status_code == 400
    assert "from Talos 1.12.4 on" in str(answer.json())


def test_rest_of_another_organisation(lab: Lab, api: Api, other_organisation: Organisation) -> None:
    client = api("owner", other_organisation)
    assert client.get(PATH).status_code == 404
    assert client.put(PATH, FULL, format="json").status_code == 404
    assert lab.patches() == set()


@pytest.fixture
def browser(member: Callable[..., User]) -> Client:
    client = Client()
    client.force_login(member("operator"))
    return client


PAGE = "/o/acme/clusters/lab/kubespan"
FORM = {
    "mtu": "1380",
    "allow_down_peer_bypass": "on",
    "endpoint_filters": "0.0.0.0/0\n!192.168.0.0/16",
    "exclude_networks": "",
    f"endpoints-{uuid_of(2)}": "203.0.113.7:52000 203.0.113.8:52000",
}


def test_the_page_turns_it_on_changes_it_and_turns_it_off(lab: Lab, browser: Client) -> None:
    assert "Turn KubeSpan on" in browser.get(PAGE).content.decode()
    done = browser.post(PAGE, FORM)
    assert (done.status_code, done["Location"]) == (302, "/o/acme/clusters/lab/mesh")
    text = browser.get(PAGE).content.decode()
    assert 'value="1380"' in text
    assert "0.0.0.0/0\n!192.168.0.0/16</textarea>" in text
    assert 'value="203.0.113.7:52000 203.0.113.8:52000"' in text
    assert 'name="allow_down_peer_bypass" checked' in text
    assert 'name="harvest">' in text
    with tenant_scope(lab.world.organisation.id):
        setup = kubespan.read(lab.cluster())
    assert setup.settings == KubeSpan(True, 1380, True, endpoint_filters=("0.0.0.0/0", "!192.168.0.0/16"))
    assert browser.post(f"{PAGE}/off").status_code == 302
    assert lab.patches() == set()


def test_what_is_wrong_on_the_page_loses_nothing_typed(lab: Lab, browser: Client) -> None:
    wrong = {**FORM, "mtu": "12", "exclude_networks": "nonsense", f"endpoints-{uuid_of(2)}": "here"}
    answer = browser.post(PAGE, wrong)
    assert answer.status_code == 400
    text = answer.content.decode()
    for words in ("an MTU of 12 is not possible", "is no network", "is no endpoint", 'value="here"', 'value="12"'):
        assert words in text
    assert "is no number of bytes" in browser.post(PAGE, {**FORM, "mtu": "much"}).content.decode()
    assert lab.patches() == set()


def test_the_page_says_how_nodes_find_each_other(lab: Lab, browser: Client) -> None:
    assert "useEmbeddedDiscoveryService: true" in browser.get(PAGE).content.decode()
    document, *rest = yaml.safe_load_all(lab.text)
    document["features"] = {"useEmbeddedDiscoveryService": True}
    lab.sync(yaml.safe_dump_all([document, *rest]))
    assert "By the discovery service of this installation." in browser.get(PAGE).content.decode()
