"""Every point at which a process may die: after each transaction that wrote, before and after each call to a machine.

`watch` reports them by name. `at_every_point` lets the process die at each one in turn: the database and the machines
are taken back to just before, and go on with nothing of the dead process left in memory.
"""

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import pytest
from django.db import connection, transaction

from apps.tenants import scope

Strike = Callable[[str], None]
"""Hears of a point by its name: `commit`, `before install`, `after install`. What it raises befalls the process."""

READERS_ONLY = ("apps.tenants.scope",)
"""The module that `tenant_scope` comes from keeps its own."""


class Death(BaseException):
    """The process died here. Nothing in the product may catch it."""


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


def at_every_point(stage: Stage, change: Change, only: int | None = None) -> list[str]:
    """Let the process die at each point of a change in turn, or at number `only`, and go on; in the end undisturbed.

    Returns the names of the points. Raises AssertionError, naming the point, unless it ends the same every time.
    """
    points: list[str] = []
    ends: dict[str, Any] = {}
    act = change.want
    while True:
        number = 1
        while point := _dies(stage, act, number, points, change, ends, only):
            points.append(point)
            number += 1
        if change.reached():
            break
        act = stage.turn
    end = _end(stage, change)
    for name, other in ends.items():
        assert other == end, f"died at {name}, and it ended otherwise"
    return points


def _dies(
    stage: Stage,
    act: Callable[[], None],
    number: int,
    before: list[str],
    change: Change,
    ends: dict[str, Any],
    only: int | None,
) -> str:
    """Begin an act and die at its point of this number: the point's name. What comes of it goes to `ends`.

    Empty when the act has fewer points: then it is done, and nothing is undone.
    """
    memory = copy.deepcopy(stage.memory())
    try:
        with transaction.atomic():
            point = _until(stage, act, number)
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
                    raise AssertionError(f"died at {name}: {error}") from error
            raise Undo
    except Undo:
        stage.restore(memory)
        return point


def _until(stage: Stage, act: Callable[[], None], number: int) -> str:
    """Do something and die at the point of this number: its name, or nothing when there are fewer."""
    passed = 0

    def strike(point: str) -> None:
        nonlocal passed
        passed += 1
        if passed == number:
            raise Death(point)

    stage.strike = strike
    try:
        act()
    except Death as death:
        return str(death)
    finally:
        stage.strike = lambda point: None
    return ""


def _end(stage: Stage, change: Change) -> Any:
    """How it is when all has come to rest."""
    for _ in range(2):
        stage.turn()
    change.holds()
    return stage.summary()
