"""Which discovery services nodes are told of, for every feature, contract and way to the machine."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from apps.clusters import compose, discovery, queries, templates
from apps.clusters.models import Cluster, ClusterMachine
from apps.machines.models import Link
from apps.tenants.scope import tenant_scope
from apps.tenants.sealing import unseal
from talos.config import discovery as config_discovery
from talos.config.document import Config, load
from talos.template.files import no_files
from tests.apps.clusters.templates import template
from tests.apps.clusters.test_lifecycle import Lab, lab  # noqa: F401
from tests.apps.clusters.world import World

OURS = "http://[fdae:41e4:649b:9303::1]:8093"
PUBLIC = "https://discovery.talos.dev"
WANTED, ALONE = "useEmbeddedDiscoveryService", "disablePublicDiscoveryService"


def with_features(text: str, **features: bool) -> str:
    """The same template with features, as YAML has them."""
    said = ", ".join(f"{name}: {str(value).lower()}" for name, value in features.items())
    return text.replace("talos:", f"features: {{{said}}}\ntalos:", 1)


@pytest.fixture
def off(settings: Any) -> None:
    """The installation has no discovery service."""
    settings.CONFIG = replace(settings.CONFIG, discovery=False)


def config(world: World) -> Config:
    """What the cluster's first machine is given."""
    with tenant_scope(world.organisation.id):
        row = ClusterMachine.objects.order_by("id").first()
        assert row is not None
        assert row.sealed_config
        return load(unseal(row.sealed_config, row.organisation_id, row.id))


def review(world: World, text: str) -> templates.Review:
    with tenant_scope(world.organisation.id):
        return templates.review(text, no_files)


@pytest.mark.parametrize(
    ("talos", "embedded", "alone", "expected"),
    [
        ("1.13.8", False, False, [PUBLIC]),
        ("1.13.8", True, False, [OURS]),
        ("1.14.1", False, False, [PUBLIC]),
        ("1.14.1", True, False, [PUBLIC, OURS]),
        ("1.14.1", True, True, [OURS]),
    ],
)
def test_machines_are_told_of_the_services_that_features_ask_for(
    world: World, lab: Lab, talos: str, embedded: bool, alone: bool, expected: list[str]  # noqa: F811
) -> None:  # fmt: skip
    world.join(1, version=talos)
    lab.sync(with_features(template([1], talos=talos), **{WANTED: embedded, ALONE: alone}))
    world.run(lab.ready)
    found = config(world)
    assert config_discovery.services(found) == expected
    if talos == "1.14.1" and len(expected) == 2:
        names = [document["name"] for document in found.all("DiscoveryServiceConfig")]
        assert names == ["default", "omni-embedded"]


@pytest.mark.parametrize("talos", ["1.13.8", "1.14.1"])
def test_a_machine_behind_an_agent_calls_the_public_port(
    world: World, settings: Any, tmp_path: Path, talos: str
) -> None:
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nb3Vycw==\n-----END CERTIFICATE-----\n")
    settings.CONFIG = replace(settings.CONFIG, keys=str(tmp_path), url="https://omni.example.com")
    text = discovery.patch({discovery.EMBEDDED: True, discovery.NOT_PUBLIC: True}, talos, reaches_us=False)
    assert "https://omni.example.com" in text
    assert OURS not in text
    (roots,) = load(text).all("TrustedRootsConfig")
    assert roots["certificates"] == (tmp_path / "ca.crt").read_text()
    settings.CONFIG = replace(settings.CONFIG, certificate="public.crt", certificate_key="public.key")
    text = discovery.patch({discovery.EMBEDDED: True}, talos, reaches_us=False)
    assert "TrustedRootsConfig" not in text


def test_agent_linked_machines_of_a_cluster_are_told_so(world: World, lab: Lab, settings: Any) -> None:  # noqa: F811
    settings.CONFIG = replace(settings.CONFIG, url="https://omni.example.com")
    world.join(1)
    lab.sync(with_features(template([1]), **{WANTED: True}))
    world.run(lab.ready)
    assert config_discovery.services(config(world)) == [OURS]
    with tenant_scope(world.organisation.id):
        Link.objects.update(transport=Link.AGENT)
    lab.sync(with_features(template([1], patch='{machine: {sysctls: {a: "1"}}}'), **{WANTED: True}))
    world.run(lab.ready)
    assert config_discovery.services(config(world)) == ["https://omni.example.com"]


def test_a_patch_of_a_person_comes_before_or_after_by_its_name(world: World, lab: Lab) -> None:  # noqa: F811
    world.join(1)
    mine = "{cluster: {discovery: {registries: {service: {endpoint: 'https://mine.example.org'}}}}}"
    text = with_features(template([1], patch=mine), **{WANTED: True})
    lab.sync(text)
    world.run(lab.ready)
    assert config_discovery.services(config(world)) == [OURS]
    lab.sync(text.replace("- name: sysctls\n", "- idOverride: 960-mine\n"))
    world.run(lab.ready)
    assert config_discovery.services(config(world)) == ["https://mine.example.org"]


def test_it_is_exported_as_it_was_said(world: World, lab: Lab) -> None:  # noqa: F811
    world.join(1, version="1.14.1")
    lab.sync(with_features(template([1], talos="1.14.1"), **{WANTED: True, ALONE: True}))
    with tenant_scope(world.organisation.id):
        text = queries.export(Cluster.objects.get())
    assert f"{WANTED}: true" in text
    assert f"{ALONE}: true" in text
    assert review(world, text).plan.empty


@pytest.mark.parametrize(
    ("talos", "features", "words"),
    [
        ("1.14.1", {ALONE: True}, "leaves nodes no service"),
        ("1.13.8", {ALONE: True}, "leaves nodes no service"),
        ("1.13.8", {WANTED: True, ALONE: True}, "began with Talos 1.14 or later"),
    ],
)
def test_refused(world: World, talos: str, features: dict[str, bool], words: str) -> None:
    world.join(1, version=talos)
    refusals = review(world, with_features(template([1], talos=talos), **features)).refusals
    assert [words in refusal for refusal in refusals] == [True]


def test_patches_are_checked_together_with_it(world: World) -> None:
    """A service as a document beside the one that the configuration has as fields: no machine takes that."""
    world.join(1)
    mine = "{apiVersion: v1alpha1, kind: DiscoveryServiceConfig, name: mine, endpoint: 'https://mine.example.org'}"
    assert review(world, with_features(template([1], patch=mine), **{WANTED: True})).refusals != []


def test_without_a_service_here_none_can_be_asked_for(world: World, off: None) -> None:
    world.join(1)
    (refusal,) = review(world, with_features(template([1]), **{WANTED: True})).refusals
    assert "OMNI_DISCOVERY=false" in refusal


def test_a_service_that_was_turned_off_leaves_clusters_at_the_public_one(
    world: World, lab: Lab, settings: Any  # noqa: F811
) -> None:  # fmt: skip
    world.join(1)
    text = with_features(template([1]), **{WANTED: True})
    lab.sync(text)
    settings.CONFIG = replace(settings.CONFIG, discovery=False)
    found = review(world, text)
    assert found.refusals == []
    assert "has no effect" in " ".join(found.warnings)
    world.run(lab.ready)
    assert config_discovery.services(config(world)) == [PUBLIC]


def test_moving_a_cluster_says_what_happens_meanwhile(world: World, lab: Lab) -> None:  # noqa: F811
    for number, talos in ((1, "1.13.8"), (2, "1.14.1")):
        world.join(number, version=talos)
        text = template([number], name=f"lab-{number}", talos=talos)
        lab.sync(text)
        moved = " ".join(review(world, with_features(text, **{WANTED: True})).warnings)
        assert ("do not find each other" in moved) == (talos == "1.13.8"), "with two services no node is ever alone"


def test_every_pair_of_features_that_is_not_refused_leaves_a_service() -> None:
    for talos, embedded, alone in product(["1.8.0", "1.13.8", "1.14.1"], [False, True], [False, True]):
        features = {discovery.EMBEDDED: embedded, discovery.NOT_PUBLIC: alone}
        found = discovery.services(features, talos)
        assert found.embedded or found.public
        assert bool(discovery.patch(features, talos)) == found.embedded == embedded
        refused = list(discovery.refusals(features, {}, talos))
        assert bool(refused) == (alone and not (embedded and talos == "1.14.1"))


def test_a_cluster_by_fields_has_them(world: World) -> None:
    fields = SimpleNamespace(
        name="lab", kubernetes_version="1.36.3", talos_version="1.14.1",
        control_planes={"machines": ["m-1"]}, features={discovery.EMBEDDED: True, discovery.NOT_PUBLIC: False},
    )  # fmt: skip
    text = compose.template_of(vars(fields))
    assert f"{WANTED}: true" in text
    assert ALONE not in text
