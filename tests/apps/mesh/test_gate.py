"""Which machine may do what at the discovery service: no machine of one cluster ever speaks in another of ours."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError
from hypothesis import given
from hypothesis import strategies as st

from apps.clusters import credentials
from apps.clusters.models import Cluster, ClusterMachine, ClusterSecrets
from apps.machines.models import Link, Machine, MachineObservation
from apps.mesh import gate
from apps.mesh.gate import FRESH, NO_ANSWER, NOT_A_MEMBER, NOT_ITS_NODE, MachineGate
from apps.tenants import lookups
from apps.tenants.lookups import Standing
from apps.tenants.scope import tenant_scope
from kubespan.ports import Act

PATIENCE = 3.0
SPEAKING = (Act.PUBLISH, Act.DELETE)
OTHERS = tuple(act for act in Act if act not in SPEAKING)
ORGANISATION = UUID(int=7)


@dataclass
class Site:
    """Clusters and machines in memory in the place of the database, and the time, which passes while somebody waits."""

    now: float = 1000.0
    database: bool = True
    members: dict[str, str] = field(default_factory=dict)  # overlay address -> cluster id
    says: dict[str, str] = field(default_factory=dict)  # overlay address -> node id
    managed: set[str] = field(default_factory=set)
    asked: int = 0
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def look(self, discovery_hash: bytes, address: str, node_id: str) -> list[Standing]:
        self.asked += 1
        if not self.database:
            raise OperationalError("the connection is lost")
        for cluster_id in sorted(self.managed):
            if credentials.discovery_hash(cluster_id) == discovery_hash:
                member = self.members.get(address) == cluster_id
                said = self.says.get(address, "")
                others = [self.says.get(other) for other in self.members if other != address]
                other = node_id in [said for said in others if said]
                machine = UUID(int=int(IPv6Address(address))) if member else None
                return [
                    Standing(
                        ORGANISATION,
                        UUID(bytes=discovery_hash[:16]),
                        machine,
                        member and said == node_id,
                        member and said == "",
                        other,
                    )
                ]
        return []

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        for at, happens in self.later:
            if at <= self.now:
                happens()
        self.later = [(at, happens) for at, happens in self.later if at > self.now]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    there = Site(managed={"prod", "lab"}, members={"::a": "prod", "::b": "prod", "::c": "lab"})
    there.says = {"::a": "node-a", "::b": "node-b", "::c": "node-c"}
    install(there, monkeypatch)
    return there


def install(there: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(work: Callable[[], Any]) -> Any:
        return work()

    monkeypatch.setattr(gate, "in_thread", at_once)
    monkeypatch.setattr(lookups, "discovery_clusters", there.look)
    monkeypatch.setattr(time, "monotonic", lambda: there.now)
    monkeypatch.setattr(asyncio, "sleep", there.sleep)


def ask(there: MachineGate, source: str, cluster_id: str, node_id: str, act: Act) -> str | None:
    """What the gate says, without an event loop: nothing in it really waits."""
    call = there.refusal(ip_address(source) if source else None, cluster_id, node_id, act)
    try:
        call.send(None)
    except StopIteration as answer:
        return answer.value
    raise AssertionError("the gate waits for something else than time")


@pytest.mark.parametrize("act", Act)
def test_a_member_may_do_all_for_itself(site, act):
    assert ask(MachineGate(), "::a", "prod", "node-a", act) is None


@pytest.mark.parametrize("act", Act)
@pytest.mark.parametrize("source", ["::c", "::dead", ""])
def test_no_other_machine_gets_into_a_cluster_of_ours(site, source, act):
    assert ask(MachineGate(), source, "prod", "node-a", act) == NOT_A_MEMBER
    assert site.now == 1000, "there is nothing to wait for"


@pytest.mark.parametrize("act", Act)
@pytest.mark.parametrize("source", ["::a", "::dead", ""])
def test_clusters_that_are_not_ours_are_open(site, source, act):
    assert ask(MachineGate(), source, "foreign", "whoever", act) is None


def test_a_member_speaks_for_no_other_node(site):
    for act in SPEAKING:
        for node_id in ("node-b", "unheard-of"):
            assert ask(MachineGate(PATIENCE), "::a", "prod", node_id, act) == NOT_ITS_NODE


def test_a_member_tells_where_it_sees_others(site):
    assert ask(MachineGate(), "::a", "prod", "node-b", Act.ENDPOINTS) is None


def test_a_node_that_starts_may_speak_before_its_id_is_known(site):
    site.says["::a"] = ""
    assert ask(MachineGate(), "::a", "prod", "new-id", Act.PUBLISH) is None
    assert ask(MachineGate(PATIENCE), "::a", "prod", "node-b", Act.PUBLISH) == NOT_ITS_NODE


def test_a_machine_that_was_installed_anew_waits_until_its_new_id_is_known(site):
    """Refused, it would not try again for a quarter of an hour."""
    site.later.append((1002, lambda: site.says.update({"::a": "new-id"})))
    assert ask(MachineGate(), "::a", "prod", "new-id", Act.PUBLISH) is None
    assert site.now == 1002


def test_one_call_of_a_machine_waits_at_a_time(site):
    there = MachineGate(PATIENCE)
    there._waiting.add("::a")
    assert ask(there, "::a", "prod", "node-b", Act.PUBLISH) == NOT_ITS_NODE
    assert site.now == 1000


def test_leave_is_remembered_for_a_moment(site):
    there = MachineGate()
    for _ in range(3):
        assert ask(there, "::a", "prod", "node-a", Act.PUBLISH) is None
    assert site.asked == 1
    site.now += FRESH
    site.members.pop("::a")
    assert ask(there, "::a", "prod", "node-a", Act.PUBLISH) == NOT_A_MEMBER


def test_a_change_is_felt_at_once(site):
    there = MachineGate()
    ask(there, "::a", "prod", "node-a", Act.PUBLISH)
    site.members.pop("::a")
    there.changed(UUID(bytes=credentials.discovery_hash("lab")[:16]))
    assert ask(there, "::a", "prod", "node-a", Act.PUBLISH) is None, "another cluster changed"
    there.changed(UUID(bytes=credentials.discovery_hash("prod")[:16]))
    assert ask(there, "::a", "prod", "node-a", Act.PUBLISH) == NOT_A_MEMBER


def test_without_the_database_those_who_were_let_in_are_let_in_again(site):
    there = MachineGate(PATIENCE)
    ask(there, "::a", "prod", "node-a", Act.PUBLISH)
    there.missed()
    site.database = False
    assert ask(there, "::a", "prod", "node-a", Act.PUBLISH) is None


@pytest.mark.parametrize("cluster_id", ["prod", "foreign"])
def test_without_the_database_nobody_else_is_let_in(site, cluster_id):
    site.database = False
    assert ask(MachineGate(PATIENCE), "::b", cluster_id, "node-b", Act.HELLO) == NO_ANSWER
    assert site.now == 1000, "who begins asks again soon"
    assert ask(MachineGate(PATIENCE), "::b", cluster_id, "node-b", Act.PUBLISH) == NO_ANSWER
    assert site.now == 1000 + PATIENCE


def test_an_update_waits_for_the_database(site):
    site.database = False
    site.later.append((1002, lambda: setattr(site, "database", True)))
    assert ask(MachineGate(PATIENCE), "::b", "prod", "node-b", Act.PUBLISH) is None


def test_leaves_are_bounded(site, monkeypatch):
    monkeypatch.setattr(gate, "KEPT", 2)
    there = MachineGate()
    for act in (Act.PUBLISH, Act.HELLO):
        for source in ("::a", "::b", "::c"):
            ask(there, source, site.members[source], site.says[source], act)
    assert len(there._given) == 2


ADDRESSES = ("::1", "::2", "::3")
CLUSTERS = ("prod", "lab", "foreign")
NODES = ("n1", "n2", "n3")
EVENT = st.one_of(
    st.tuples(st.just("join"), st.sampled_from(ADDRESSES), st.sampled_from(("prod", "lab"))),
    st.tuples(st.just("leave"), st.sampled_from(ADDRESSES)),
    st.tuples(st.just("say"), st.sampled_from(ADDRESSES), st.sampled_from(("", *NODES))),
    st.tuples(st.just("time"), st.sampled_from((1.0, FRESH))),
    st.tuples(st.just("database"), st.booleans()),
    st.tuples(
        st.just("call"),
        st.sampled_from(ADDRESSES),
        st.sampled_from(CLUSTERS),
        st.sampled_from(NODES),
        st.sampled_from(Act),
    ),
)


@given(st.lists(EVENT, max_size=40))
def test_whoever_is_let_in_was_a_member_a_moment_ago(events):
    """Or when the database answered last. Whatever order things happen in, and whether or not changes are heard."""
    site, there = Site(managed={"prod", "lab"}), MachineGate(PATIENCE)
    held: dict[tuple[str, str], float] = {}  # (address, cluster) -> when it was a member last

    def remember() -> None:
        held.update(dict.fromkeys(site.members.items(), site.now))

    with pytest.MonkeyPatch.context() as patch:
        install(site, patch)
        for name, *given in events:
            remember()
            if name == "join":
                site.members[given[0]] = given[1]
            elif name == "leave":
                site.members.pop(given[0], None)
            elif name == "say":
                site.says[given[0]] = given[1]
            elif name == "time":
                site.now += given[0]
            elif name == "database":
                site.database = given[0]
            else:
                source, cluster, node, act = given
                began = site.now
                refusal = ask(there, source, cluster, node, act)
                if cluster == "foreign":
                    assert (refusal is None) == site.database
                    continue
                if site.members.get(source) == cluster and site.database and act in OTHERS:
                    assert refusal is None
                if refusal is None:
                    last = held.get((source, cluster), -1.0)
                    member = site.members.get(source) == cluster
                    assert member or (last >= 0 and (not site.database or began - last <= FRESH))
                    if act in SPEAKING and member and site.database and site.says.get(source):
                        fresh = (source, credentials.discovery_hash(cluster), node) in there._given
                        assert site.says[source] == node or fresh


# The question itself, on the real database.


@dataclass
class Rows:
    """Machines and clusters of two organisations as rows."""

    addresses: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # address -> organisation, cluster, node

    def cluster(self, organisation: Any, name: str, machines: dict[str, str]) -> None:
        with tenant_scope(organisation.id):
            cluster = Cluster.new(
                name=name,
                kubernetes_version="1.36.3",
                talos_version="1.13.8",
                initial_talos_version="1.13.8",
                balancer_port=10000 + len(self.addresses) + len(name),
            )
            ClusterSecrets.new(cluster=cluster, sealed=b"", discovery_hash=credentials.discovery_hash(name))
            for address, node in machines.items():
                self.machine(organisation, address, node, cluster)

    def machine(self, organisation: Any, address: str, node: str, cluster: Cluster | None = None) -> None:
        with tenant_scope(organisation.id):
            machine = Machine.new(uuid=f"uuid-{address}")
            Link.new(
                machine=machine,
                claimed_uuid=machine.uuid,
                state=Link.ESTABLISHED,
                transport="udp",
                public_key=f"key-{address}",
                address=address,
            )
            MachineObservation.new(machine=machine, node_id=node)
            if cluster is not None:
                ClusterMachine.new(cluster=cluster, role="worker", machine=machine, kubernetes_version="1.36.3")
            self.addresses[address] = (organisation.slug, cluster.name if cluster else "", node)


def test_the_database_knows_who_is_what_to_which_cluster(organisation, other_organisation):
    rows = Rows()
    rows.cluster(organisation, "prod", {"fd00::1": "n1", "fd00::2": ""})
    rows.cluster(organisation, "lab", {"fd00::3": "n3"})
    rows.cluster(other_organisation, "theirs", {"fd00::4": "n4"})
    rows.machine(other_organisation, "fd00::5", "n1")
    for address, cluster, node in product(
        [*rows.addresses, "fd00::dead"], ["prod", "lab", "theirs", "foreign"], ["n1", "n3", "n4", "new", ""]
    ):
        found = lookups.discovery_clusters(credentials.discovery_hash(cluster), address, node)
        if cluster == "foreign":
            assert found == []
            continue
        (standing,) = found
        _, own, says = rows.addresses.get(address, ("", "", ""))
        member = own == cluster
        assert (standing.machine is not None) == member
        assert standing.says_node == (member and says == node)
        assert standing.says_none == (member and not says)
        others = [said for at, (_, of, said) in rows.addresses.items() if of == cluster and at != address and said]
        assert not node or standing.said_by_other == (node in others)


def test_a_cluster_id_used_twice_lets_in_the_members_of_both(organisation, other_organisation):
    rows = Rows()
    rows.cluster(organisation, "prod", {"fd00::1": "n1"})
    rows.cluster(other_organisation, "copy", {"fd00::2": "n2"})
    with tenant_scope(other_organisation.id):
        ClusterSecrets.objects.update(discovery_hash=credentials.discovery_hash("prod"))
    for address in ("fd00::1", "fd00::2", "fd00::3"):
        found = lookups.discovery_clusters(credentials.discovery_hash("prod"), address, "n1")
        assert len(found) == 2
        assert sum(standing.machine is not None for standing in found) == (address != "fd00::3")
