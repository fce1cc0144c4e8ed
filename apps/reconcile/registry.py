"""Which function reconciles which kind of object. Apps register theirs when they are ready; the engine only looks up.

A reconciler is `f(organisation_id, object_id) -> Outcome`. The contract: read desired and observed state, decide at
most one next step with a pure function of `plan.py`, take it idempotently, store conditions. It runs outside any
transaction and opens short `tenant_scope`s of its own, so that none is held over a call to a machine. Two workers never
run the same object at once. Raising means "try again later", with a delay that grows.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Outcome:
    """`again_in`: look again after so many seconds even without a hint; None waits for the next hint."""

    again_in: float | None = None


Reconciler = Callable[[UUID, UUID], Outcome]

RECONCILERS: dict[str, Reconciler] = {}
OBJECTS: dict[str, Callable[[], Iterable[UUID]]] = {}


def register(kind: str, reconciler: Reconciler, objects: Callable[[], Iterable[UUID]] | None = None) -> None:
    """Make `reconciler` the one for objects of `kind` ("cluster", "machine", ...).

    `objects` lists the ids of all of them in the tenant in scope; they are looked at now and then without a hint, so
    that nothing depends on a hint that was never given.
    """
    RECONCILERS[kind] = reconciler
    if objects:
        OBJECTS[kind] = objects
