"""The maintenance configuration: what is decided, what it holds, and that the reconciler gives it to a machine once."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from apps.clusters.models import Cluster, ClusterMachine
from apps.machines import nodes, plan
from apps.machines.joinpage import join_documents, machine_documents
from apps.machines.models import Link, MachineObservation, MachineStatus
from apps.machines.plan import Facts, decide, maintenance_config
from apps.machines.reconcilers import RETRY, reconcile_machine
from apps.reconcile.registry import Outcome
from nodeagent import errors
from nodeagent.identity import WrongMachine
from talos.config import document
from tests.apps.machines.desk import UUID, Desk

FREE = Facts(
    connected=True,
    reachable=True,
    stage="maintenance",
    api_mode="maintenance",
    in_cluster=False,
    over_agent=False,
    link_key="key",
    wanted_sha="wanted",
    applied_sha="",
    applied_key="",
    error="",
)
DONE = replace(FREE, applied_sha="wanted", applied_key="key")


@pytest.mark.parametrize(
    ("facts", "apply", "last"),
    [
        (FREE, True, "Telling the machine where events go"),
        (DONE, False, "Events and logs are sent to us"),
        (replace(DONE, link_key="after a reboot"), True, "Telling the machine"),
        (replace(DONE, wanted_sha="changed"), True, "Telling the machine"),
        (replace(FREE, connected=False), False, "Waiting for the machine to send a packet"),
        (replace(FREE, over_agent=True), False, "API answers"),
        (replace(FREE, over_agent=True, connected=False), False, "Waiting for an agent that reaches the machine"),
        (replace(FREE, reachable=False, error="refused"), False, "API to answer: refused"),
        (replace(FREE, reachable=False), False, "no connection yet"),
        (replace(FREE, in_cluster=True), False, "API answers"),
        (replace(FREE, stage="running", api_mode="secure"), False, "configuration of its own (stage running)"),
        (replace(FREE, stage=""), False, "stage unknown"),
    ],
)
def test_decisions(facts: Facts, apply: bool, last: str) -> None:
    decision = decide(facts)
    assert decision.apply == apply
    assert last in decision.conditions[-1].message


def test_nothing_is_ever_applied_where_it_must_not() -> None:
    for connected, reachable, in_cluster, mode, stage in itertools.product(
        (True, False),
        (True, False),
        (True, False),
        ("maintenance", "secure", ""),
        ("maintenance", "running", "booting"),
    ):
        facts = replace(
            FREE, connected=connected, reachable=reachable, in_cluster=in_cluster, api_mode=mode, stage=stage
        )
        allowed = connected and reachable and not in_cluster and mode == stage == "maintenance"
        assert decide(facts).apply == allowed


# --- the configuration --------------------------------------------------------------------------------------------


SIDEROLINK = "apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: grpc://h:1?jointoken=t\n"
FOREIGN_SINK = "apiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: 192.0.2.1:1\n"
OTHER_LOG = "apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: mine\nurl: tcp://192.0.2.1:5\n"


def kinds(text: str) -> list[tuple[str, str]]:
    return [(item.kind, item.name or "") for item in document.load(text).documents]


def test_a_machine_without_a_configuration_is_told_where_events_and_logs_go() -> None:
    made = maintenance_config(None, join_documents())
    assert [kind for kind, _ in kinds(made)] == ["EventSinkConfig", "KmsgLogConfig"]
    assert "[fdae:41e4:649b:9303::1]:8090" in made
    assert "tcp://[fdae:41e4:649b:9303::1]:8092" in made


def test_what_the_machine_has_stays_and_ours_replaces_its_like() -> None:
    made = maintenance_config("---\n".join([SIDEROLINK, FOREIGN_SINK, OTHER_LOG]), join_documents())
    assert sorted(kind for kind, _ in kinds(made)) == [
        "EventSinkConfig", "KmsgLogConfig", "KmsgLogConfig", "SideroLinkConfig",
    ]  # fmt: skip
    assert "grpc://h:1?jointoken=t" in made
    assert "192.0.2.1:1" not in made
    assert "tcp://192.0.2.1:5" in made
    assert maintenance_config(made, join_documents()) == made


def test_documents_for_a_machine_hold_the_token_it_joined_with(desk: Desk) -> None:
    link, unique = desk.joined()
    assert desk.token in desk.ask(lambda: machine_documents(Link.objects.get(id=link.id)))
    other = desk.new_token("other")
    desk.provision(unique=unique, token=other, tunnel=True)
    text = desk.ask(lambda: machine_documents(Link.objects.get(id=link.id)))
    assert other in text
    assert "grpc_tunnel=true" in text
    assert unique.token not in text


# --- the reconciler -----------------------------------------------------------------------------------------------


class FakeClient:
    """A machine in maintenance mode."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.error: Exception | None = None
        self.existing: str | None = None

    async def get(self, kind: Any, id: str) -> Any:
        if self.existing is None:
            raise errors.NotFound("m", "get", None, "")  # type: ignore[arg-type]
        return type("Stored", (), {"spec": self.existing})

    async def apply_configuration(self, data: bytes) -> None:
        if self.error:
            raise self.error
        self.applied.append(data.decode())


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()

    def call(address: str, credentials: Any, work: Callable[[Any], Any], uuid: str) -> Any:
        assert (credentials, uuid) == (None, UUID)
        return nodes.run(work(fake), 10)

    monkeypatch.setattr(nodes, "call", call)
    return fake


def reconcile(desk: Desk) -> Outcome:
    machine_id = desk.ask(lambda: MachineStatus.objects.get().machine_id)
    return reconcile_machine(desk.organisation.id, machine_id)


def said(desk: Desk) -> dict[str, Any]:
    return {item["name"]: item for item in desk.ask(MachineStatus.objects.get).conditions}


@pytest.fixture
def free(desk: Desk) -> Desk:
    """A machine waiting in maintenance mode."""
    desk.joined()
    desk.ask(
        lambda: MachineObservation.objects.update(
            connected=True, reachable=True, stage="maintenance", api_mode="maintenance"
        )
    )
    return desk


def test_a_free_machine_is_told_once(free: Desk, client: FakeClient) -> None:
    assert reconcile(free).again_in is not None
    assert len(client.applied) == 1
    assert reconcile(free).again_in is None
    assert len(client.applied) == 1
    assert said(free)["Join documents"]["state"] == "ok"


def test_after_a_reboot_it_is_told_again(free: Desk, client: FakeClient) -> None:
    reconcile(free)
    free.ask(lambda: Link.objects.update(public_key="another"))
    reconcile(free)
    assert len(client.applied) == 2


def test_a_failure_is_said_and_repeated(free: Desk, client: FakeClient) -> None:
    client.error = errors.Unreachable("m1", "applying", None, "gone")  # type: ignore[arg-type]
    client.error.code = type("Code", (), {"name": "UNAVAILABLE"})  # type: ignore[attr-defined]
    assert reconcile(free).again_in == RETRY
    assert "did not get through: gone" in said(free)["Join documents"]["message"]
    client.error = None
    reconcile(free)
    assert len(client.applied) == 1


@pytest.mark.parametrize("error", [OSError("no gateway"), TimeoutError(), WrongMachine("another machine")])
def test_other_failures_are_waits_too(free: Desk, client: FakeClient, error: Exception) -> None:
    client.error = error
    assert reconcile(free).again_in == RETRY
    assert said(free)["Join documents"]["state"] == "wait"


def test_talos_too_old_for_it_is_left_in_peace(free: Desk, client: FakeClient) -> None:
    client.error = errors.Unsupported("m1", "applying", None, "")  # type: ignore[arg-type]
    reconcile(free)
    assert reconcile(free).again_in is None
    assert said(free)["Join documents"]["state"] == "ok"


def test_a_configuration_that_cannot_be_read_is_not_overwritten(free: Desk, client: FakeClient) -> None:
    client.existing = "kind: ["
    assert reconcile(free).again_in == RETRY
    assert client.applied == []


def test_what_the_machine_has_is_kept(free: Desk, client: FakeClient) -> None:
    client.existing = SIDEROLINK
    reconcile(free)
    assert "SideroLinkConfig" in client.applied[0]


def test_a_machine_in_a_cluster_is_not_touched(free: Desk, client: FakeClient) -> None:
    def take() -> None:
        cluster = Cluster.new(
            name="lab", kubernetes_version="1.36.3", talos_version="1.13.8", initial_talos_version="1.13.8",
            balancer_port=10_000,
        )  # fmt: skip
        machine_id = MachineStatus.objects.get().machine_id
        ClusterMachine.new(cluster=cluster, role="worker", machine_id=machine_id, kubernetes_version="1.36.3")

    free.ask(take)
    assert reconcile(free).again_in is None
    assert client.applied == []


def test_a_machine_that_is_gone(free: Desk, client: FakeClient) -> None:
    machine_id = free.ask(lambda: MachineStatus.objects.get().machine_id)
    free.ask(lambda: MachineStatus.objects.get().machine.delete())
    assert reconcile_machine(free.organisation.id, machine_id) == Outcome()


def test_plan_names_every_wait() -> None:
    for facts in (replace(FREE, connected=False), replace(FREE, reachable=False)):
        assert plan.decide(facts).conditions[-1].state in ("off", "wait")
