"""The audit of proxied calls: written some at a time beside the calls, and before those that change something.

Of a call its method, object, outcome and seconds are kept; never a body, never the values of a query.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict, deque
from contextlib import suppress
from functools import partial
from uuid import UUID

from django.db import DataError
from django.db import Error as DatabaseError

from apps.access.actor import system
from apps.audit.actions import Entry, record_all
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread

TALOS, KUBERNETES = "talos.call", "kubernetes.request"
DROPPED = "audit.drop"

INTERVAL = 0.5
"""Seconds between writes."""

ROOM = 20_000
"""Rows that wait to be written; of more only the number is kept."""

REFUSALS, REFUSALS_SECONDS = 20, 60.0
"""How many refusals of one key are written in how many seconds."""

READS_SECONDS = 600.0
"""Plain reads of one kind in one cluster with one key are written once in so many seconds."""

REMEMBERED = 20_000
"""Keys whose refusals, and reads that were written, are remembered."""

log = logging.getLogger(__name__)


class Journal:
    """Takes rows at any time and writes them from `run`."""

    def __init__(self) -> None:
        self._waiting: deque[Entry] = deque()
        self._dropped: Counter[UUID] = Counter()
        self._refusals: dict[UUID, tuple[float, int]] = {}
        self._reads: dict[tuple[UUID, UUID, str], float] = {}
        self._writing = asyncio.Lock()

    async def before(self, entry: Entry) -> None:
        """Write a row now: it is there before the call is made. Raises Django's database errors."""
        await in_thread(partial(_write, entry.actor.organisation_id, [entry]))

    def note(self, entry: Entry) -> None:
        """Write a row soon."""
        if len(self._waiting) < ROOM:
            self._waiting.append(entry)
        else:
            self._dropped[entry.actor.organisation_id] += 1

    def refused(self, key_id: UUID, entry: Entry) -> None:
        """Write a refusal soon, unless there are many with this key."""
        now = time.monotonic()
        since, count = self._refusals.get(key_id, (now, 0))
        if now - since > REFUSALS_SECONDS:
            since, count = now, 0
        _remember(self._refusals, key_id, (since, count + 1))
        if count < REFUSALS:
            self.note(entry)
        else:
            self._dropped[entry.actor.organisation_id] += 1

    def first_read(self, key_id: UUID, cluster_id: UUID, kind: str) -> bool:
        """Whether a plain read is to be written: none like it was for a while."""
        now = time.monotonic()
        if self._reads.get((key_id, cluster_id, kind), 0) > now:
            return False
        _remember(self._reads, (key_id, cluster_id, kind), now + READS_SECONDS)
        return True

    async def run(self) -> None:
        """Write, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            with suppress(DatabaseError):
                await asyncio.shield(asyncio.ensure_future(self.flush()))  # what was taken is written

    async def flush(self) -> None:
        """Write all that waits. Raises Django's database errors; then it waits on."""
        async with self._writing:
            await self._flush()

    async def _flush(self) -> None:
        by_organisation: defaultdict[UUID, list[Entry]] = defaultdict(list)
        taken, self._waiting = self._waiting, deque()
        dropped, self._dropped = self._dropped, Counter()
        for entry in taken:
            by_organisation[entry.actor.organisation_id].append(entry)
        for organisation_id, count in dropped.items():
            by_organisation[organisation_id].append(
                Entry(system(organisation_id, "proxies"), DROPPED, "audit", details={"rows": count})
            )
        while by_organisation:
            organisation_id, entries = next(iter(by_organisation.items()))
            try:
                await in_thread(partial(_write, organisation_id, entries))
            except DatabaseError as error:
                log.warning("the audit of proxied calls cannot be written, trying again: %s", error)
                self._waiting.extendleft(reversed([entry for its in by_organisation.values() for entry in its]))
                raise
            del by_organisation[organisation_id]


def _write(organisation_id: UUID, entries: list[Entry]) -> None:
    """Those that cannot be stored, for what is in them, hold up no others."""
    try:
        with tenant_scope(organisation_id):
            record_all(entries)
    except (DataError, ValueError) as error:
        if len(entries) == 1:
            log.error("an audit row of a proxied call cannot be stored: %s", error)
            return
        for entry in entries:
            _write(organisation_id, [entry])


def _remember(memory: dict, key: object, value: object) -> None:
    memory.pop(key, None)
    while len(memory) >= REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value


def talos_outcome(code: str, changes: bool) -> str:
    """What a call came to, by its gRPC code. Who stops following something has had what they wanted."""
    if code == "OK" or (code == "CANCELLED" and not changes):
        return "done"
    return "refused" if code in ("PERMISSION_DENIED", "UNAUTHENTICATED") else "failed"


def kubernetes_outcome(status: str) -> str:
    """What a request came to, by its HTTP status."""
    if status in ("401", "403"):
        return "refused"
    return "done" if status[:1] in ("1", "2", "3") else "failed"
