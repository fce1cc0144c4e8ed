"""Every point at which something may befall a process: after each transaction that wrote, before and after each call
to a machine that changes it.

`watch` reports them by name. `at_every_point` lets it happen at each one in turn: the database and the machines are
taken back to just before, and go on with nothing of a dead process left in memory.
"""

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import grpc
import pytest
from django.db import connection, transaction

from apps.tenants import scope
from nodeagent import errors

Strike = Callable[[str], None]
"""Hears of a point by its name: `commit`, `before install`, `after install`. What it raises befalls the process."""

READERS_ONLY = ("apps.tenants.scope",)
"""The module that `tenant_scope` comes from keeps its own."""


class Death(BaseException):
    """The process died here. Nothing in the product may catch it."""


Fate = Callable[[str], BaseException | None]
"""What happens at a point of this name; None: nothing can."""


def dies(point: str) -> BaseException:
    """The process ends."""
    return Death(point)


def gets_no_answer(point: str) -> BaseException | None:
    """A call never arrives, or it does what it shall and its answer is lost."""
    moment, _, call = point.partition(" ")
    codes = {"before": grpc.StatusCode.UNAVAILABLE, "after": grpc.StatusCode.DEADLINE_EXCEEDED}
    return errors.from_status("the machine", call, codes[moment], "no answer") if moment in codes else None


class Undo(Exception):
    """Ends a stretch whose rows are not wanted any more."""


class Stage(Protocol):
    """What the drama plays on: machines in memory, and the loop that works on them."""

    strike: Strike

    def turn(self) -> None:
        """Time passes, and everything that is due is done once."""

    def run(self, until: Callable[[], bool]) -> None:
        """Turn until something is so. Raises AssertionError when it does not come to that."""

    def memory(self) -> Any:
        """All of it that is not in the database, to be copied."""

    def restore(self, memory: Any) -> None:
        """Put back what `memory` gave."""

    def summary(self) -> Any:
        """What has to be the same in the end, whatever happened."""


@dataclass(frozen=True)
class Change:
    """Something that is wanted, when it is reached, and what has to hold then."""

    want: Callable[[], None]
    reached: Callable[[], bool]
    holds: Callable[[], None]


def watch(stage: Stage, patch: pytest.MonkeyPatch) -> None:
    """Report every transaction of the product that wrote to the stage."""

    @contextmanager
    def watched(organisation_id: UUID) -> Iterator[None]:
        writes: list[str] = []

        def note(execute: Callable[..., Any], statement: str, *rest: Any) -> Any:
            if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
                writes.append(statement)
            return execute(statement, *rest)

        outermost = scope._current.get() is None
        with scope.tenant_scope(organisation_id), connection.execute_wrapper(note):
            yield
        if writes and outermost:
            stage.strike("commit")

    for name, module in list(sys.modules.items()):
        if name.startswith(("apps.", "tests.apps.")) and name not in READERS_ONLY and hasattr(module, "tenant_scope"):
            patch.setattr(module, "tenant_scope", watched)


def at_every_point(stage: Stage, change: Change, only: int | None = None, fate: Fate = dies) -> list[str]:
    """Let it happen at each point of a change in turn, or at number `only`, and go on; in the end undisturbed.

    Returns the names of the points. Raises AssertionError, naming the point, unless it ends the same every time.
    """
    points: list[str] = []
    ends: dict[str, Any] = {}
    act = change.want
    while True:
        number = 1
        while point := _strikes(stage, act, number, points, change, ends, only, fate):
            points.append(point)
            number += 1
        if change.reached():
            break
        act = stage.turn
    end = _end(stage, change)
    for name, other in ends.items():
        assert other == end, f"{fate.__name__} at {name}, and it ended otherwise"
    return points


def _strikes(
    stage: Stage,
    act: Callable[[], None],
    number: int,
    before: list[str],
    change: Change,
    ends: dict[str, Any],
    only: int | None,
    fate: Fate,
) -> str:
    """Begin an act and let it happen at its point of this number: the point's name. How it ends goes to `ends`.

    Empty when the act has fewer points: then it is done, and nothing is undone.
    """
    memory = copy.deepcopy(stage.memory())
    try:
        with transaction.atomic():
            point = _act(stage, act, number, fate)
            if not point:
                return ""
            name = f"point {len(before) + 1}, {point} after {before[-1] if before else 'nothing'}"
            if only in (None, len(before) + 1):
                try:
                    if act == change.want:
                        act()  # people see that nothing came of it, or are not sure, and do it again
                    stage.run(change.reached)
                    ends[name] = _end(stage, change)
                except AssertionError as error:
                    raise AssertionError(f"{fate.__name__} at {name}: {error}") from error
            raise Undo
    except Undo:
        stage.restore(memory)
        return point


def _act(stage: Stage, act: Callable[[], None], number: int, fate: Fate) -> str:
    """Do something and let it happen at the point of this number: its name, or nothing when there are fewer."""
    struck: list[str] = []
    passed = 0

    def strike(point: str) -> None:
        nonlocal passed
        if (blow := fate(point)) is not None:
            passed += 1
            if passed == number:
                struck.append(point)
                raise blow

    stage.strike = strike
    try:
        act()
    except Death:
        pass
    finally:
        stage.strike = lambda point: None
    return struck[0] if struck else ""


def _end(stage: Stage, change: Change) -> Any:
    """How it is when all has come to rest."""
    for _ in range(2):
        stage.turn()
    change.holds()
    return stage.summary()
