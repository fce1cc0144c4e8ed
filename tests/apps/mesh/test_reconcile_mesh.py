"""Reading a mesh: what is asked, what is kept of the answers, what follows from them. On the real database."""

from dataclasses import replace
from datetime import timedelta

from django.utils import timezone

from apps.clusters.models import ClusterMachine
from apps.mesh import meshes, reconcile_mesh
from apps.mesh.collector import Reading
from apps.mesh.models import MeshStatus
from apps.mesh.rows import FOREIGN
from apps.mesh.states import mesh_state
from apps.reconcile.models import Outbox
from kubespan.mesh import Node, Pair, Side
from tests.apps.mesh.house import House, announced
from tests.kubespan.meshes import World, key, mesh_of, troubled


def view(house: House) -> meshes.View:
    return house.ask(lambda: meshes.view(house.rows().values(), house.status().read_at))


def test_a_mesh_in_which_all_is_well(mesh_house: House) -> None:
    mesh_house.build(mesh_of({"osl": 3, "ber": 2}))
    status = mesh_house.reconcile()
    assert (status.kubespan, status.complete, status.nodes, status.unread) == ("on", True, 5, 0)
    assert status.pairs == {"up": 10}
    assert (status.broken_since, status.worst, status.since) == (None, "", {})
    assert mesh_state(status).word == "All 10 pairs up"
    assert [site.name for site in view(mesh_house).mesh.groups] == ["ber", "osl"]


def test_what_was_read_is_what_is_seen(mesh_house: House) -> None:
    world = troubled()
    mesh_house.build(world)
    status = mesh_house.reconcile()
    assert status.pairs == {"up": 1322, "one-sided": 2, "down": 2}
    assert mesh_state(status).word == "2 pairs one-sided, 2 apart"
    assert mesh_state(status).shape == "warn"
    assert status.worst.startswith("Clock: ber-w-04 is 7 min behind") or "No endpoint in common" in status.worst
    seen = view(mesh_house)
    assert sorted(problem.kind for problem in seen.problems) == ["clock", "nat", "nat", "no-common"]
    i, j = seen.index["osl2-w-07"], seen.index["osl1-w-03"]
    peer = seen.mesh.peer(j, i)
    assert peer is not None
    assert (peer.state, peer.endpoint) == (Side.DOWN, "185.4.12.9:51820")
    assert seen.rows[i].machine is not None
    assert seen.rows[i].machine.uuid == mesh_house.uuids["osl2-w-07"]


def test_since_when_a_problem_is_stays_while_it_is(mesh_house: House) -> None:
    world = troubled()
    mesh_house.build(world)
    first = mesh_house.reconcile()
    again = mesh_house.reconcile()
    assert again.since == first.since
    assert len(first.since) == 4
    assert again.broken_since == first.broken_since is not None
    mesh_house.say(mesh_of({"osl2": 40, "osl1": 8, "ber": 4}))
    healed = mesh_house.reconcile()
    assert (healed.since, healed.broken_since, healed.worst) == ({}, None, "")


def test_nodes_that_cannot_be_asked(mesh_house: House) -> None:
    mesh_house.build(mesh_of({"osl": 4}))
    mesh_house.reconcile()
    mesh_house.observe("osl-cp-01", connected=False)
    mesh_house.observe("osl-cp-02", reachable=False)
    mesh_house.answers[mesh_house.uuids["osl-cp-03"]] = Reading(problem="did not answer in time")
    status = mesh_house.reconcile()
    assert {target.uuid for target in mesh_house.asked} == {
        mesh_house.uuids[name] for name in ("osl-cp-03", "osl-w-04")
    }
    assert (status.complete, status.unread) == (False, 3)
    unread = {name: row.unread for name, row in mesh_house.rows().items()}
    assert unread == {
        "osl-cp-01": "is not connected",
        "osl-cp-02": "is connected, and its API does not answer",
        "osl-cp-03": "did not answer in time",
        "osl-w-04": "",
    }
    assert status.pairs == {"up": 3, "unread": 3}
    assert mesh_state(status).word == "3 nodes not read"


def test_nodes_that_were_not_asked_in_time_come_first_the_next_time(mesh_house: House) -> None:
    world = mesh_of({"osl": 4})
    mesh_house.build(world)
    mesh_house.served = [announced(node) for node in world.nodes]
    late = mesh_house.answers.pop(mesh_house.uuids["osl-cp-02"])
    status = mesh_house.reconcile()
    assert (status.complete, mesh_house.rows()["osl-cp-02"].unread) == (False, "has not been asked yet")
    mesh_house.answers[mesh_house.uuids["osl-cp-02"]] = late
    mesh_house.answers.pop(mesh_house.uuids["osl-cp-01"])
    status = mesh_house.reconcile()
    assert mesh_house.asked[0].uuid == mesh_house.uuids["osl-cp-02"]
    assert status.pairs == {"up": 6}  # what the other said before still counts
    assert status.complete is False


def test_a_cluster_without_kubespan_says_so(mesh_house: House) -> None:
    world = mesh_of({"osl": 3})
    mesh_house.build(world)
    for node in world.nodes:
        me = replace(announced(node), key="", address="", endpoints=())
        mesh_house.answers[mesh_house.uuids[node.name]] = Reading(at=timezone.now().timestamp(), me=me)
    status = mesh_house.reconcile()
    assert status.kubespan == MeshStatus.OFF
    assert mesh_state(status).word == "Off"
    mesh_house.say(world)
    assert mesh_house.reconcile().kubespan == MeshStatus.ON


def test_a_cluster_of_which_nothing_is_known(mesh_house: House) -> None:
    mesh_house.build(mesh_of({"osl": 2}))
    for uuid in mesh_house.answers:
        mesh_house.answers[uuid] = Reading(problem="did not answer in time")
    status = mesh_house.reconcile()
    assert status.kubespan == MeshStatus.UNKNOWN
    assert mesh_state(status).word == "Not read"


def test_discovery_data_tells_of_nodes_that_do_not_answer(mesh_house: House) -> None:
    world = mesh_of({"osl": 3})
    mesh_house.build(world)
    for name in ("osl-cp-01", "osl-cp-02", "osl-cp-03"):
        mesh_house.observe(name, connected=False)
    mesh_house.served = [announced(node) for node in world.nodes]
    status = mesh_house.reconcile()
    assert (status.kubespan, status.unread) == ("on", 3)
    assert mesh_house.rows()["osl-cp-01"].endpoints == list(world.nodes[0].endpoints)
    assert mesh_house.rows()["osl-cp-01"].key == world.nodes[0].key


def test_nodes_that_are_no_machines_of_ours(mesh_house: House) -> None:
    world = mesh_of({"osl": 3})
    ours = World(world.nodes[:2])
    mesh_house.build(ours)
    for number, node in enumerate(world.read()[:2]):
        others = tuple(announced(item) for item in world.nodes if item is not world.nodes[number])
        reading = mesh_house.answers[mesh_house.uuids[node.name]]
        mesh_house.answers[mesh_house.uuids[node.name]] = replace(reading, peers=node.peers, others=others)
    status = mesh_house.reconcile()
    assert status.nodes == 3
    row = mesh_house.rows()["osl-cp-03"]
    assert (row.machine_id, row.unread) == (None, FOREIGN)
    assert status.pairs == {"up": 3}  # both of ours hear it
    mesh_house.say(ours)
    mesh_house.served = [announced(node) for node in ours.nodes]
    assert mesh_house.reconcile().nodes == 2


def test_a_node_with_another_key_is_another_to_its_peers(mesh_house: House) -> None:
    world = mesh_of({"osl": 3})
    mesh_house.build(world)
    mesh_house.reconcile()
    renewed = World([replace(world.nodes[0], key=key(77)), *world.nodes[1:]])
    answers = dict(mesh_house.answers)
    mesh_house.say(renewed)
    only = mesh_house.uuids["osl-cp-01"]
    mesh_house.answers = {only: mesh_house.answers[only], **{u: r for u, r in answers.items() if u != only}}
    mesh_house.reconcile()
    seen = view(mesh_house)
    i, j = seen.index["osl-cp-01"], seen.index["osl-cp-02"]
    assert (seen.mesh.side(i, j), seen.mesh.side(j, i)) == (Side.UP, Side.MISSING)
    assert seen.mesh.pair(i, j) is Pair.MISSING


def test_a_machine_that_went_to_another_cluster(mesh_house: House) -> None:
    world = mesh_of({"osl": 3})
    mesh_house.build(world)
    mesh_house.reconcile()
    other = House.make(mesh_house.organisation, "stage", 10_002)

    def move() -> None:
        ClusterMachine.objects.filter(machine__uuid=mesh_house.uuids["osl-cp-03"]).update(cluster=other.cluster)

    mesh_house.ask(move)
    reconcile_mesh.reconcile_mesh(other.organisation.id, other.cluster.id)
    assert list(other.rows()) == ["osl-cp-03"]
    assert sorted(mesh_house.rows()) == ["osl-cp-01", "osl-cp-02"]
    assert mesh_house.reconcile().nodes == 2


def test_a_look_is_due_when_the_last_reading_is_old_enough(mesh_house: House) -> None:
    mesh_house.build(mesh_of({"osl": 2}))
    status = mesh_house.reconcile()
    Outbox.objects.all().delete()
    mesh_house.ask(lambda: reconcile_mesh.look(status, mesh_house.organisation.id))
    row = Outbox.objects.get(kind="mesh")
    assert row.due_at == status.read_at + reconcile_mesh.PACE
    mesh_house.asked = []
    outcome = reconcile_mesh.reconcile_mesh(mesh_house.organisation.id, mesh_house.cluster.id)
    assert 0 < (outcome.again_in or 0) <= 30
    assert mesh_house.asked == []


def test_without_a_look_it_is_read_once_an_hour(mesh_house: House) -> None:
    mesh_house.build(mesh_of({"osl": 2}))
    mesh_house.reconcile()
    assert mesh_house.ask(reconcile_mesh.objects) == set()

    def age() -> None:
        MeshStatus.objects.update(read_at=timezone.now() - timedelta(hours=2))

    mesh_house.ask(age)
    assert mesh_house.ask(reconcile_mesh.objects) == {mesh_house.cluster.id}


def test_what_is_stored_and_cannot_be_read_is_as_if_it_was_not_read(mesh_house: House) -> None:
    mesh_house.build(mesh_of({"osl": 3}))
    mesh_house.reconcile()
    row = mesh_house.rows()["osl-cp-01"]

    def spoil() -> None:
        row.peers = bytes(row.peers or b"")[:20]
        row.save(update_fields=["peers"])

    mesh_house.ask(spoil)
    seen = view(mesh_house)
    node: Node = seen.mesh.nodes[seen.index["osl-cp-01"]]
    assert (node.peers, node.unread) == (None, meshes.LOST)
    assert seen.mesh.counts[Pair.UP] == 3
