"""Clusters from sync to Ready and back, on the real database, with machines in memory."""

import pytest
from django.core.exceptions import ValidationError

from apps.access.actor import Actor
from apps.audit.models import AuditRecord
from apps.clusters import actions
from apps.clusters.models import Cluster, ClusterMachine, ClusterStatus, MachineSetNode, Operation
from apps.images import factory
from apps.machines.actions import write_machine_class
from apps.tenants.scope import tenant_scope
from tests.apps.clusters.templates import template, three_and_two
from tests.apps.clusters.world import World, uuid_of


class Lab:
    """What an owner does in the world, and what can be seen of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.owner = Actor("user", "1", "owner@example.com", world.organisation.id, "owner")

    def sync(self, text: str) -> None:
        with tenant_scope(self.world.organisation.id):
            actions.sync_template(self.owner, text)

    def destroy(self, name: str = "lab") -> None:
        with tenant_scope(self.world.organisation.id):
            actions.destroy_cluster(self.owner, Cluster.objects.get(name=name))

    def ready(self, name: str = "lab") -> bool:
        with tenant_scope(self.world.organisation.id):
            cluster = Cluster.objects.get(name=name)
            return ClusterStatus.objects.filter(
                cluster=cluster, ready=True, observed_generation=cluster.generation
            ).exists()

    def gone(self) -> bool:
        with tenant_scope(self.world.organisation.id):
            return not Cluster.objects.exists()

    def member(self, number: int) -> ClusterMachine | None:
        with tenant_scope(self.world.organisation.id):
            return ClusterMachine.objects.filter(machine__uuid=uuid_of(number)).first()

    def said(self, name: str) -> str:
        with tenant_scope(self.world.organisation.id):
            conditions = ClusterStatus.objects.get().conditions
        return " ".join(f"{item['state']}: {item['message']}" for item in conditions if item["name"] == name)

    def machine_said(self, number: int) -> str:
        row = self.member(number)
        return str(row.conditions[-1]["message"]) if row and row.conditions else ""


@pytest.fixture
def lab(world: World) -> Lab:
    return Lab(world)


def test_from_sync_to_ready_and_back(world: World, lab: Lab) -> None:
    for number in range(1, 6):
        world.join(number)
    lab.sync(three_and_two())
    world.run(lab.ready)
    assert world.total("install") == 5
    assert world.total("bootstrap") == 1
    assert {machine.control_plane for machine in world.machines.values()} == {True, False}
    with tenant_scope(world.organisation.id):
        rows = list(ClusterMachine.objects.select_related("machine"))
        assert {row.etcd_member_id for row in rows if row.role == "controlplane"} == {
            world.machines[uuid_of(number)].member_id for number in (1, 2, 3)
        }
        assert all(row.node_name and row.ready and row.applied_sha == row.config_sha for row in rows)
        assert not Operation.objects.filter(finished_at=None).exists()

    lab.destroy()
    world.run(lab.gone)
    assert all(machine.config is None and machine.stage == "maintenance" for machine in world.machines.values())
    assert world.total("reset") == 5
    with tenant_scope(world.organisation.id):
        verbs = list(AuditRecord.objects.order_by("id").values_list("verb", flat=True))
    assert [verb for verb in verbs if not verb.startswith("cluster.machine")] == [
        "cluster.create", "cluster.bootstrapped", "cluster.destroy", "cluster.removed",
    ]  # fmt: skip
    assert verbs.count("cluster.machine-left") == 5


@pytest.mark.parametrize(
    ("talos", "kubernetes"),
    [("1.8.4", "1.31.1"), ("1.10.9", "1.33.6"), ("1.12.11", "1.35.4"), ("1.13.8", "1.36.3"), ("1.14.1", "1.37.0")],
)
def test_every_supported_release(world: World, lab: Lab, talos: str, kubernetes: str) -> None:
    for number in (1, 2):
        world.join(number, version=talos)
    lab.sync(template([1], [2], talos=talos, kubernetes=kubernetes))
    world.run(lab.ready)
    assert world.total("install") == 2
    lab.destroy()
    world.run(lab.gone)


def test_machines_come_again(world: World, lab: Lab) -> None:
    """What a cluster gave back is taken by the next one without being installed again."""
    world.join(1)
    lab.sync(template([1]))
    world.run(lab.ready)
    lab.destroy()
    world.run(lab.gone)
    lab.sync(template([1], name="next"))
    world.run(lambda: lab.ready("next"))
    assert world.total("install") == 1


def test_destroyed_before_anything_happened(world: World, lab: Lab) -> None:
    world.join(1)
    lab.sync(template([1]))
    lab.destroy()
    world.run(lab.gone)
    assert world.machines[uuid_of(1)].calls == []


def test_a_machine_that_joins_late(world: World, lab: Lab) -> None:
    world.join(1)
    lab.sync(template([1], [2]))
    world.run(lambda: "has" not in lab.said("machines") and "to join" in lab.said("machines"))
    world.run(lambda: "ok" in lab.said("etcd"))
    assert not lab.ready()
    world.join(2)
    world.run(lab.ready)


def test_config_changes_one_control_plane_at_a_time(world: World, lab: Lab) -> None:
    for number in (1, 2, 3):
        world.join(number)
    lab.sync(template([1, 2, 3]))
    world.run(lab.ready)
    lab.sync(template([1, 2, 3], patch='{machine: {sysctls: {vm.max_map_count: "262144"}}}'))
    world.run(lab.ready)
    assert world.largest_change == 1
    for machine in world.machines.values():
        assert machine.config is not None
        assert machine.config["machine"]["sysctls"] == {"vm.max_map_count": "262144"}
        assert machine.count("apply") == 2


def test_a_broken_config_stops_at_the_first_control_plane(world: World, lab: Lab) -> None:
    for number in (1, 2, 3):
        world.join(number)
    lab.sync(template([1, 2, 3]))
    world.run(lab.ready)
    for machine in world.machines.values():
        machine.refuses = "bad sysctl"
    lab.sync(template([1, 2, 3], patch='{machine: {sysctls: {nonsense: "1"}}}'))
    world.run(lambda: "bad sysctl" in lab.said("configured"))
    world.run(lambda: True, turns=10)
    assert world.total("apply") == 3 + 1  # one machine was asked, once
    for machine in world.machines.values():
        machine.refuses = ""
    lab.sync(template([1, 2, 3]))
    world.run(lab.ready)


def test_workers_come_and_go(world: World, lab: Lab) -> None:
    for number in (1, 2, 3):
        world.join(number)
    lab.sync(template([1], [2]))
    world.run(lab.ready)
    lab.sync(template([1], [2, 3]))
    world.run(lab.ready)
    lab.sync(template([1], [3]))
    world.run(lambda: lab.member(2) is None and lab.ready())
    removed = world.machines[uuid_of(2)]
    assert removed.config is None
    assert removed.count("reset") == 1


def test_a_control_plane_is_not_taken_out(world: World, lab: Lab) -> None:
    for number in (1, 2, 3):
        world.join(number)
    lab.sync(template([1, 2, 3]))
    with pytest.raises(ValidationError, match="taking control planes out is not supported yet"):
        lab.sync(template([1, 2]))


def test_machines_by_class(world: World, lab: Lab) -> None:
    for number in (1, 2, 3, 4):
        world.join(number)
    with tenant_scope(world.organisation.id):
        write_machine_class(lab.owner, "all", ["omni.sidero.dev/platform = metal"], {})
    text = template([1], workers_text="machineClass: {name: all, size: 2}")
    lab.sync(text)
    world.run(lab.ready)
    with tenant_scope(world.organisation.id):
        assert MachineSetNode.objects.filter(by_class=True).count() == 2
    lab.sync(text.replace("size: 2", "size: 1"))
    world.run(lambda: lab.ready() and world.total("reset") == 1)
    lab.sync(text.replace("size: 2", "size: unlimited"))
    world.run(lab.ready)
    with tenant_scope(world.organisation.id):
        assert ClusterMachine.objects.count() == 4


def test_a_machine_that_vanishes_is_waited_for_by_name(world: World, lab: Lab) -> None:
    world.join(1)
    gone = world.join(2)
    lab.sync(template([1], [2]))
    world.run(lambda: gone.count("install") == 1)
    gone.online = False
    world.run(lambda: lab.machine_said(2).startswith("Waiting for m-2 to"), turns=50)
    world.run(lambda: "ok" in lab.said("etcd"))
    gone.online = True
    world.run(lab.ready)
    assert gone.count("install") == 1


def test_a_machine_that_vanished_holds_its_cluster_until_it_is_clean(world: World, lab: Lab) -> None:
    world.join(1)
    away = world.join(2)
    lab.sync(template([1], [2]))
    world.run(lab.ready)
    away.online = False
    lab.destroy()
    world.run(lambda: lab.member(1) is None)
    world.run(lambda: "it has to be wiped" in lab.said("leaving"))
    away.online = True
    world.run(lab.gone)
    assert away.config is None


def test_a_taken_machine_is_refused(world: World, lab: Lab) -> None:
    world.join(1)
    lab.sync(template([1]))
    with pytest.raises(ValidationError, match="belongs to cluster lab"):
        lab.sync(template([1], name="other"))


def test_a_foreign_configuration_is_left_alone(world: World, lab: Lab) -> None:
    machine = world.join(1)
    machine.config = {"cluster": {"clusterName": "theirs"}, "machine": {"type": "worker"}}
    machine.stage = "running"
    world.report()
    with pytest.raises(ValidationError, match="not ours"):
        lab.sync(template([1]))
    assert machine.calls == []


def test_a_factory_that_is_away_stops_only_what_needs_it(
    world: World, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(canonical: str, schematic_id: str) -> None:
        raise factory.FactoryError("factory.talos.dev does not answer")

    monkeypatch.setattr(factory, "register", away)
    for number in (1, 2):
        world.join(number)
    lab.sync(template([1], [2], workers_text="systemExtensions: [siderolabs/iscsi-tools]"))
    world.run(lambda: "ok" in lab.said("etcd"))
    assert "factory.talos.dev does not answer" in lab.machine_said(2)
    monkeypatch.setattr(factory, "register", lambda canonical, schematic_id: None)
    world.run(lambda: world.machines[uuid_of(2)].count("install") == 1)
    world.machines[uuid_of(2)].schematic = "613e1592b2da41ae5e265e8789429f22e121aab91cb4deb6bc3c0b6262961245"
    assert lab.member(2) is not None
