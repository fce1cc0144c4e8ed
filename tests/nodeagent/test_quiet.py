"""What is said once a minute."""

import time

import pytest

from nodeagent import quiet
from nodeagent.quiet import INTERVAL, Quiet


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_first_is_said_and_the_next_tells_how_many_were_not(clock: list[float]) -> None:
    said = Quiet()
    assert [said.left_out("a") for _ in range(3)] == [0, None, None]
    assert said.left_out("b") == 0
    clock[0] += INTERVAL
    assert said.left_out("a") == 2
    clock[0] += INTERVAL
    assert said.left_out("a") == 0


def test_memory_is_bounded(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "KINDS", 10)
    said = Quiet()
    assert [said.left_out(str(kind)) for kind in range(11)] == [0] * 11
    assert said.left_out("10") is None
    assert said.left_out("0") == 0  # forgotten
