"""Own endpoints on the real database: planned, stored, exported, changed; machines behind agents in sets by class."""

import pytest
import yaml
from django.core.exceptions import ValidationError

from apps.clusters import actions, compose, queries, templates
from apps.clusters.models import Cluster
from apps.machines.actions import write_machine_class
from apps.machines.models import Link, MachineObservation
from apps.tenants.scope import tenant_scope
from talos.template.files import no_files
from tests.apps.clusters.templates import template
from tests.apps.clusters.test_lifecycle import Lab, lab  # noqa: F401
from tests.apps.clusters.world import World

ADDRESS = "k8s.example.org"
URL = f"https://{ADDRESS}:6443"


def own(text: str, **fields: str) -> str:
    """The same template with an own endpoint."""
    return text.replace("talos:", f"endpoint: {fields}\ntalos:", 1)


def behind_agents(world: World) -> None:
    """Every machine is, and told its networks."""
    with tenant_scope(world.organisation.id):
        Link.objects.update(transport=Link.AGENT)
        networks = [{"link": "eth0", "network": "192.0.2.0/24"}]
        MachineObservation.objects.update(network={"networks": networks})


def review(world: World, text: str) -> templates.Review:
    with tenant_scope(world.organisation.id):
        return templates.review(text, no_files)


def cluster(world: World) -> Cluster:
    with tenant_scope(world.organisation.id):
        return Cluster.objects.select_related("secrets").get()


def test_it_is_stored_and_exported_as_it_was_said(world: World, lab: Lab) -> None:  # noqa: F811
    world.join(1)
    lab.sync(own(template([1]), address=ADDRESS))
    with tenant_scope(world.organisation.id):
        text = queries.export(Cluster.objects.get())
    assert next(yaml.safe_load_all(text))["endpoint"] == {"address": URL}
    assert review(world, text).plan.empty
    assert review(world, own(template([1]), address=URL)).plan.empty
    (change,) = review(world, template([1])).plan.update
    assert f"-        address: {URL}" in change.diff()


def test_machines_are_told_of_it_and_its_names_are_in_their_certificates(world: World, lab: Lab) -> None:  # noqa: F811
    world.join(1)
    world.join(2)
    lab.sync(own(template([1], [2]), address=ADDRESS))
    world.run(lab.ready)
    for machine in world.machines.values():
        assert machine.config is not None
        assert machine.config["cluster"]["controlPlane"]["endpoint"] == URL
        assert machine.config["machine"]["certSANs"] == [ADDRESS, "fdae:41e4:649b:9303::1"]


def test_a_change_says_what_it_does_and_goes_round_one_by_one(world: World, lab: Lab) -> None:  # noqa: F811
    for number in (1, 2, 3):
        world.join(number)
    lab.sync(template([1, 2, 3]))
    world.run(lab.ready)
    text = own(template([1, 2, 3]), address=ADDRESS)
    said = review(world, text)
    assert any(f"the endpoint goes from that of this installation to {URL}" in warning for warning in said.warnings)
    lab.sync(text)
    world.run(lab.ready)
    assert world.largest_change == 1
    for machine in world.machines.values():
        assert machine.config is not None
        assert machine.config["cluster"]["controlPlane"]["endpoint"] == URL


def test_an_endpoint_goes_only_where_the_machines_do_without(world: World, lab: Lab) -> None:  # noqa: F811
    world.join(1)
    behind_agents(world)
    lab.sync(own(template([1]), virtualIP="192.0.2.100"))
    with pytest.raises(ValidationError, match="m-1 is behind an agent"):
        lab.sync(template([1]))
    assert cluster(world).virtual_ip == "192.0.2.100"


def test_subnets_of_patches_count(world: World, lab: Lab) -> None:  # noqa: F811
    world.join(1)
    patch = "{cluster: {network: {podSubnets: [10.8.0.0/16], serviceSubnets: [192.0.2.0/24]}}}"
    text = own(template([1], patch=patch), address="192.0.2.9")
    assert any("lies in 192.0.2.0/24, from which services" in item for item in review(world, text).refusals)
    said = review(world, own(template([1], patch=patch), address=ADDRESS))
    assert said.refusals == []
    assert any("m-1 has no address but 192.0.2.1" in warning for warning in said.warnings)
    assert not any("has no address but" in warning for warning in review(world, template([1])).warnings)


def test_an_endpoint_that_is_one_machine_is_pointed_out(world: World) -> None:
    world.join(1)
    said = review(world, own(template([1]), address="192.0.2.1"))
    assert any("endpoint.address is m-1 alone" in warning for warning in said.warnings)


def test_sets_by_class_say_why_a_machine_does_not_do(world: World, lab: Lab) -> None:  # noqa: F811
    world.join(1)
    world.join(2)
    with tenant_scope(world.organisation.id):
        Link.objects.filter(claimed_uuid=world.machines[list(world.machines)[1]].uuid).update(transport=Link.AGENT)
        write_machine_class(lab.owner, "all", ["omni.sidero.dev/platform = metal"], {})
    lab.sync(template([1], workers_text="machineClass: {name: all, size: 1}"))
    world.run(lambda: "m-2 is behind an agent and cannot reach the endpoint" in lab.said("machines"))
    lab.sync(own(template([1], workers_text="machineClass: {name: all, size: 1}"), address=ADDRESS))
    world.run(lambda: lab.member(2) is not None)


@pytest.mark.parametrize(
    ("chosen", "server"),
    [("", URL), ("own", URL), ("node", "https://192.0.2.1:6443"), ("omni", "https://[fdae:41e4:649b:9303::1]:10000")],
)
def test_where_a_kubeconfig_points(world: World, lab: Lab, chosen: str, server: str) -> None:  # noqa: F811
    world.join(1)
    lab.sync(own(template([1]), address=ADDRESS))
    world.run(lab.ready)
    with tenant_scope(world.organisation.id):
        file = yaml.safe_load(actions.download_kubeconfig(lab.owner, cluster(world), chosen))
        talos = yaml.safe_load(actions.download_talosconfig(lab.owner, cluster(world), "own"))
        assert yaml.safe_load(actions.download_talosconfig(lab.owner, cluster(world)))["contexts"]["lab"][
            "endpoints"
        ] == ["192.0.2.1"]
    assert file["clusters"][0]["cluster"]["server"] == server
    assert file["current-context"] == "admin@lab"
    assert talos["contexts"]["lab"]["endpoints"] == [ADDRESS]
    assert talos["contexts"]["lab"]["nodes"] == ["192.0.2.1"]


def test_without_an_own_endpoint_files_point_at_nodes(world: World, lab: Lab) -> None:  # noqa: F811
    world.join(1)
    lab.sync(template([1]))
    world.run(lab.ready)
    with tenant_scope(world.organisation.id):
        file = yaml.safe_load(actions.download_kubeconfig(lab.owner, cluster(world)))
        with pytest.raises(ValidationError, match="has no endpoint of its own"):
            actions.download_kubeconfig(lab.owner, cluster(world), "own")
        with pytest.raises(ValidationError, match="There is no endpoint 'elsewhere'"):
            actions.download_talosconfig(lab.owner, cluster(world), "elsewhere")
    assert file["clusters"][0]["cluster"]["server"] == "https://192.0.2.1:6443"


def test_fields_make_the_same_template() -> None:
    wanted = {
        "name": "lab",
        "kubernetes_version": "1.36.3",
        "talos_version": "1.13.8",
        "endpoint": {"address": ADDRESS, "virtual_ip": ""},
        "control_planes": {"machines": ["u"]},
    }
    assert next(yaml.safe_load_all(compose.template_of(wanted)))["endpoint"] == {"address": ADDRESS}
