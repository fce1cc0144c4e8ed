"""Who owns a cluster, and what goes over a stream between two services."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubespan.discovery.replicas.frames import Greeting, Kind, ProtocolError, Splitter, frame
from kubespan.discovery.replicas.link import Link
from kubespan.discovery.replicas.owners import owner

IDS = st.sets(st.integers(1, 2**64 - 1), min_size=1, max_size=6)


# Who owns a cluster.


@given(st.text(max_size=20), IDS, st.randoms())
def test_all_find_the_same_owner_in_whatever_order_they_know_of_each_other(cluster, living, random) -> None:
    shuffled = list(living)
    random.shuffle(shuffled)
    assert owner(cluster, shuffled) == owner(cluster, sorted(living)) in living


@given(st.text(max_size=20), IDS, st.integers(1, 2**64 - 1))
def test_who_comes_takes_clusters_for_itself_only(cluster, living, other) -> None:
    before, after = owner(cluster, list(living)), owner(cluster, list(living | {other}))
    assert after in (before, other)


def test_clusters_are_spread_evenly() -> None:
    count = [owner(f"cluster-{n}", [1, 2, 3]) for n in range(3000)]
    assert all(800 < count.count(who) < 1200 for who in (1, 2, 3))


# Time.


@given(st.floats(-1e6, 1e6), st.lists(st.tuples(st.floats(0, 100), st.floats(0, 5)), min_size=1))
def test_what_had_to_wait_on_its_way_is_no_later_for_it(behind, said) -> None:
    """Frames are said one after another, and each takes its time; the first one is fast."""
    greeting = Greeting(1, "x", True)
    link = Link((None, None), greeting, greeting)
    time = 0.0
    link.when(time, time + behind)
    for pause, way in said:
        time += pause
        assert link.when(time, time + behind + way) == pytest.approx(time + behind, abs=1e-6)


def test_clocks_that_part_are_followed() -> None:
    greeting = Greeting(1, "x", True)
    link = Link((None, None), greeting, greeting)
    for second in range(10_000):
        there, here = second * 1.0, second * 1.0005
        assert abs(link.when(there, here) - here) < 0.01
        link.drift()


# What goes over a stream.


@given(st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=50))), st.integers(1, 20))
def test_frames_arrive_as_they_were_sent_however_they_are_cut(frames, size) -> None:
    stream = b"".join(frame(kind, payload) for kind, payload in frames)
    splitter = Splitter()
    arrived = [one for at in range(0, len(stream), size) for one in splitter.feed(stream[at : at + size])]
    assert arrived == frames


@given(st.binary(max_size=200))
def test_whatever_arrives_is_a_frame_or_ends_the_stream(data) -> None:
    with contextlib.suppress(ProtocolError):
        for kind, payload in Splitter().feed(data):
            assert isinstance(kind, Kind)
            assert payload in data


@pytest.mark.parametrize(
    "line",
    [b"GET / HTTP/1.1\r\n", b"{}\n", b"[]\n", b'{"omni-discovery": 99, "id": 1, "name": "x", "serving": true}\n', b"\n"]
    + [Greeting(who, "x", True).encode() for who in (0, -1, 1 << 64)],
)
def test_who_does_not_greet_is_not_heard(line) -> None:
    with pytest.raises(ProtocolError):
        Greeting.decode(line)
