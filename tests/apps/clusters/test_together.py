"""Several at once: whoever is second sees what the first one did."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from apps.access.actor import Actor
from apps.clusters import actions, store
from apps.clusters.models import Cluster, MachineSetNode
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from tests.apps.clusters.templates import template
from tests.apps.clusters.world import uuid_of

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(monkeypatch: pytest.MonkeyPatch, organisation: Organisation, *acts: Callable[[], Any]) -> list[Any]:
    """What each act gave or raised. The first is held in mid-sync until the others wait for it or are done."""
    began, answers = threading.Event(), [None] * len(acts)
    write, others = store.write, [threading.Thread(target=lambda n=n: run(n)) for n in range(1, len(acts))]

    def held(resource: Any) -> None:
        if threading.current_thread() is first and not began.is_set():
            began.set()
            for other in others:
                other.start()
            for other in others:
                other.join(1)
        write(resource)

    def run(number: int) -> None:
        try:
            with tenant_scope(organisation.id):
                answers[number] = acts[number]()
        except Exception as error:
            answers[number] = error
        finally:
            connection.close()

    monkeypatch.setattr(store, "write", held)
    first = threading.Thread(target=lambda: run(0))
    first.start()
    for thread in (first, *others):
        thread.join(30)
    return answers


@pytest.fixture
def owner(organisation: Organisation) -> Actor:
    return Actor("user", "id", "owner@example.com", organisation.id, "owner")


def test_one_machine_for_two_clusters(
    monkeypatch: pytest.MonkeyPatch, organisation: Organisation, owner: Actor
) -> None:
    texts = [template([1]), template([1]).replace("name: lab", "name: other")]
    won, lost = at_once(
        monkeypatch, organisation, *(lambda text=text: actions.sync_template(owner, text) for text in texts)
    )
    assert won.cluster == "lab"
    assert "lab" in str(lost)
    with tenant_scope(organisation.id):
        assert [cluster.name for cluster in Cluster.objects.all()] == ["lab"]
        assert MachineSetNode.objects.get().machine_set.cluster.name == "lab"


def test_one_cluster_from_two_templates(
    monkeypatch: pytest.MonkeyPatch, organisation: Organisation, owner: Actor
) -> None:
    texts = [template([1], [2]), template([1], [3])]
    answers = at_once(
        monkeypatch, organisation, *(lambda text=text: actions.sync_template(owner, text) for text in texts)
    )
    assert [answer.cluster for answer in answers] == ["lab", "lab"]
    with tenant_scope(organisation.id):
        assert {node.machine_uuid for node in MachineSetNode.objects.all()} == {uuid_of(1), uuid_of(3)}


def test_one_cluster_twice(monkeypatch: pytest.MonkeyPatch, organisation: Organisation, owner: Actor) -> None:
    answers = at_once(monkeypatch, organisation, *[lambda: actions.sync_template(owner, template([1], [2]))] * 3)
    assert sorted(len(answer.plan.create) > 0 for answer in answers) == [False, False, True]


def test_a_sync_while_the_cluster_is_destroyed(
    monkeypatch: pytest.MonkeyPatch, organisation: Organisation, owner: Actor
) -> None:
    with tenant_scope(organisation.id):
        actions.sync_template(owner, template([1]))

    def destroy() -> None:
        actions.destroy_cluster(owner, Cluster.objects.get())

    synced, destroyed = at_once(
        monkeypatch, organisation, lambda: actions.sync_template(owner, template([1], [2])), destroy
    )
    assert (synced.cluster, destroyed) == ("lab", None)
    with tenant_scope(organisation.id):
        assert Cluster.objects.get().deleting_at is not None
        with pytest.raises(Exception, match="being destroyed"):
            actions.sync_template(owner, template([1], [2, 3]))
