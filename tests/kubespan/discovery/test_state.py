"""What the service knows, with a clock that only tests turn."""

from __future__ import annotations

import io
from collections.abc import Iterator
from math import inf

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kubespan.discovery import records
from kubespan.discovery.limits import TooManyAffiliates, TooManyEndpoints
from kubespan.discovery.records import Record
from kubespan.discovery.state import Affiliate, Change, State
from talos.gen.sidero import discovery_pb2 as pb
from tests.kubespan.discovery.lab import known

C = "cluster"


class Listener:
    """Someone who watches, with what they have been told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Change, dict[str, tuple[bytes, list[bytes]]]]] = []

    def tell(self, affiliate_id: str, event: bytes, change: Change) -> None:
        message = pb.WatchResponse.FromString(event)
        assert message.deleted == (change is Change.DELETED)
        self.told.append((affiliate_id, change, known(message)))


def listing(state: State, cluster: str = C) -> dict[str, tuple[bytes, list[bytes]]]:
    return known(pb.ListResponse.FromString(state.listing(cluster)))


def read(stream: bytes) -> Iterator[Record]:
    for message in records.messages(io.BytesIO(stream)):
        yield from records.decode(message)


def collect(state: State, now: float) -> None:
    for _ in state.collect(now):
        pass


def test_data_replaces_data_and_endpoints_are_added_in_order() -> None:
    state = State()
    assert state.update(0, C, "a", b"d1", [b"e1", b"e2"], 60) is Change.ADDED
    assert state.update(0, C, "a", b"", [b"e3", b"e2"], 60) is Change.CHANGED
    assert listing(state) == {"a": (b"d1", [b"e1", b"e2", b"e3"])}
    assert state.update(0, C, "a", b"d2", [], 60) is Change.CHANGED
    assert listing(state) == {"a": (b"d2", [b"e1", b"e2", b"e3"])}


def test_the_same_data_is_a_change_and_known_endpoints_are_none() -> None:
    state, listener = State(), Listener()
    state.update(0, C, "a", b"d", [b"e"], 60)
    state.subscribe(C, listener)
    assert state.update(0, C, "a", b"d", [], 60) is Change.CHANGED
    assert state.update(0, C, "a", b"", [b"e"], 60) is Change.REFRESHED
    assert state.update(0, C, "a", b"", [], 60) is Change.REFRESHED
    assert [told[0] for told in listener.told] == ["a"]


def test_an_affiliate_without_data_is_there() -> None:
    state, listener = State(), Listener()
    state.subscribe(C, listener)
    assert state.update(0, C, "a", b"", [], 60) is Change.ADDED
    assert listing(state) == {"a": (b"", [])}
    assert listener.told == [("a", Change.ADDED, {"a": (b"", [])})]


def test_deleting_tells_once() -> None:
    state, listener = State(), Listener()
    assert state.delete(C, "a") is Change.NONE
    state.update(0, C, "a", b"d", [b"e"], 60)
    state.subscribe(C, listener)
    assert state.delete(C, "a") is Change.DELETED
    assert state.delete(C, "a") is Change.NONE
    assert listener.told == [("a", Change.DELETED, {"a": (b"", [])})]
    assert (state.affiliates, state.endpoints) == (0, 0)


def test_a_watch_begins_with_what_there_is_and_hears_all_that_follows_in_order() -> None:
    state, listener = State(), Listener()
    state.update(0, C, "a", b"1", [], 60)
    assert known(pb.WatchResponse.FromString(state.subscribe(C, listener))) == {"a": (b"1", [])}
    state.update(0, C, "b", b"2", [], 60)
    state.update(0, C, "a", b"3", [], 60)
    state.delete(C, "b")
    state.update(0, "another", "c", b"4", [], 60)
    assert [(told[0], told[1]) for told in listener.told] == [
        ("b", Change.ADDED),
        ("a", Change.CHANGED),
        ("b", Change.DELETED),
    ]
    state.unsubscribe(C, listener)
    state.update(0, C, "a", b"5", [], 60)
    assert len(listener.told) == 3
    assert state.subscriptions == 0


def test_data_may_shorten_a_life_and_endpoints_only_lengthen_it() -> None:
    state = State()
    state.update(0, C, "a", b"d", [b"e"], 100)
    state.update(0, C, "a", b"d", [], 50)
    collect(state, 51)
    assert listing(state) == {}
    state.update(100, C, "a", b"d", [], 50)
    state.update(110, C, "a", b"", [b"e"], 60)
    collect(state, 165)
    assert listing(state) == {"a": (b"d", [b"e"])}
    state.update(165, C, "a", b"", [b"e"], 1)
    collect(state, 169)
    assert listing(state) == {"a": (b"d", [b"e"])}


def test_an_endpoint_that_expires_is_told_as_a_change_and_leaves_the_rest() -> None:
    state, listener = State(), Listener()
    state.update(0, C, "a", b"d", [b"short"], 10)
    state.update(0, C, "a", b"", [b"long"], 60)
    state.subscribe(C, listener)
    collect(state, 10)
    assert listener.told == [("a", Change.CHANGED, {"a": (b"d", [b"long"])})]
    assert state.endpoints == 1
    collect(state, 60)
    assert listing(state) == {"a": (b"d", [])}, "an affiliate lives to its last moment"
    collect(state, 60.001)
    assert listener.told[-1] == ("a", Change.DELETED, {"a": (b"", [])})


def test_what_has_expired_is_seen_until_it_is_collected() -> None:
    state = State()
    state.update(0, C, "a", b"d", [], 0)
    assert listing(state) == {"a": (b"d", [])}
    collect(state, 0.001)
    assert listing(state) == {}
    assert (state.collected_affiliates, state.collected_clusters) == (1, 1)


def test_a_cluster_stays_while_it_is_watched() -> None:
    state, listener = State(), Listener()
    state.subscribe(C, listener)
    collect(state, 0)
    assert state.clusters == 1
    state.unsubscribe(C, listener)
    collect(state, 0)
    assert (state.clusters, state.collected_clusters) == (0, 1)


def test_a_full_cluster_takes_updates_of_those_it_has() -> None:
    state = State()
    for number in range(1024):
        state.update(0, C, str(number), b"", [], 60)
    with pytest.raises(TooManyAffiliates):
        state.update(0, C, "one more", b"d", [b"e"], 60)
    assert "one more" not in listing(state)
    assert state.update(0, C, "7", b"d", [b"e"], 60) is Change.CHANGED
    assert state.update(0, "another", "one more", b"", [], 60) is Change.ADDED
    state.delete(C, "7")
    assert state.update(0, C, "one more", b"", [], 60) is Change.ADDED


def test_of_too_many_endpoints_those_that_fit_are_taken_and_told() -> None:
    state, listener = State(), Listener()
    state.subscribe(C, listener)
    many = [b"%d" % n for n in range(70)]
    with pytest.raises(TooManyEndpoints):
        state.update(0, C, "new", b"d", many, 60)
    assert listing(state) == {"new": (b"d", many[:64])}
    assert listener.told[-1] == ("new", Change.ADDED, {"new": (b"d", many[:64])})
    with pytest.raises(TooManyEndpoints):
        state.update(0, C, "new", b"", [many[0], b"another", many[1]], 1000)
    assert len(listener.told) == 1, "nothing changed that is seen"
    collect(state, 61)
    assert listing(state) == {}, "an update that did not fit lets nobody live longer"


def test_an_affiliate_whose_only_endpoints_did_not_fit_is_there_with_what_fits() -> None:
    state = State()
    with pytest.raises(TooManyEndpoints):
        state.update(0, C, "a", b"", [b"%d" % n for n in range(65)], 60)
    assert len(listing(state)["a"][1]) == 64
    collect(state, 0)
    assert listing(state) == {}, "and goes at the next look, as with Sidero's service: it was given no time to live"


def test_a_record_makes_an_affiliate_what_it_says_however_often() -> None:
    state, listener = State(), Listener()
    state.subscribe(C, listener)
    record = Record(C, "a", b"d", ((b"e1", 10.0), (b"e2", 60.0)), 60.0)
    assert state.put(0, record) is Change.ADDED
    assert state.put(5, record) is Change.REFRESHED
    assert state.put(5, record, tell=True) is Change.CHANGED
    assert [told[1] for told in listener.told] == [Change.ADDED, Change.CHANGED]
    collect(state, 15)
    assert listing(state) == {"a": (b"d", [b"e2"])}
    assert state.put(15, Record(C, "a", b"d", ((b"e3", 60.0),), 60.0)) is Change.CHANGED
    assert listing(state) == {"a": (b"d", [b"e3"])}
    assert state.put(15, Record(C, "a")) is Change.DELETED
    assert state.put(15, Record(C, "a")) is Change.NONE


def test_listeners_hear_of_refreshes_too() -> None:
    heard: list[tuple[str, str, Change]] = []
    state = State(lambda cluster, affiliate, change: heard.append((cluster, affiliate.id, change)))
    state.update(0, C, "a", b"", [b"e"], 60)
    state.update(0, C, "a", b"", [b"e"], 60)
    state.delete(C, "a")
    assert heard == [(C, "a", Change.ADDED), (C, "a", Change.REFRESHED), (C, "a", Change.DELETED)]


IDS = st.sampled_from(["a", "b", "c"])
CLUSTERS = st.sampled_from(["one", "two"])
DATA = st.sampled_from([b"", b"x", b"y"])
ENDPOINTS = st.lists(st.sampled_from([b"1", b"2", b"3", b"4"]), max_size=4)
TTLS = st.integers(-1, 6).map(float)


class Model:
    """One affiliate, written as the rules are told."""

    def __init__(self) -> None:
        self.data, self.expires = b"", -inf
        self.endpoints: dict[bytes, float] = {}


class Rules(RuleBasedStateMachine):
    """Any calls in any order, beside a model; every listener, copy and count agrees with what is listed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.copy: dict[str, dict[str, tuple[bytes, list[bytes]]]] = {"one": {}, "two": {}}
        self.replayed = State()
        self.state = State(self.heard)
        self.model: dict[str, dict[str, Model]] = {"one": {}, "two": {}}
        for cluster in self.copy:
            self.state.subscribe(cluster, Follower(self.copy[cluster]))

    def heard(self, cluster: str, affiliate: Affiliate, change: Change) -> None:
        (record,) = read(self.state.record(self.now, cluster, affiliate.id))
        assert (record.ttl is None) == (change is Change.DELETED)
        self.replayed.put(self.now, record)

    @rule(cluster=CLUSTERS, id=IDS, data=DATA, endpoints=ENDPOINTS, ttl=TTLS)
    def update(self, cluster: str, id: str, data: bytes, endpoints: list[bytes], ttl: float) -> None:
        self.state.update(self.now, cluster, id, data, endpoints, ttl)
        model, until = self.model[cluster].setdefault(id, Model()), self.now + ttl
        if data:
            model.data, model.expires = data, until
        for endpoint in endpoints:
            model.endpoints[endpoint] = max(model.endpoints.get(endpoint, -inf), until)
        model.expires = max(model.expires, until)

    @rule(cluster=CLUSTERS, id=IDS)
    def delete(self, cluster: str, id: str) -> None:
        self.state.delete(cluster, id)
        self.model[cluster].pop(id, None)

    @rule(seconds=st.integers(0, 4))
    def collect(self, seconds: int) -> None:
        self.now += seconds
        collect(self.state, self.now)
        for cluster in self.model.values():
            for id, model in list(cluster.items()):
                if model.expires < self.now:
                    del cluster[id]
                model.endpoints = {one: end for one, end in model.endpoints.items() if end > self.now}

    @invariant()
    def all_agree(self) -> None:
        for cluster, affiliates in self.model.items():
            wanted = {id: (model.data, list(model.endpoints)) for id, model in affiliates.items()}
            assert listing(self.state, cluster) == wanted
            assert self.copy[cluster] == wanted, "who watches knows the same"
            assert listing(self.replayed, cluster) == wanted, "who replays what was heard knows the same"
            assert self.state.size(cluster) == len(self.state.listing(cluster))
        models = [model for cluster in self.model.values() for model in cluster.values()]
        assert self.state.affiliates == len(models)
        assert self.state.endpoints == sum(len(model.endpoints) for model in models)


class Follower:
    """Keeps a copy as a node does: by what a watch tells."""

    def __init__(self, copy: dict[str, tuple[bytes, list[bytes]]]) -> None:
        self.copy = copy

    def tell(self, affiliate_id: str, event: bytes, change: Change) -> None:
        message = pb.WatchResponse.FromString(event)
        if message.deleted:
            del self.copy[affiliate_id]
        else:
            assert (change is Change.ADDED) == (affiliate_id not in self.copy)
            self.copy.update(known(message))


TestRules = Rules.TestCase
TestRules.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.integers(0, 5), st.data())
def test_a_snapshot_is_what_there_is(clusters: int, data: st.DataObject) -> None:
    state, copy = State(), State()
    for cluster in range(clusters):
        for id in data.draw(st.sets(IDS)):
            state.update(0, str(cluster), id, data.draw(DATA), data.draw(ENDPOINTS), 60)
    for record in read(b"".join(state.snapshot(30))):
        assert record.ttl == 30
        copy.put(100, record)
    for cluster in range(clusters):
        assert listing(copy, str(cluster)) == listing(state, str(cluster))
