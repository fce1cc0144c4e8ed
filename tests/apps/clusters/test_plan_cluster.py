"""The decisions about a cluster, and what its planner never does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.clusters.cluster_steps import (
    AddMembers,
    Bootstrap,
    ClassSet,
    ClusterFacts,
    EtcdMember,
    FixBootstrap,
    Kubernetes,
    Member,
    Picked,
    RemoveCluster,
    SendAway,
    StartEtcd,
)
from apps.clusters.machine_steps import Silent
from apps.clusters.plan_cluster import ClusterDecision, plan

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
JUST_NOW, LONG_AGO = NOW - timedelta(seconds=3), NOW - timedelta(minutes=5)
PULLING = NOW - timedelta(minutes=1)  # while the machine may still pull etcd's image


def member(number: int, role: str = "controlplane", **fields: object) -> Member:
    known: dict[str, object] = {
        "installed": True,
        "configured": True,
        "current": True,
        "ready": True,
        "reported_member_id": f"{number:016x}" if role == "controlplane" else "",
        "etcd_member_id": f"{number:016x}" if role == "controlplane" else "",
        "node_name": f"n{number}",
        "set_name": "lab-control-planes" if role == "controlplane" else "lab-workers",
    }
    return Member(f"u{number}", f"m-{number}", role, **(known | fields))  # type: ignore[arg-type]


CONTROL_PLANES = (member(1), member(2), member(3))
WORKER = member(4, "worker")
MEMBERS = (*CONTROL_PLANES, WORKER)
NODES = tuple((f"n{number}", True) for number in (1, 2, 3, 4))
ETCD = tuple(EtcdMember(f"{number:016x}", f"n{number}") for number in (1, 2, 3))
NEW = ClusterFacts("lab", secrets=True, members=MEMBERS)
FIXED = replace(NEW, bootstrap_uuid="u1", bootstrap=Bootstrap("secure", "booting"))
LEAVING = replace(WORKER, leaving=True, blocker="Wiping m-4.")
SHORT = ClassSet("lab-gpu", "worker", "gpu", 2, (), ())
NO_DISK = member(1, installed=False, blocker="No disk.", state="ask")
READY = replace(NEW, bootstrap_uuid="u1", bootstrapped=True, etcd=ETCD, kubernetes=Kubernetes(True, nodes=NODES))


def kind(decision: ClusterDecision) -> str:
    return decision.step.kind if decision.step else decision.ask or "wait"


def said(decision: ClusterDecision, name: str) -> str:
    return " ".join(f"{item.state}: {item.message}" for item in decision.conditions if item.name == name)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (ClusterFacts("lab"), "make-secrets"),
        (replace(NEW, members=(), picked=(Picked("u1", "m-1", "controlplane"),)), "add-members"),
        (NEW, "fix-bootstrap"),
        (replace(FIXED, bootstrap=None), "bootstrap"),
        (FIXED, "bootstrap"),
        (replace(FIXED, bootstrap=Bootstrap("secure", "booting", tried_at=LONG_AGO)), "bootstrap"),
        (replace(FIXED, bootstrap=Bootstrap("secure", "booting", tried_at=JUST_NOW, refusal="time")), "bootstrap"),
        (replace(FIXED, bootstrap=Bootstrap("secure", "booting", ETCD[:1], tried_at=JUST_NOW)), "bootstrapped"),
        (replace(READY, etcd=None), "etcd"),
        (replace(READY, kubernetes=None), "kubernetes"),
        (replace(READY, members=(member(1, etcd_member_id=""), *MEMBERS[1:])), "map-etcd"),
        (replace(READY, members=(*CONTROL_PLANES, replace(WORKER, wanted=False))), "send-away"),
        (replace(READY, classes=(ClassSet("lab-gpu", "worker", "gpu", 2, ("u8",), ("u9",)),)), "pick-machines"),
        (replace(READY, classes=(ClassSet("lab-gpu", "worker", "gpu", None, ("u8",), ("u9",)),)), "pick-machines"),
        (replace(READY, classes=(ClassSet("lab-gpu", "worker", "gpu", 1, ("u8", "u9"), ()),)), "unpick-machine"),
        (replace(READY, deleting=True), "send-away"),
        (ClusterFacts("lab", deleting=True), "remove-cluster"),
    ],
)
def test_next_step(facts: ClusterFacts, expected: str) -> None:
    assert kind(plan(facts, NOW)) == expected


@pytest.mark.parametrize(
    ("facts", "name", "words"),
    [
        (replace(NEW, picked=(Picked("u9", "u9", "worker", "Waiting for u9."),)), "machines", "wait: Waiting for u9"),
        (replace(NEW, members=(), picked=()), "machines", "wait: Waiting for machines to be picked"),
        (replace(NEW, members=(member(1, configured=False),)), "bootstrapped", "first control plane"),
        (replace(FIXED, members=CONTROL_PLANES[1:]), "bootstrapped", "bad: The machine that was to start etcd is gone"),
        (replace(FIXED, members=(member(1, connected=False),)), "bootstrapped", "off: Waiting for m-1 to connect"),
        (replace(FIXED, bootstrap=Bootstrap(Silent("no route"))), "bootstrapped", "no route"),
        (replace(FIXED, bootstrap=Bootstrap("maintenance")), "bootstrapped", "start with its config"),
        (replace(FIXED, bootstrap=Bootstrap("secure", "booting", tried_at=JUST_NOW)), "bootstrapped", "show itself"),
        (replace(FIXED, bootstrap=Bootstrap("secure", "booting", tried_at=PULLING)), "bootstrapped", "show itself"),
        (
            replace(FIXED, bootstrap=Bootstrap("secure", "booting", tried_at=LONG_AGO, accepted=True)),
            "bootstrapped",
            "may have to be pulled",
        ),
        (replace(READY, etcd=ETCD[:2]), "etcd", "2 of 3 etcd members. Waiting for m-3"),
        (replace(READY, etcd=(*ETCD, EtcdMember("f" * 16, "old"))), "etcd", "warn: etcd has members without a machine"),
        (replace(READY, etcd=(*ETCD[:2], EtcdMember("3".zfill(16), "n3", learner=True))), "etcd", "n3 to catch up"),
        (replace(READY, etcd=Silent("deadline")), "etcd", "deadline"),
        (replace(READY, kubernetes=Kubernetes(False, "HTTP 503")), "kubernetes", "HTTP 503"),
        (replace(READY, kubernetes=Kubernetes(True, nodes=NODES[:3])), "kubernetes", "m-4 to register"),
        (replace(READY, kubernetes=Kubernetes(True, nodes=(*NODES[:3], ("n4", False)))), "kubernetes", "m-4 to be"),
        (replace(READY, members=(*CONTROL_PLANES[:2], member(3, wanted=False), WORKER)), "machines", "bad: m-3"),
        (replace(READY, members=(*CONTROL_PLANES, LEAVING)), "machines", "Wiping m-4."),
        (replace(READY, deleting=True, members=(replace(WORKER, leaving=True),)), "leaving", "m-4 to be wiped"),
        (replace(NEW, members=(NO_DISK,)), "installed", "ask: 0 of 1 installed. No disk."),
        (replace(READY, classes=(SHORT,)), "machines", "2 free machines of class gpu"),
        (replace(READY, classes=(replace(SHORT, problem="no class gpu"),)), "machines", "bad"),
    ],
)  # fmt: skip
def test_what_is_awaited(facts: ClusterFacts, name: str, words: str) -> None:
    decision = plan(facts, NOW)
    assert words in said(decision, name)
    assert not decision.ready


def test_ready() -> None:
    decision = plan(READY, NOW)
    assert (decision.ready, decision.phase, decision.api_ready, decision.step) == (True, "running", True, None)
    assert decision.conditions[-1].message == "lab is ready."


def test_workers_leave_as_many_at_once_as_allowed() -> None:
    workers = tuple(member(number, "worker", wanted=False) for number in (5, 6, 7))
    facts = replace(READY, members=(*CONTROL_PLANES, *workers), removal_limits=(("lab-workers", 2),))
    step = plan(facts, NOW).step
    assert isinstance(step, SendAway)
    assert step.uuids == ("u5", "u6")


uuids = st.sampled_from([f"u{number}" for number in range(6)])
members = st.builds(
    Member,
    uuid=uuids,
    name=uuids,
    role=st.sampled_from(["controlplane", "worker"]),
    set_name=st.sampled_from(["a", "b"]),
    wanted=st.booleans(),
    leaving=st.booleans(),
    connected=st.booleans(),
    installed=st.booleans(),
    configured=st.booleans(),
    current=st.booleans(),
    ready=st.booleans(),
    reported_member_id=st.sampled_from(["", "1", "2"]),
    etcd_member_id=st.sampled_from(["", "1", "2"]),
    node_name=st.sampled_from(["", "n1", "n2"]),
    blocker=st.sampled_from(["", "Because."]),
    state=st.sampled_from(["work", "bad", "off", "ok", "wait"]),
)
etcd_members = st.lists(st.builds(EtcdMember, st.sampled_from(["1", "2", "3"]), uuids, st.booleans()), max_size=3)
silence = st.builds(Silent, st.just("no answer"), st.booleans())
all_facts = st.builds(
    ClusterFacts,
    name=st.just("lab"),
    deleting=st.booleans(),
    secrets=st.booleans(),
    picked=st.lists(
        st.builds(Picked, uuids, uuids, st.just("worker"), st.sampled_from(["", "Busy."])),
        max_size=3,
        unique_by=lambda item: item.uuid,
    ).map(tuple),
    members=st.lists(members, max_size=5, unique_by=lambda item: item.uuid).map(tuple),
    bootstrap_uuid=st.one_of(st.just(""), uuids),
    bootstrapped=st.booleans(),
    bootstrap=st.one_of(
        st.none(),
        st.builds(
            Bootstrap,
            answer=st.one_of(st.sampled_from(["maintenance", "secure"]), silence),
            stage=st.sampled_from(["booting", "running", "rebooting"]),
            members=etcd_members.map(tuple),
            tried_at=st.sampled_from([None, JUST_NOW, LONG_AGO]),
            refusal=st.sampled_from(["", "not yet"]),
        ),
    ),
    etcd=st.one_of(st.none(), silence, etcd_members.map(tuple)),
    kubernetes=st.one_of(st.none(), st.builds(Kubernetes, st.booleans())),
)  # fmt: skip


@given(all_facts)
def test_bootstraps_once_on_the_fixed_machine(facts: ClusterFacts) -> None:
    step = plan(facts, NOW).step
    if isinstance(step, StartEtcd):
        shown = facts.bootstrap
        assert shown is not None
        assert not facts.bootstrapped
        assert not facts.deleting
        assert facts.bootstrap_uuid in {member.uuid for member in facts.members if not member.leaving}
        assert shown.answer == "secure"
        assert not shown.members
        assert shown.tried_at != JUST_NOW or shown.refusal
    if isinstance(step, FixBootstrap):
        assert facts.bootstrap_uuid == ""


@given(all_facts)
def test_control_planes_leave_only_with_their_cluster(facts: ClusterFacts) -> None:
    step = plan(facts, NOW).step
    if isinstance(step, SendAway) and not facts.deleting:
        assert all(member.role == "worker" for member in facts.members if member.uuid in step.uuids)
    if isinstance(step, RemoveCluster):
        assert facts.deleting
        assert facts.members == ()


@given(all_facts)
def test_takes_only_free_machines_and_always_says_something(facts: ClusterFacts) -> None:
    decision = plan(facts, NOW)
    assert decision.conditions
    assert decision.step is None or not decision.ask
    if isinstance(decision.step, AddMembers):
        assert all(not picked.blocker for picked in facts.picked if picked.uuid in decision.step.uuids)
    if decision.ready:
        assert all(item.state == "ok" for item in decision.conditions)
        assert all(member.ready and member.current for member in facts.members if not member.leaving)
