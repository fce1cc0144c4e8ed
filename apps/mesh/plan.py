"""Which affiliates a cluster should have in discovery services, from its members and what is known. Pure."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

GIVE_UP = timedelta(minutes=30)
"""A service keeps no record longer than this without its node."""

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=2), timedelta(minutes=1)
"""Between tries of one removal: twice as long each time."""

MOST_IDS = 16
"""Node ids of one machine that are known at once; what a machine says beyond is left until it counts fewer again."""


_NODE_ID = re.compile("[A-Za-z0-9]{1,64}")


@dataclass(frozen=True)
class Member:
    """A machine of the cluster, on its way out too, and the node id that it says."""

    machine_uuid: str
    node_id: str


@dataclass(frozen=True)
class Known:
    """An affiliate as its row has it."""

    id: UUID
    machine_uuid: str
    node_id: str
    gone_at: datetime | None = None
    removed_at: datetime | None = None
    attempts: int = 0


@dataclass
class Plan:
    """What to write, and which removals to try now.

    `spared` are gone, and another machine has their node id; `over` are given up; `old` were removed long ago.
    """

    new: list[Member] = field(default_factory=list)
    back: list[UUID] = field(default_factory=list)
    gone: list[UUID] = field(default_factory=list)
    spared: list[UUID] = field(default_factory=list)
    remove: list[UUID] = field(default_factory=list)
    over: list[UUID] = field(default_factory=list)
    old: list[UUID] = field(default_factory=list)
    next_at: datetime | None = None


def plan(members: Iterable[Member], known: Iterable[Known], now: datetime) -> Plan:
    """Compare. A member that says no node id at the moment keeps the one it had."""
    said = {member.machine_uuid: member.node_id if _NODE_ID.fullmatch(member.node_id) else "" for member in members}
    rows = list(known)
    held = Counter(row.machine_uuid for row in rows)
    present = {(uuid, node_id) for uuid, node_id in said.items() if node_id}
    result = Plan()
    seen = set()
    for row in rows:
        seen.add((row.machine_uuid, row.node_id))
        silent_member = said.get(row.machine_uuid) == "" and row.gone_at is None
        if (row.machine_uuid, row.node_id) in present or silent_member:
            present.add((row.machine_uuid, row.node_id))
            if row.gone_at is not None:
                result.back.append(row.id)
    alive = {node_id for _, node_id in present}
    for row in rows:
        if (row.machine_uuid, row.node_id) in present:
            continue
        if row.gone_at is None:
            result.gone.append(row.id)
        if row.removed_at is None:
            _task(row, alive, now, result)
        elif now - row.removed_at >= GIVE_UP:
            result.old.append(row.id)
    for uuid, node_id in sorted(present - seen):
        if held[uuid] < MOST_IDS:
            result.new.append(Member(uuid, node_id))
    return result


def _task(row: Known, alive: set[str], now: datetime, result: Plan) -> None:
    """What becomes of an affiliate that is not a member's any more."""
    gone_at = row.gone_at or now
    if row.node_id in alive:
        result.spared.append(row.id)
    elif now - gone_at >= GIVE_UP:
        result.over.append(row.id)
    elif (due := due_at(gone_at, row.attempts)) <= now:
        result.remove.append(row.id)
    else:
        result.next_at = min(result.next_at or due, due)


def due_at(gone_at: datetime, attempts: int) -> datetime:
    """When a removal is tried the next time after so many tries."""
    pauses = (min(FIRST_PAUSE * 2**number, LONGEST_PAUSE) for number in range(min(attempts, 10)))
    return gone_at + sum(pauses, timedelta()) + LONGEST_PAUSE * max(0, attempts - 10)
