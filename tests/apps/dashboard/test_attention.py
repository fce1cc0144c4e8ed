"""What needs a person: each cause once, the gravest first, nothing that one may not see, no query per row."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.access.actor import Actor
from apps.clusters.models import Cluster, ClusterMachine, ClusterStatus
from apps.dashboard import attention
from apps.dashboard.attention import Item
from apps.machines import actions
from apps.machines.models import (
    Agent,
    AgentObservation,
    AgentTarget,
    JoinToken,
    Link,
    Machine,
    MachineObservation,
    MachineStatus,
)
from apps.mesh.models import MeshStatus
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

NOW = timezone.now()
AGO = NOW - timedelta(hours=1)


class House:
    """An organisation to put trouble into."""

    def __init__(self, organisation: Organisation, actor: Actor) -> None:
        self.organisation, self.actor = organisation, actor

    def look(self, actor: Actor | None = None) -> attention.Fleet:
        with tenant_scope(self.organisation.id):
            return attention.fleet(actor or self.actor, "acme", NOW)

    def needs(self, actor: Actor | None = None) -> list[Item]:
        return self.look(actor).needs

    def cluster(self, name: str, state: str = "ok", message: str = "All is well.", since: datetime = AGO) -> Cluster:
        condition = {"name": "machines", "state": state, "message": message, "since": since.isoformat()}
        with tenant_scope(self.organisation.id):
            cluster = Cluster.new(
                name=name, kubernetes_version="1.36.2", talos_version="1.13.8", initial_talos_version="1.13.8",
                balancer_port=10_000 + Cluster.objects.count(),
            )  # fmt: skip
            ClusterStatus.new(
                cluster=cluster, conditions=[condition], ready=state == "ok", ready_at=AGO, observed_generation=1
            )
        return cluster

    def machine(self, number: int, cluster: Cluster | None = None, **observed: Any) -> Machine:
        fields = {"connected": True, "reachable": True, "observed_at": AGO, "connected_changed_at": AGO} | observed
        with tenant_scope(self.organisation.id):
            machine = Machine.new(uuid=f"00000000-0000-4000-8000-{number:012d}")
            MachineObservation.new(machine=machine, hostname=f"m-{number}", **fields)
            MachineStatus.new(machine=machine)
            if cluster:
                ClusterMachine.new(cluster=cluster, machine=machine, role="worker", kubernetes_version="1.36.2")
        return machine


@pytest.fixture
def house(organisation: Organisation, actor: Callable[..., Actor]) -> House:
    return House(organisation, actor("owner"))


def test_calm(house: House) -> None:
    house.machine(1, house.cluster("prod"))
    found = house.look()
    assert (found.needs, found.moving) == ([], [])
    assert found.clusters == {"all": 1, "ok": 1}


@pytest.mark.parametrize(
    ("state", "since", "title"),
    [
        ("bad", NOW, "prod stopped"),
        ("ask", NOW, "prod asks for a decision"),
        ("warn", NOW, "prod is degraded"),
        ("wait", NOW - timedelta(minutes=11), "prod waits"),
        ("off", NOW - timedelta(minutes=3), "prod misses a machine"),
    ],
)
def test_a_cluster_with_its_blocker_and_since_when(house: House, state: str, since: datetime, title: str) -> None:
    house.cluster("prod", state, "Waiting for m-1 to come back.", since)
    (item,) = house.needs()
    assert (item.shape, item.title, item.sentence, item.since) == (state, title, "Waiting for m-1 to come back.", since)
    assert item.page == "/o/acme/clusters/prod"


@pytest.mark.parametrize(
    ("state", "since"),
    [("work", AGO), ("wait", NOW - timedelta(minutes=9)), ("off", NOW - timedelta(seconds=100))],
)
def test_what_goes_on_by_itself_is_no_need(house: House, state: str, since: datetime) -> None:
    house.cluster("prod", state, "Installing.", since)
    found = house.look()
    assert found.needs == []
    assert [item.name for item in found.moving] == ["prod"]


def test_one_cause_is_one_item(house: House) -> None:
    cluster = house.cluster("prod")
    for number in range(3):
        house.machine(number, cluster, connected=False)
    house.machine(7, cluster, connected=False, connected_changed_at=NOW - timedelta(seconds=5))  # may be a reboot
    house.machine(8, connected=False)  # free: it may well be switched off
    (item,) = house.needs()
    assert item.title == "3 machines of prod are not connected"
    assert item.since == AGO
    assert item.page == "/o/acme/machines?q=state%3Doff+cluster%3Dprod"


def test_a_cluster_that_says_so_itself_is_not_said_again(house: House) -> None:
    house.machine(1, house.cluster("prod", "off", "Waiting for m-1 to connect."), connected=False)
    assert [item.key for item in house.needs()] == ["cluster/prod"]


def test_machines_behind_a_silent_agent_are_its_item(house: House) -> None:
    machine = house.machine(1, house.cluster("prod"), connected=False)
    with tenant_scope(house.organisation.id):
        agent = Agent.new(name="ber-03", credential_hash=b"x" * 32)
        AgentObservation.new(agent=agent, connected=False, connected_changed_at=AGO)
        AgentTarget.new(agent=agent, address="10.0.0.1:50000", machine=machine)
    (item,) = house.needs()
    assert item.title == "Agent ber-03 is silent, and with it 1 machine"


def test_machines_found_and_not_accepted(house: House) -> None:
    with tenant_scope(house.organisation.id):
        agent = Agent.new(name="ber-03", credential_hash=b"x" * 32)
        AgentObservation.new(agent=agent, connected=True, connected_changed_at=AGO)
        for number in range(2):
            AgentTarget.new(agent=agent, address=f"10.0.0.{number}:50000", uuid=f"u-{number}", api_mode="maintenance")
        AgentTarget.new(agent=agent, address="10.0.0.9:50000")  # did not answer
        AgentTarget.new(agent=agent, address="10.0.0.8:50000", uuid="x", api_mode="maintenance", problem="It is known.")
    (item,) = house.needs()
    assert (item.shape, item.title) == ("ask", "Agent ber-03 found 2 machines")
    assert item.page == "/o/acme/agents/ber-03"


def test_troubled_free_machines_by_condition(house: House) -> None:
    message = "The machine runs a configuration of its own (stage running) and is in no cluster."
    condition = {"name": "Free", "state": "warn", "message": message, "since": AGO.isoformat()}
    for number in range(3):
        machine = house.machine(number)
        with tenant_scope(house.organisation.id):
            MachineStatus.objects.filter(machine=machine).update(conditions=[condition])
    (item,) = house.needs()
    assert (item.title, item.sentence) == ("3 machines need a look", message)


def test_machines_that_do_not_answer_and_that_stand_at_the_door(house: House) -> None:
    house.machine(1, reachable=False)
    with tenant_scope(house.organisation.id):
        link = Link.new(claimed_uuid="x", transport="udp", public_key="k" * 44, address="fdae:41e4:649b:9303::9")
        Link.objects.filter(id=link.id).update(created_at=AGO)
    assert {item.key for item in house.needs()} == {"machines/deaf", "links/pending"}


def test_join_tokens_that_end(house: House, actor: Callable[..., Actor]) -> None:
    with tenant_scope(house.organisation.id):
        for name in ("default", "soon", "over", "later"):
            actions.create_join_token(house.actor, name)
        ends = {"default": NOW - timedelta(hours=1), "soon": NOW + timedelta(hours=5), "over": AGO}
        for name, moment in ends.items():
            JoinToken.objects.filter(name=name).update(expires_at=moment)
    first, second = house.needs()
    assert (first.shape, first.name) == ("bad", "default")
    assert (second.shape, second.name) == ("warn", "soon")
    assert house.needs(actor("reader")) == [], "join tokens are not for readers"


def broken_mesh(house: House, cluster: Cluster, **fields: Any) -> None:
    """A mesh with a pair apart, as it was read a moment ago."""
    made = {"kubespan": "on", "read_at": NOW, "broken_since": AGO, "nodes": 3, "pairs": {"up": 2, "down": 1},
            "worst": "Blocked: nothing heard."} | fields  # fmt: skip
    with tenant_scope(house.organisation.id):
        MeshStatus.new(cluster=cluster, **made)


def test_a_broken_mesh(house: House) -> None:
    broken_mesh(house, house.cluster("prod"))
    [item] = house.needs()
    assert (item.shape, item.title) == ("warn", "Mesh of prod: 1 pair apart")
    assert (item.sentence, item.since) == ("Blocked: nothing heard.", AGO)
    assert item.page == "/o/acme/clusters/prod/mesh"


@pytest.mark.parametrize(
    "fields",
    [
        {"broken_since": NOW - timedelta(minutes=2)},  # a node restarts
        {"read_at": NOW - timedelta(hours=3)},  # who knows how it is now
        {"broken_since": None, "pairs": {"up": 2, "unread": 1}},
        {"kubespan": "off"},
    ],
)
def test_meshes_that_need_nobody(house: House, fields: dict[str, Any]) -> None:
    broken_mesh(house, house.cluster("prod"), **fields)
    assert house.needs() == []


def test_the_gravest_first_then_the_newest(house: House) -> None:
    house.cluster("a", "warn", since=NOW - timedelta(hours=2))
    house.cluster("b", "bad", since=NOW - timedelta(hours=2))
    house.cluster("c", "warn", since=NOW - timedelta(hours=1))
    found = house.look()
    assert [item.name for item in found.needs] == ["b", "c", "a"]
    assert found.worst == ["b", "a", "c"]


def test_no_query_per_row(house: House, django_assert_num_queries: Any) -> None:
    def queries() -> int:
        with django_assert_num_queries(count):
            house.look()
        return count

    count = 14
    queries()
    for number in range(4):
        cluster = house.cluster(f"c-{number}", "bad")
        for machine in range(3):
            house.machine(number * 10 + machine, cluster, connected=False)
    queries()


def test_nothing_of_another_organisation(house: House, other_organisation: Organisation, actor: Any) -> None:
    house.cluster("prod", "bad")
    with tenant_scope(other_organisation.id):
        assert attention.fleet(actor("owner", other_organisation), "umbrella", NOW).needs == []
