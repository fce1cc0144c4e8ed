"""What the planners of this app give back: conditions for people, and at most one step for the reconciler."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from apps.reconcile.conditions import Condition

S = TypeVar("S")

Question = Literal["", "machine", "control-planes", "bootstrap", "etcd", "kubernetes"]
"""A fact that has to be read afresh before anything is decided."""


@dataclass(frozen=True)
class Decision(Generic[S]):
    """One look's outcome.

    `step` is the one thing to do now, None when there is nothing to do or something is awaited; `ask` names facts that
    the planner wants fresh before it says more, in which case there is no step. `again_in` is when to look again, in
    seconds, should nobody call before; None waits for the next hint.
    """

    conditions: tuple[Condition, ...]
    step: S | None = None
    ask: Question = ""
    again_in: float | None = None


def count(number: int, noun: str) -> str:
    """`1 machine`, `2 machines`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: list[str] | tuple[str, ...], most: int = 3) -> str:
    """Names in a sentence: `a`, `a and b`, `a, b, c and 4 more`."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
