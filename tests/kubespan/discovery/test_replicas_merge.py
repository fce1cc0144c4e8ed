"""Merging copies: the same outcome in whatever order, and however often."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from kubespan.discovery.replicas.merge import Known, merge

TIMES = st.integers(1, 6).map(float)
DATA = st.sampled_from([b"x", b"y", b"z"])
ENDPOINTS = st.dictionaries(st.sampled_from([b"1", b"2", b"3"]), TIMES)


@st.composite
def knowledge(draw: st.DrawFn) -> Known:
    """What a process may know: nothing, a deletion, an affiliate with or without data."""
    ends = tuple(draw(ENDPOINTS).items())
    known = Known(draw(TIMES), endpoints=ends)
    if draw(st.booleans()):
        known = Known(known.expires, draw(DATA), known.expires, ends)
    dead = Known(dead=draw(st.sampled_from([-inf, 2.0, 4.0])))
    return merge(known, dead) if draw(st.booleans()) else dead


def same(one: Known, other: Known) -> bool:
    """Endpoints are a set."""
    parts = ((known.expires, known.data, known.data_ends, dict(known.endpoints), known.dead) for known in (one, other))
    return next(parts) == next(parts)


@given(knowledge(), knowledge())
def test_it_does_not_matter_who_merges(one: Known, other: Known) -> None:
    assert same(merge(one, other), merge(other, one))


@given(knowledge(), knowledge(), knowledge())
def test_nor_in_which_order_three_do(one: Known, two: Known, three: Known) -> None:
    assert same(merge(merge(one, two), three), merge(one, merge(two, three)))


@given(knowledge(), knowledge())
def test_nor_how_often(one: Known, other: Known) -> None:
    both = merge(one, other)
    assert same(merge(both, one), both)
    assert same(merge(both, both), both)


@given(knowledge(), knowledge())
def test_nothing_of_either_is_lost_that_was_not_deleted(one: Known, other: Known) -> None:
    both = merge(one, other)
    for known in (one, other):
        assert known.expires <= max(both.expires, both.dead)
        for endpoint, end in known.endpoints:
            assert end <= max(dict(both.endpoints).get(endpoint, -inf), both.dead)


def test_the_later_data_counts_and_endpoints_are_united() -> None:
    old = Known(10, b"old", 10, ((b"1", 10), (b"2", 10)))
    new = Known(12, b"new", 12, ((b"2", 12), (b"3", 12)))
    assert same(merge(new, old), Known(12, b"new", 12, ((b"1", 10), (b"2", 12), (b"3", 12))))


def test_who_has_no_data_takes_none_away() -> None:
    assert merge(Known(10, b"data", 10), Known(20)).data == b"data"


def test_a_deletion_counts_until_something_newer_is_said() -> None:
    dead, stale, fresh = Known(dead=10), Known(9, b"stale", 9, ((b"1", 9),)), Known(11, b"fresh", 11, ((b"2", 11),))
    assert not merge(stale, dead).lives
    assert same(merge(merge(stale, dead), fresh), Known(11, b"fresh", 11, ((b"2", 11),), 10))
