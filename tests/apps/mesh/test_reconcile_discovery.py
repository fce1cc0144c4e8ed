"""Affiliates of machines that leave are taken out of discovery services, on the real database."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from apps.access.actor import Actor
from apps.audit.models import AuditRecord
from apps.clusters import actions
from apps.clusters.models import Cluster, ClusterMachine
from apps.machines.models import MachineObservation
from apps.mesh import reconcile_discovery, services
from apps.mesh.models import Affiliate
from apps.mesh.plan import GIVE_UP
from apps.reconcile.models import Outbox
from apps.reconcile.registry import OBJECTS, RECONCILERS
from apps.tenants.scope import tenant_scope
from tests.apps.clusters.templates import template
from tests.apps.clusters.world import World, bundle_for

OURS = "http://[fdae:41e4:649b:9303::1]:8093"
PUBLIC = "https://discovery.talos.dev"


class Services:
    """Discovery services in memory: (service, cluster id, affiliate id), and those that do not answer."""

    def __init__(self) -> None:
        self.forgot: list[tuple[str, str, str]] = []
        self.silent: set[str] = set()

    def forget(self, wanted: Iterable[tuple[str, str, str]]) -> list[str]:
        answers = []
        for service, cluster_id, affiliate_id in wanted:
            if service in self.silent:
                answers.append("it did not answer in time")
                continue
            self.forgot.append((service, cluster_id, affiliate_id))
            answers.append("")
        return answers


class Lab:
    """A cluster of one control plane and two workers, whose machines say node ids."""

    def __init__(self, world: World, services: Services) -> None:
        self.world, self.services = world, services
        self.owner = Actor("user", "1", "owner@example.com", world.organisation.id, "owner")
        for number in (1, 2, 3):
            world.join(number)
        self.sync([2, 3])
        world.run(lambda: all(machine.ready for machine in world.machines.values()))
        for number in (1, 2, 3):
            self.say(number, f"node{number}")
        self.reconcile()

    def sync(self, workers: list[int]) -> None:
        with tenant_scope(self.world.organisation.id):
            actions.sync_template(self.owner, template([1], workers))
            self.cluster = Cluster.objects.get()

    def say(self, number: int, node_id: str) -> None:
        with tenant_scope(self.world.organisation.id):
            uuid = next(machine.uuid for machine in self.world.machines.values() if machine.number == number)
            MachineObservation.objects.filter(machine__uuid=uuid).update(node_id=node_id)

    def reconcile(self, most: int = 10) -> float | None:
        """As the engine does, until there is nothing to do now."""
        for _ in range(most):
            outcome = RECONCILERS[reconcile_discovery.KIND](self.world.organisation.id, self.cluster.id)
            if outcome.again_in != 0.0:
                return outcome.again_in
        raise AssertionError("it does not come to rest")

    def affiliates(self) -> dict[str, Affiliate]:
        with tenant_scope(self.world.organisation.id):
            return {row.node_id: row for row in Affiliate.objects.all()}

    def hinted(self) -> bool:
        return Outbox.objects.filter(kind=reconcile_discovery.KIND, object_id=self.cluster.id).exists()

    def without(self, number: int) -> None:
        """Take a worker out, until its machine is free."""
        self.sync([other for other in (2, 3) if other != number])
        self.world.run(lambda: self.members() == 2)

    def members(self) -> int:
        with tenant_scope(self.world.organisation.id):
            return ClusterMachine.objects.count()

    def audited(self, verb: str) -> list[AuditRecord]:
        with tenant_scope(self.world.organisation.id):
            return list(AuditRecord.objects.filter(verb=verb))


@pytest.fixture
def discovery(monkeypatch: pytest.MonkeyPatch) -> Services:
    there = Services()
    monkeypatch.setattr(services, "forget", there.forget)
    return there


@pytest.fixture
def lab(world: World, discovery: Services) -> Lab:
    return Lab(world, discovery)


def test_nodes_are_known_with_the_services_of_their_configuration(lab):
    rows = lab.affiliates()
    assert set(rows) == {"node1", "node2", "node3"}
    assert {tuple(row.services) for row in rows.values()} == {(PUBLIC,)}
    assert {row.machine_name for row in rows.values()} == {"m-1", "m-2", "m-3"}
    assert lab.services.forgot == []


def test_a_machine_that_left_is_taken_out_of_every_service_it_used(lab):
    lab.without(3)
    assert lab.hinted()
    assert lab.reconcile() is None
    cluster_id = bundle_for("1.13.8").cluster_id
    assert sorted(lab.services.forgot) == [(OURS, cluster_id, "node3"), (PUBLIC, cluster_id, "node3")]
    row = lab.affiliates()["node3"]
    assert (row.services, row.problem, row.removed_at is not None) == ([], "", True)
    assert [item.details["machine"][-2:] for item in lab.audited("discovery.affiliate-removed")] == ["03"]


def test_a_machine_on_its_way_out_stays_until_it_was_reset(lab):
    lab.sync([2])
    lab.world.run(lambda: any("reset" in machine.calls for machine in lab.world.machines.values()))
    lab.reconcile()
    assert lab.services.forgot == []


def test_a_service_that_does_not_answer_is_asked_again_and_given_up_in_time(lab):
    lab.services.silent.add(PUBLIC)
    lab.without(3)
    assert lab.reconcile() == 2.0
    row = lab.affiliates()["node3"]
    assert row.problem == f"{PUBLIC}: it did not answer in time"
    assert (row.services, row.removed_at) == ([PUBLIC], None)
    lab.world.now += GIVE_UP + timedelta(seconds=1)
    assert lab.reconcile() is None
    assert [service for service, _, _ in lab.services.forgot] == [OURS]
    assert lab.affiliates()["node3"].removed_at is not None
    assert [item.outcome for item in lab.audited("discovery.removal-given-up")] == ["failed"]


def test_a_service_that_answers_again_forgets(lab):
    lab.services.silent.add(PUBLIC)
    lab.without(3)
    lab.reconcile()
    lab.services.silent.clear()
    lab.world.now += timedelta(seconds=2)
    lab.reconcile()
    assert [service for service, _, _ in lab.services.forgot] == [OURS, PUBLIC]


def test_the_old_id_of_a_wiped_machine_goes_and_the_new_one_stays(lab):
    lab.say(2, "node2b")
    lab.reconcile()
    assert {affiliate for _, _, affiliate in lab.services.forgot} == {"node2"}
    assert lab.affiliates()["node2b"].gone_at is None


def test_a_destroyed_cluster_is_forgotten_whole(lab):
    with tenant_scope(lab.world.organisation.id):
        actions.destroy_cluster(lab.owner, Cluster.objects.get())

    def gone() -> bool:
        with tenant_scope(lab.world.organisation.id):
            return not Cluster.objects.exists()

    lab.world.run(gone)
    with tenant_scope(lab.world.organisation.id):
        assert lab.cluster.id in OBJECTS[reconcile_discovery.KIND]()
    lab.reconcile()
    assert {affiliate for _, _, affiliate in lab.services.forgot} == {"node1", "node2", "node3"}
    lab.world.now += GIVE_UP
    lab.reconcile()
    assert lab.affiliates() == {}


def test_a_changed_configuration_adds_its_services(lab):
    with tenant_scope(lab.world.organisation.id):
        patch = "{cluster: {discovery: {registries: {service: {endpoint: 'https://discovery.example.org'}}}}}"
        actions.sync_template(lab.owner, template([1], [2, 3], patch=patch))
    lab.world.run(lambda: lab.world.total("apply") == 6)
    lab.reconcile()
    assert lab.affiliates()["node2"].services == ["https://discovery.example.org", PUBLIC]


def test_another_organisation_sees_none_of_it(lab, other_organisation):
    with tenant_scope(other_organisation.id):
        assert not Affiliate.objects.exists()
    outcome = RECONCILERS[reconcile_discovery.KIND](other_organisation.id, lab.cluster.id)
    assert outcome.again_in is None
    assert set(lab.affiliates()) == {"node1", "node2", "node3"}
    assert lab.services.forgot == []


def test_the_id_of_a_cluster_is_sealed(lab):
    cluster_id = bundle_for("1.13.8").cluster_id
    for row in lab.affiliates().values():
        assert cluster_id.encode() not in bytes(row.sealed_cluster_id) + bytes(row.cluster_hash)
