"""Reading machines: search, counts, labels, log lines, and the number of queries for a list."""

from typing import Any

import pytest

from apps.clusters.models import Cluster, ClusterMachine
from apps.machines import queries, states
from apps.machines.models import Machine, MachineObservation
from tests.apps.machines.desk import Desk


@pytest.fixture
def fleet(desk: Desk) -> Desk:
    """Four machines: a free one, one in a cluster that runs, one degraded, one gone."""
    seen: list[dict[str, Any]] = [
        {"hostname": "alpha", "stage": "maintenance", "arch": "amd64", "image_labels": {"zone": "a", "rack": "1"}},
        {"hostname": "beta", "stage": "running", "ready": True, "arch": "arm64", "talos_version": "v1.13.8"},
        {"hostname": "gamma", "stage": "running", "ready": False, "addresses": ["10.0.0.7/24"]},
        {"hostname": "delta_100%", "stage": "running", "ready": True, "connected": False},
    ]
    labels = [{"rack": "2"}, {"zone": "b", "in__x": "1"}, {"contains": "1"}, {}]
    for number, fields in enumerate(seen, 1):
        link, _ = desk.joined(f"00000000-0000-4000-8000-{number:012d}", number)
        fields = {"connected": True, "reachable": True, **fields}
        desk.ask(lambda id=link.machine_id, f=fields: MachineObservation.objects.filter(machine_id=id).update(**f))
        desk.ask(lambda id=link.machine_id, n=number: Machine.objects.filter(id=id).update(labels=labels[n - 1]))

    def take() -> None:
        cluster = Cluster.new(
            name="lab", kubernetes_version="1.36.3", talos_version="1.13.8", initial_talos_version="1.13.8",
            balancer_port=10_000,
        )  # fmt: skip
        beta = Machine.objects.get(observation__hostname="beta")
        ClusterMachine.new(cluster=cluster, role="worker", machine=beta, kubernetes_version="1.36.3")

    desk.ask(take)
    return desk


def names(desk: Desk, text: str) -> list[str]:
    found = desk.ask(lambda: list(queries.search(queries.machines(), text).order_by("uuid")))
    return [machine.observation.hostname[:5] for machine in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["alpha", "beta", "gamma", "delta"]),
        ("ALP", ["alpha"]),
        ("000000000003", ["gamma"]),
        ("10.0.0.7", ["gamma"]),
        ("0%", ["delta"]),
        ("_", ["delta"]),
        ("fdae:", ["alpha", "beta", "gamma", "delta"]),
        ("alpha beta", []),
        ("arch=arm64", ["beta"]),
        ("arch!=arm64", ["alpha", "gamma", "delta"]),
        ("talos=v1.13.8", ["beta"]),
        ("cluster=lab", ["beta"]),
        ("cluster!=lab", ["alpha", "gamma", "delta"]),
        ("role=worker", ["beta"]),
        ("connected=false", ["delta"]),
        ("ready=true", ["beta", "delta"]),
        ("free=yes", ["alpha", "gamma", "delta"]),
        ("state=free", ["alpha"]),
        ("state=degraded", ["gamma"]),
        ("state=ready", ["beta"]),
        ("state=off", ["delta"]),
        ("state!=off", ["alpha", "beta", "gamma"]),
        ("stage=maintenance", ["alpha"]),
        ("label:zone", ["alpha", "beta"]),
        ("label:zone=a", ["alpha"]),
        ("label:zone!=a", ["beta", "gamma", "delta"]),
        ("label:!zone", ["gamma", "delta"]),
        ("label:rack=2", ["alpha"]),  # the user's label is over the image's
        ("label:rack=1", []),
        ("label:zone=a,rack=2", ["alpha"]),
        ("label:in__x=1", ["beta"]),
        ("label:contains=1", ["gamma"]),
        ("label:isnull", []),
        ("label:zone=a state=free", ["alpha"]),
        ("'; DROP TABLE machines_machine; --", []),
    ],
)
def test_search(fleet: Desk, text: str, found: list[str]) -> None:
    assert names(fleet, text) == found


@pytest.mark.parametrize("text", ["colour=red", "label:", "label:a>3", "label:(", "a\x00b"])
def test_a_search_that_is_not_understood(fleet: Desk, text: str) -> None:
    with pytest.raises(ValueError):
        names(fleet, text)


def test_counts_in_one_query(fleet: Desk, django_assert_num_queries: Any) -> None:
    def look() -> None:
        with django_assert_num_queries(1):
            assert queries.counts() == {"all": 4, "off": 1, "free": 1, "waiting": 0, "degraded": 1, "ready": 1}

    fleet.ask(look)


def test_a_list_is_one_query_whatever_it_shows(fleet: Desk, django_assert_num_queries: Any) -> None:
    def look() -> None:
        with django_assert_num_queries(1):
            for machine in queries.machines():
                queries.labels_of(machine)
                states.machine_state(machine.observation, states.cluster_of(machine))
                assert machine.link.join_token.name == "default"
                assert machine.status.conditions == []

    fleet.ask(look)


def test_labels_that_selectors_see(fleet: Desk) -> None:
    alpha, beta = fleet.ask(lambda: list(queries.machines().order_by("uuid")[:2]))
    labels = queries.labels_of(alpha)
    assert labels["omni.sidero.dev/arch"] == "amd64"
    assert (labels["zone"], labels["rack"]) == ("a", "2")
    assert {"omni.sidero.dev/connected", "omni.sidero.dev/available"} <= labels.keys()
    assert "omni.sidero.dev/installed" not in labels
    assert "omni.sidero.dev/available" not in queries.labels_of(beta)
