"""Which affiliates a cluster should have: what one look decides, and where looks over time lead to."""

from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.mesh.plan import GIVE_UP, MOST_IDS, Known, Member, due_at, plan

NOW = datetime(2026, 11, 26, tzinfo=UTC)
A, B, C = (UUID(int=number) for number in (1, 2, 3))


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


def test_a_member_that_says_its_node_id_is_known_from_then_on():
    result = plan([Member("m-1", "node1"), Member("m-2", "")], [], NOW)
    assert result.new == [Member("m-1", "node1")]
    assert plan([Member("m-1", "node1")], [Known(A, "m-1", "node1")], NOW).new == []


@pytest.mark.parametrize("nonsense", ["", "a b", "../x", "n" * 65, "ü"])
def test_what_is_no_node_id_is_not_written_down(nonsense):
    assert plan([Member("m-1", nonsense)], [], NOW).new == []


def test_a_machine_that_left_is_taken_out_at_once():
    result = plan([], [Known(A, "m-1", "node1")], NOW)
    assert (result.gone, result.remove, result.next_at) == ([A], [A], None)


def test_a_member_that_is_silent_keeps_what_it_said():
    result = plan([Member("m-1", "")], [Known(A, "m-1", "node1")], NOW)
    assert (result.gone, result.remove) == ([], [])


def test_a_wiped_machine_leaves_its_old_node_id_behind():
    result = plan([Member("m-1", "node2")], [Known(A, "m-1", "node1")], NOW)
    assert (result.new, result.gone, result.remove) == ([Member("m-1", "node2")], [A], [A])


def test_a_node_id_that_another_member_says_is_not_taken_out():
    """The disk of one machine was put into another."""
    result = plan([Member("m-2", "node1")], [Known(A, "m-1", "node1"), Known(B, "m-2", "node1")], NOW)
    assert (result.gone, result.spared, result.remove) == ([A], [A], [])


def test_a_machine_that_comes_back_is_a_node_again():
    removed = Known(A, "m-1", "node1", gone_at=ago(minutes=5), removed_at=ago(minutes=4))
    assert plan([Member("m-1", "node1")], [removed], NOW).back == [A]


def test_removals_are_tried_again_with_pauses_and_given_up():
    waiting = Known(A, "m-1", "node1", gone_at=ago(seconds=1), attempts=1)
    assert plan([], [waiting], NOW).next_at == NOW + timedelta(seconds=1)
    assert plan([], [waiting], NOW + timedelta(seconds=1)).remove == [A]
    assert plan([], [Known(A, "m-1", "node1", gone_at=NOW - GIVE_UP, attempts=30)], NOW).over == [A]


def test_what_was_removed_long_ago_is_forgotten():
    removed = Known(A, "m-1", "node1", gone_at=NOW - 2 * GIVE_UP, removed_at=NOW - GIVE_UP)
    assert plan([], [removed], NOW).old == [A]


def test_a_machine_cannot_fill_the_table():
    known = [Known(UUID(int=number), "m-1", f"node{number}") for number in range(MOST_IDS)]
    result = plan([Member("m-1", "another")], known, NOW)
    assert result.new == []
    assert len(result.gone) == MOST_IDS


def test_pauses_grow_to_a_minute():
    times = [due_at(NOW, attempts) for attempts in range(40)]
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert pauses[:6] == [2, 4, 8, 16, 32, 60]
    assert set(pauses[5:]) == {60}


MACHINES = st.dictionaries(st.sampled_from(["m-1", "m-2", "m-3"]), st.sampled_from(["", "n1", "n2", "n3", "n4"]))


@given(st.lists(MACHINES, min_size=1, max_size=8), st.booleans())
def test_services_end_up_with_the_members(history, reachable):
    """Whatever happened, in the end the services know no one but members, or it was given up in time."""
    rows: dict[UUID, dict] = {}
    serves: set[str] = set()
    numbers = count(1)
    now = NOW
    for said in [*history, *[history[-1]] * 45]:
        serves |= {node for node in said.values() if node}
        for _ in range(3):  # runs of the reconciler until it has nothing more to do
            result = plan([Member(*item) for item in said.items()], [Known(**row) for row in rows.values()], now)
            for member in result.new:
                row_id = UUID(int=next(numbers))
                rows[row_id] = {"id": row_id, "machine_uuid": member.machine_uuid, "node_id": member.node_id}
            for row_id in result.back:
                rows[row_id].update(gone_at=None, removed_at=None, attempts=0)
            for row_id in result.gone:
                rows[row_id]["gone_at"] = now
            for row_id in [*result.spared, *result.over]:
                rows[row_id]["removed_at"] = now
            for row_id in result.old:
                del rows[row_id]
            for row_id in result.remove:
                rows[row_id]["attempts"] = rows[row_id].get("attempts", 0) + 1
                if reachable:
                    serves.discard(rows[row_id]["node_id"])
                    rows[row_id]["removed_at"] = now
        now += timedelta(minutes=1)
    said = history[-1]
    kept = {row["node_id"] for row in rows.values() if row.get("gone_at") is None}
    assert kept >= {node for node in said.values() if node}
    assert {row["machine_uuid"] for row in rows.values() if row.get("gone_at") is None} <= set(said)
    assert not any(row.get("gone_at") and row.get("removed_at") is None for row in rows.values())
    if reachable:
        assert serves <= kept
