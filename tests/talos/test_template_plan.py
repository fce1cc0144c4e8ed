"""From stored resources to a template and back: plans, and templates that change nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos import template, yaml12
from talos.template import resources as kinds
from talos.template.resources import Resource

MACHINES = [f"430d882a-51a8-48b3-ae00-90c5b0b5b1{number:02}" for number in range(6)]

FULL = f"""\
kind: Cluster
name: shop
labels: {{env: prod}}
annotations: {{owner: platform}}
kubernetes:
  version: v1.37.0
  manifests:
    - name: ns
      mode: full
      annotations: {{note: x}}
      inline: {{apiVersion: v1, kind: Namespace, metadata: {{name: shop}}}}
  healthchecks:
    - {{name: storage, interval: 1m30s, job: {{kind: Job}}}}
talos: {{version: v1.14.1}}
features:
  diskEncryption: true
  enableWorkloadProxy: true
  disablePublicDiscoveryService: true
  backupConfiguration: {{interval: 2h}}
systemExtensions: [siderolabs/iscsi-tools]
kernelArgs: [console=ttyS0]
patches:
  - name: ntp
    inline: {{machine: {{time: {{servers: [ntp.example]}}}}}}
  - idOverride: 250-sysctls
    labels: {{from: me}}
    inline: |
      # keep
      machine:
        sysctls: {{vm.max_map_count: "262144"}}
---
kind: ControlPlane
machines: [{", ".join(MACHINES[:3])}]
bootstrapSpec: {{clusterUUID: u, snapshot: s}}
upgradeStrategy: {{type: Rolling, rolling: {{maxParallelism: 1}}}}
---
kind: Workers
machines: [{", ".join(MACHINES[3:])}]
updateStrategy: {{type: Unset, rolling: {{maxParallelism: 0}}}}
deleteStrategy: {{type: Rolling, rolling: {{maxParallelism: 1}}}}
systemExtensions: []
---
kind: Workers
name: later
labels: {{x: y}}
patches: [{{name: a, inline: {{machine: {{env: {{A: b}}}}}}}}]
---
kind: Machine
name: {MACHINES[3]}
labels: {{rack: r12}}
locked: true
install: {{disk: /dev/vda}}
kernelArgs: []
patches: [{{name: m, inline: {{machine: {{env: {{A: c}}}}}}}}]
---
kind: Machine
name: {MACHINES[4]}
install: {{diskSelector: "!disk.rotational"}}
systemExtensions: [siderolabs/gvisor]
"""

SMALL = f"""\
kind: Cluster
name: lab
kubernetes: {{version: v1.37.0}}
talos: {{version: v1.14.1}}
---
kind: ControlPlane
machines: [{MACHINES[0]}]
"""


def resources(text: str) -> list[Resource]:
    loaded = template.load(text)
    template.validate(loaded)
    return template.translate(loaded)


def test_the_first_sync_creates_everything_in_order():
    plan = template.plan("shop", resources(FULL), [])
    order = [kinds.ORDER.index(resource.type) for resource in plan.create]
    assert order == sorted(order)
    assert len(plan.create) == len(resources(FULL))
    assert not plan.update
    assert not plan.destroy


BY_CLASS = (
    SMALL
    + """\
---
kind: Workers
machineClass: {name: big, size: 3}
---
kind: Workers
name: all
machineClass: {name: small, size: unlimited}
"""
)


@pytest.mark.parametrize("text", [FULL, SMALL, BY_CLASS])
def test_an_exported_template_changes_nothing(text):
    cluster = template.load(text).cluster.name
    stored = resources(text)
    exported = template.export(cluster, stored)
    assert template.plan(cluster, resources(exported), stored).empty
    assert template.export(cluster, resources(exported)) == exported


names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
values = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=12)
maps = st.dictionaries(names, values, max_size=3)
lists = st.none() | st.lists(values, max_size=2)
inline = st.builds(lambda env: {"machine": {"env": env, "sysctls": {"a": "b"}}}, maps)
patches = st.lists(
    st.builds(lambda name, labels, content: {"name": name, "labels": labels, "inline": content}, names, maps, inline),
    max_size=3,
    unique_by=lambda patch: patch["name"],
)
strategies = st.none() | st.builds(
    lambda kind, count: {"type": kind, "rolling": {"maxParallelism": count}},
    st.sampled_from(["Unset", "Rolling"]),
    st.integers(0, 9),
)


@st.composite
def templates(draw) -> str:
    def common() -> dict:
        found = {"labels": draw(maps), "annotations": draw(maps), "patches": draw(patches)}
        return found | {"systemExtensions": draw(lists)}

    machines = iter(MACHINES)
    documents = [
        {
            "kind": "Cluster",
            "name": "lab",
            "kubernetes": {"version": "1.37.0"},
            "talos": {"version": "v1.14.1"},
            "kernelArgs": draw(lists),
            **common(),
        },
        {"kind": "ControlPlane", "machines": [next(machines)], **common()},
    ]
    for name in draw(st.lists(names.filter(lambda name: name != "control-planes"), max_size=2, unique=True)):
        workers = {"kind": "Workers", "name": name, "machines": [next(machines)], "updateStrategy": draw(strategies)}
        documents.append(workers | {"deleteStrategy": draw(strategies)} | common())
    for document in documents[1:]:
        if draw(st.booleans()):
            machine = {"kind": "Machine", "name": document["machines"][0], "kernelArgs": draw(lists), **common()}
            documents.append(machine | {"locked": document["kind"] == "Workers", "install": {"disk": draw(values)}})
    return "---\n".join(yaml12.dump(document) for document in documents)


@given(templates())
def test_any_template_can_be_exported_and_changes_nothing(text):
    stored = resources(text)
    assert template.plan("lab", resources(template.export("lab", stored)), stored).empty


def test_a_change_is_shown_as_it_is_written():
    stored = resources(SMALL)
    plan = template.plan("lab", resources(SMALL.replace("1.37.0", "1.37.1")), stored)
    assert not plan.create
    assert not plan.destroy
    [change] = plan.changes()
    assert str(change.resource) == "Clusters.omni.sidero.dev(default/lab)"
    assert "-    kubernetesversion: 1.37.0\n+    kubernetesversion: 1.37.1\n" in change.diff()


def test_what_users_added_beside_the_template_is_replaced():
    stored = [replace(resource, labels={**resource.labels, "mine": "1"}) for resource in resources(SMALL)]
    plan = template.plan("lab", resources(SMALL), stored)
    assert all('-        mine: "1"\n' in change.diff() for change in plan.update)
    assert len(plan.update) == len(stored)


def test_machines_leave_before_their_settings():
    stored = resources(FULL)
    fewer = FULL.split("---\nkind: Machine")[0].replace(
        f"machines: [{', '.join(MACHINES[3:])}]", f"machines: [{MACHINES[5]}]"
    )
    plan = template.plan("shop", resources(fewer), stored)
    first, then = plan.destroy
    assert [resource.key for resource in first] == [(kinds.MACHINE_SET_NODE, machine) for machine in MACHINES[3:5]]
    assert {resource.type for resource in then} == {kinds.CONFIG_PATCH, kinds.EXTENSIONS}
    assert plan.changes()[-len(then) :] == [template.Change(resource, None) for resource in then]


def test_what_belongs_to_a_machine_is_released_not_taken_away():
    stored = resources(FULL)
    plan = template.plan("shop", resources(FULL.replace(f", {MACHINES[4]}", "").split("---\nkind: Machine")[0]), stored)
    released = {change.resource.key: change for change in plan.update if change.resource.type in kinds.PER_MACHINE}
    for kind in (kinds.KERNEL_ARGS, kinds.INSTALL_DISK):
        change = released[kind, MACHINES[4]]
        assert change.new == replace(change.old, annotations={})


def test_an_install_disk_goes_where_its_machine_stays():
    stored = resources(FULL)
    plan = template.plan("shop", resources(FULL.replace('install: {diskSelector: "!disk.rotational"}\n', "")), stored)
    assert [resource.key for group in plan.destroy for resource in group] == [(kinds.INSTALL_DISK, MACHINES[4])]


def test_what_users_set_for_a_machine_themselves_is_left_alone():
    own = Resource(kinds.KERNEL_ARGS, MACHINES[0], spec={"args": ["x"]})
    assert template.plan("lab", resources(SMALL), [*resources(SMALL), own]).empty


def test_a_cluster_takes_everything_with_it():
    stored = resources(FULL)
    plan = template.plan("shop", [], stored)
    assert [[str(resource) for resource in group] for group in plan.destroy] == [
        ["Clusters.omni.sidero.dev(default/shop)"]
    ]
    assert {change.resource.type for change in plan.update} == kinds.PER_MACHINE


def test_a_set_takes_its_machines_with_it():
    fewer = SMALL.replace("name: lab", "name: shop")
    plan = template.plan("shop", resources(fewer.replace(MACHINES[0], ", ".join(MACHINES[:3]))), resources(FULL))
    assert [resource.id for resource in plan.destroy[0]] == ["shop-workers", "shop-later"]


def test_a_template_of_one_cluster_does_not_touch_another():
    others = [resource for resource in resources(FULL) if resource.type != kinds.MACHINE_SET_NODE]
    plan = template.plan("lab", resources(SMALL), [*others, *resources(SMALL)])
    assert not plan.destroy
    assert {change.resource.type for change in plan.update} <= kinds.PER_MACHINE


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        (
            Resource(kinds.MACHINE_SET_NODE, MACHINES[0], {kinds.LABEL_CLUSTER: "shop"}),
            "belongs to cluster shop: remove it there first",
        ),
        (
            Resource(
                kinds.MACHINE_SET_NODE,
                MACHINES[0],
                {kinds.LABEL_CLUSTER: "lab", kinds.LABEL_MACHINE_SET: "lab-workers", kinds.LABEL_WORKER: ""},
            ),
            "is in lab-workers: sync a template without it first, then add it to lab-control-planes",
        ),
        (Resource(kinds.MACHINE_SET, "lab-control-planes", {kinds.LABEL_CLUSTER: "lab"}, owner="C"), "belongs to C"),
        (Resource(kinds.MACHINE_SET, "lab-control-planes"), "belongs to cluster (none)"),
    ],
)
def test_what_is_in_the_way_is_said_before_anything_is_done(taken, reason):
    plan = template.plan("lab", resources(SMALL), [taken])
    assert len(plan.conflicts) == 1
    assert reason in plan.conflicts[0]
    assert not plan.empty


def test_what_controllers_made_is_left_alone():
    stored = [
        *resources(SMALL),
        Resource(kinds.CONFIG_PATCH, "950-lab-encryption", {kinds.LABEL_CLUSTER: "lab"}, owner="EncryptionController"),
        Resource(kinds.MACHINE_SET_NODE, MACHINES[1], {kinds.LABEL_CLUSTER: "lab", kinds.LABEL_MANAGED_NODE: ""}),
    ]
    assert template.plan("lab", resources(SMALL), stored).empty
    assert template.plan("lab", resources(template.export("lab", stored)), stored).empty


def test_there_is_no_template_of_no_cluster():
    with pytest.raises(template.ExportError, match='there is no cluster "lab"'):
        template.export("lab", [])


@pytest.mark.parametrize(
    "odd",
    [
        Resource(kinds.EXTENSIONS, "another", {kinds.LABEL_CLUSTER: "lab"}, spec={"extensions": []}),
        Resource(
            kinds.CONFIG_PATCH, "p", {kinds.LABEL_CLUSTER: "lab", kinds.LABEL_MACHINE_SET: "x"}, spec={"data": "a"}
        ),
    ],
)
def test_what_no_template_can_say_is_named(odd):
    with pytest.raises(template.ExportError, match=rf"default/{odd.id}\) cannot be written as part of a template"):
        template.export("lab", [*resources(SMALL), odd])


def test_kernel_arguments_of_users_are_exported_on_request():
    own = Resource(kinds.KERNEL_ARGS, MACHINES[0], spec={"args": ["x"]})
    stored = [*resources(SMALL), own]
    assert "kernelArgs" not in template.export("lab", stored)
    exported = template.export("lab", stored, all_kernel_args=True)
    assert template.load(exported).documents[-1].kernel_args == ["x"]


def test_the_disk_of_a_patch_is_found():
    [patch] = [resource for resource in resources(FULL) if resource.id.endswith("-install-disk")]
    assert template.install_disk(patch) == "/dev/vda"
    other = next(resource for resource in resources(FULL) if resource.id == "250-sysctls")
    assert template.install_disk(other) == ""
