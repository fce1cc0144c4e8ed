"""The state machine of peers: Talos' cases, and what holds whatever happens."""

import base64
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubespan.affiliates import Endpoint
from kubespan.node.specs import PeerSpec
from kubespan.node.status import (
    TIMING,
    Observed,
    PeerStatus,
    State,
    advance,
    next_endpoint,
    observe,
    routed,
)

NOW = 1_800_000_000.0
KEY = base64.b64encode(bytes(32)).decode()
A, B, C, ELSEWHERE = (Endpoint(ip_address(f"192.0.2.{last}"), 51820) for last in (1, 2, 3, 99))


def spec(*endpoints: Endpoint, key: str = KEY, allowed: str = "10.0.0.1/32") -> PeerSpec:
    return PeerSpec(
        key,
        "node",
        "worker-1",
        ip_address("fd7f:175a:b97c:5602::9"),
        (ip_network(allowed), ip_network("fd7f:175a:b97c:5602::9")),
        endpoints,
    )


def one_pass(
    status: PeerStatus | None, observed: Observed | None, *endpoints: Endpoint, now: float = NOW
) -> PeerStatus:
    before = {KEY: status} if status else {}
    return advance(before, [spec(*endpoints)], {KEY: observed} if observed else {}, now)[KEY]


@pytest.mark.parametrize(
    ("changed", "handshake", "state"),
    [
        pytest.param(None, None, State.UNKNOWN, id="no endpoint ever"),
        pytest.param(550, 550, State.DOWN, id="both long ago"),
        pytest.param(5, 60, State.UNKNOWN, id="fresh change, old handshake"),
        pytest.param(5, 1, State.UP, id="fresh change, handshake"),
        pytest.param(16, 10, State.UP, id="15 s passed, handshake"),
        pytest.param(16, 60, State.DOWN, id="15 s passed, none"),
        pytest.param(1000, 137, State.UP, id="established"),
    ],
)
def test_states(changed, handshake, state):
    status = PeerStatus(
        "", last_used_endpoint=A if changed else None, last_endpoint_change=NOW - changed if changed else None
    )
    seen = Observed(A if changed else None, NOW - handshake if handshake else None)
    assert observe(status, seen, NOW).state is state


def test_endpoints_take_turns():
    status = one_pass(None, None, A, B, C)
    for expected in (B, C, A):
        assert status.state is State.UNKNOWN
        status = one_pass(status, Observed(status.wanted_endpoint), A, B, C, now=status.last_endpoint_change + 30)
        assert status.wanted_endpoint == status.last_used_endpoint == expected


def test_an_endpoint_that_is_not_listed_any_more_gives_way_to_the_first():
    status = PeerStatus("", last_used_endpoint=ELSEWHERE, last_endpoint_change=NOW - 30)
    assert one_pass(status, Observed(ELSEWHERE), A, B).last_used_endpoint == A


def test_a_single_endpoint_stays_down_until_it_answers():
    status = one_pass(PeerStatus("", last_used_endpoint=A, last_endpoint_change=NOW - 30), Observed(A), A)
    assert (status.state, status.last_endpoint_change) == (State.DOWN, NOW - 30)
    assert one_pass(status, Observed(A, NOW - 1), A).state is State.UP


def test_a_single_endpoint_is_set_again_after_the_peer_roamed():
    status = PeerStatus("", last_used_endpoint=A, last_endpoint_change=NOW - 300)
    again = one_pass(status, Observed(ELSEWHERE, NOW - 290), A)
    assert (again.wanted_endpoint, again.state, again.last_endpoint_change) == (A, State.UNKNOWN, NOW)


def test_a_peer_without_endpoints_is_unknown_until_it_calls_in():
    status = one_pass(None, None)
    assert (status.state, status.wanted_endpoint) == (State.UNKNOWN, None)
    status = one_pass(status, Observed(ELSEWHERE, NOW - 3))
    assert (status.state, status.wanted_endpoint) == (State.UP, None)


def test_a_roamed_peer_is_left_where_it_is():
    status = PeerStatus("", last_used_endpoint=A, last_endpoint_change=NOW - 1000)
    roamed = one_pass(status, Observed(ELSEWHERE, NOW - 20), A, B)
    assert (roamed.state, roamed.wanted_endpoint, roamed.last_used_endpoint) == (State.UP, None, A)


def test_peers_come_and_go_with_their_specs():
    assert advance({KEY: PeerStatus("old")}, [], {}, NOW) == {}
    assert one_pass(PeerStatus("old name"), None, A).label == "worker-1"


def test_what_goes_into_the_tunnel():
    other = base64.b64encode(bytes([1]) * 32).decode()
    specs = [spec(), spec(key=other, allowed="10.244.1.0/24")]
    statuses = {KEY: PeerStatus("", State.DOWN), other: PeerStatus("", State.UP)}
    assert [str(it) for it in routed(specs, statuses)] == ["10.0.0.1/32", "10.244.1.0/24"]
    assert [str(it) for it in routed(specs, statuses, only_up=True)] == ["10.244.1.0/24"]


endpoint_lists = st.lists(st.sampled_from([A, B, C]), unique=True)
events = st.lists(
    st.tuples(
        st.floats(0, 400),  # time since the last pass
        st.booleans(),  # the peer answers at the configured endpoint
        st.sampled_from([None, A, ELSEWHERE]),  # where it called from
        endpoint_lists,
    ),
    max_size=30,
)


@given(events)
def test_whatever_happens(history):
    status, device, now = None, Observed(), NOW
    for passed, answers, called_from, endpoints in history:
        now += passed
        if answers and device.endpoint:
            device = replace(device, last_handshake=now)
        if called_from:
            device = Observed(called_from, now)
        before, status = status, one_pass(status, device, *endpoints, now=now)
        moved = (
            status.last_endpoint_change
            if status.last_endpoint_change != (before and before.last_endpoint_change)
            else None
        )
        if moved is not None:  # only who was never tried or is down gets another endpoint, and then has its time
            assert (moved, status.state) == (now, State.UNKNOWN)
            assert status.last_used_endpoint in endpoints
            assert status.wanted_endpoint == status.last_used_endpoint
            assert (
                before is None
                or before.last_endpoint_change is None
                or now - before.last_endpoint_change >= TIMING.connect
            )
        if status.state is State.UP:
            assert device.last_handshake is not None
        if status.state is State.DOWN:
            assert next_endpoint(status, endpoints) is None
        if status.wanted_endpoint is not None:
            device = replace(device, endpoint=status.wanted_endpoint)
