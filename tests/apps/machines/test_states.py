"""What people are told of machines, links and join tokens."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.machines.models import JoinToken, Link, MachineObservation
from apps.machines.states import link_state, machine_state, stale, token_state

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
UP = {"connected": True, "reachable": True, "observed_at": NOW}


@pytest.mark.parametrize(
    ("seen", "cluster", "word"),
    [
        ({}, None, "Unknown"),
        ({"observed_at": NOW, "stage": "running"}, None, "Not connected"),
        (UP, None, "Connecting"),
        (UP | {"error": "refused"}, None, "Unreachable"),
        (UP | {"stage": "maintenance"}, None, "Free"),
        (UP | {"stage": "maintenance"}, "lab", "Waiting"),
        (UP | {"stage": "running", "ready": True}, "lab", "Running"),
        (UP | {"stage": "running", "unmet": [{"name": "etcd", "reason": ""}]}, "lab", "Degraded"),
        (UP | {"stage": "running"}, "lab", "Degraded"),
        (UP | {"stage": "booting"}, None, "Booting"),
        (UP | {"stage": "shutting down"}, None, "Shutting down"),
        (UP | {"stage": "resetting"}, "lab", "Wiping"),
    ],
)
def test_machines(seen: dict[str, Any], cluster: str | None, word: str) -> None:
    shown = machine_state(MachineObservation(**seen), cluster)
    assert shown.word == word
    assert shown.sentence.endswith(".") or shown.sentence == seen.get("error")


def test_links() -> None:
    assert link_state(Link(state=Link.ESTABLISHED)).word == "Joined"
    assert link_state(Link(state=Link.PENDING)).word == "Joining"
    assert link_state(Link(state=Link.PENDING, conflict=True)).word == "Conflict"


def test_tokens() -> None:
    day = timedelta(days=1)
    for fields, word in (
        ({}, "Active"),
        ({"expires_at": NOW + 9 * day}, "Active"),
        ({"expires_at": NOW + day}, "Ends soon"),
        ({"expires_at": NOW}, "Expired"),
        ({"expires_at": NOW + day, "revoked_at": NOW}, "Revoked"),
    ):
        assert token_state(JoinToken(**fields), NOW).word == word


def test_a_silent_machines_values_are_stale_after_a_while() -> None:
    assert not stale(MachineObservation(connected=True, reachable=True, observed_at=NOW - timedelta(days=1)), NOW)
    assert not stale(MachineObservation(observed_at=NOW - timedelta(seconds=60)), NOW)
    assert stale(MachineObservation(observed_at=NOW - timedelta(seconds=180)), NOW)
    assert stale(MachineObservation(), NOW)
