"""Ids of rows tell their order."""

import time

import pytest

from apps.tenants.ids import uuid7


def test_ids_sort_as_they_were_made() -> None:
    made = [uuid7() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_sort_as_they_were_made_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what a machine says would count as older than what it said before, and be trimmed at once."""
    before, now = [uuid7() for _ in range(3)], time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 3600 * 10**9)
    after = [uuid7() for _ in range(1000)]
    assert [*before, *after] == sorted([*before, *after])


def test_an_id_is_a_version_7_uuid_that_tells_its_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000
