"""The one writer of what machines say: observations, events and kernel logs, gathered and written a few times a second.

A value that is overwritten before it is written is never written. Rows of one organisation go in one transaction and one
round trip (pipeline). Log lines are kept as compressed chunks.
"""

import asyncio
import json
import logging
import zlib
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from google.protobuf.message import Message
from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from apps.gateways.directory import Directory, Known
from apps.reconcile.outbox import CHANGES_CHANNEL, WAKE_CHANNEL
from apps.tenants.ids import uuid7
from nodeagent import eventtext

INTERVAL = 0.15
"""Seconds between writes."""

LINES_KEPT = 5000
EVENTS_KEPT = 300
WAITING_EVENTS = 300
"""Events held in memory for a machine that is not registered yet."""

BUFFERED_LINES = 2000
"""Log lines of one machine held in memory; while the database is away older ones are dropped."""

_JSON = {"unmet", "image_labels", "hardware", "disks", "network", "extensions", "security", "meta"}

_RECONCILED = {
    "connected", "reachable", "api_mode", "boot_id", "stage", "ready", "unmet", "talos_version", "schematic",
    "installed", "system_disk", "disks", "etcd_member_id", "node_name", "addresses", "image_labels",
}  # fmt: skip
"""Fields that reconcilers decide on; a change of one is a hint."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Event:
    known: Known
    at: datetime
    kind: str
    summary: str
    payload: dict[str, Any]


class Batcher:
    """Takes observations at any time and writes them from `run`. Implements the event and log sinks of links."""

    def __init__(self, dsn: str, directory: Directory) -> None:
        self._pool = AsyncConnectionPool(dsn, min_size=1, max_size=2, open=False, kwargs={"autocommit": True})
        self._directory = directory
        self._fields: dict[UUID, tuple[UUID, dict[str, Any]]] = {}
        self._written: dict[UUID, dict[str, Any]] = {}
        self._events: list[_Event] = []
        self._waiting: dict[str, deque[tuple[str, Message]]] = {}
        self._lines: dict[UUID, deque[bytes]] = defaultdict(lambda: deque(maxlen=BUFFERED_LINES))
        self._next_line: dict[UUID, int] = {}
        self._seen_events: dict[UUID, str] = {}
        self._work = asyncio.Event()

    # What machines say

    def observe(self, known: Known, fields: dict[str, Any]) -> None:
        """New values of some columns of the machine's observation. Nothing happens while the link is pending."""
        if known.machine_id is None:
            return
        written = self._written.setdefault(known.machine_id, {})
        fresh = {name: value for name, value in fields.items() if name not in written or written[name] != value}
        if not fresh:
            return
        written.update(fresh)
        self._fields.setdefault(known.machine_id, (known.organisation_id, {}))[1].update(fresh)
        self._work.set()

    def forget(self, machine_id: UUID) -> None:
        """The machine is gone: what was gathered about it is not written any more."""
        self._fields.pop(machine_id, None)
        self._written.pop(machine_id, None)
        self._lines.pop(machine_id, None)
        self._next_line.pop(machine_id, None)
        self._seen_events.pop(machine_id, None)

    async def event(self, address: str, event_id: str, actor_id: str, payload: Message | None, type_url: str) -> None:
        """Take one event (`nodeagent.ports.EventSink`). Events of a pending machine wait for its registration."""
        known = self._directory.at(address)
        if known is None:
            raise LookupError(f"no machine has the address {address}")
        if payload is None:
            return
        if known.machine_id is None:
            self._waiting.setdefault(address, deque(maxlen=WAITING_EVENTS)).append((event_id, payload))
            return
        if event_id and event_id <= self._seen_events.get(known.machine_id, ""):
            return  # ids grow with time: this one was taken before and is repeated after a lost answer
        self._seen_events[known.machine_id] = event_id
        self._take(known, payload)

    def registered(self, known: Known) -> None:
        """A pending machine became one of ours: its waiting events are its first."""
        for event_id, payload in self._waiting.pop(known.link.address, ()):
            if known.machine_id is not None:
                self._seen_events[known.machine_id] = event_id
                self._take(known, payload)

    def _take(self, known: Known, payload: Message) -> None:
        kind, summary, details = eventtext.describe(payload)
        self._events.append(_Event(known, datetime.now(UTC), kind, summary[:400], details))
        status = eventtext.machine_status(payload)
        if status is not None:
            self.observe(known, status)
        self._work.set()

    async def known(self, address: str) -> bool:
        """Whether log lines from here are wanted (`nodeagent.ports.LogSink`)."""
        known = self._directory.at(address)
        return known is not None and known.machine_id is not None

    async def lines(self, address: str, lines: list[bytes]) -> None:
        """Take kernel log lines (`nodeagent.ports.LogSink`)."""
        known = self._directory.at(address)
        if known is not None and known.machine_id is not None:
            self._lines[known.machine_id].extend(lines)
            self._work.set()

    # Writing

    async def run(self) -> None:
        """Write until cancelled; while the database is away everything waits in bounded memory."""
        await self._pool.open()
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                await asyncio.sleep(INTERVAL)
                try:
                    await self.flush()
                except (psycopg.Error, OSError) as error:
                    log.warning("observations cannot be written, trying again: %s", error)
                    self._work.set()
                    await asyncio.sleep(1)
        finally:
            await self._pool.close()

    async def flush(self) -> None:
        """Write what has been gathered. On an error what was not written stays for the next try."""
        by_organisation: dict[UUID, list[tuple[UUID, dict[str, Any]]]] = defaultdict(list)
        fields, self._fields = self._fields, {}
        events, self._events = self._events, []
        for machine_id, (organisation_id, values) in fields.items():
            by_organisation[organisation_id].append((machine_id, values))
        events_by: dict[UUID, list[_Event]] = defaultdict(list)
        for event in events:
            events_by[event.known.organisation_id].append(event)
        logs_by: dict[UUID, list[UUID]] = defaultdict(list)
        for machine_id in list(self._lines):
            known = self._directory.machine(machine_id)
            if known is None:
                self._lines.pop(machine_id, None)
            else:
                logs_by[known.organisation_id].append(machine_id)
        organisations = by_organisation.keys() | events_by.keys() | logs_by.keys()
        try:
            async with self._pool.connection() as connection:
                for organisation_id in organisations:
                    await self._write(
                        connection,
                        organisation_id,
                        by_organisation[organisation_id],
                        events_by[organisation_id],
                        logs_by[organisation_id],
                    )
        except (psycopg.Error, OSError):
            self._put_back(fields, events)
            raise

    def _put_back(self, fields: dict[UUID, tuple[UUID, dict[str, Any]]], events: list[_Event]) -> None:
        for machine_id, (organisation_id, values) in fields.items():
            newer = self._fields.get(machine_id, (organisation_id, {}))[1]
            self._fields[machine_id] = (organisation_id, {**values, **newer})
        self._events = (events + self._events)[-10_000:]

    async def _write(
        self,
        connection: psycopg.AsyncConnection[Any],
        organisation_id: UUID,
        observations: list[tuple[UUID, dict[str, Any]]],
        events: list[_Event],
        logs: list[UUID],
    ) -> None:
        for machine_id in logs:
            if machine_id not in self._next_line:
                self._next_line[machine_id] = await _last_line(connection, organisation_id, machine_id) + 1
        now = datetime.now(UTC)
        chunks = [(machine_id, list(self._lines[machine_id])) for machine_id in logs]
        async with connection.transaction():
            await connection.execute("SELECT set_config('omni.tenant', %s, true)", [str(organisation_id)])
            async with connection.pipeline():
                for machine_id, values in observations:
                    await _update(connection, machine_id, values, now)
                for event in events:
                    await _insert_event(connection, organisation_id, event)
                for teller in {event.known.machine_id for event in events}:
                    await _trim_events(connection, teller)
                for machine_id, lines in chunks:
                    if lines:
                        await _insert_lines(
                            connection, organisation_id, machine_id, self._next_line[machine_id], lines, now
                        )
                await _tell(connection, organisation_id, observations, {e.known.machine_id for e in events}, chunks)
        for machine_id, lines in chunks:
            kept = self._lines.pop(machine_id, deque())
            self._next_line[machine_id] += len(lines)
            if fresh := list(kept)[len(lines) :]:
                self._lines[machine_id].extend(fresh)


async def _update(
    connection: psycopg.AsyncConnection[Any], machine_id: UUID, values: dict[str, Any], now: datetime
) -> None:
    columns = {**values, "observed_at": now}
    assignments = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns)
    parameters = [Jsonb(value) if name in _JSON else value for name, value in columns.items()]
    query = sql.SQL("UPDATE machines_machineobservation SET {} WHERE machine_id = %s").format(assignments)
    await connection.execute(query, [*parameters, machine_id])


async def _insert_event(connection: psycopg.AsyncConnection[Any], organisation_id: UUID, event: _Event) -> None:
    await connection.execute(
        "INSERT INTO machines_machineevent (id, organisation_id, machine_id, at, kind, summary, payload)"
        " SELECT %s, %s, id, %s, %s, %s, %s FROM machines_machine WHERE id = %s",
        [uuid7(), organisation_id, event.at, event.kind, event.summary, Jsonb(event.payload), event.known.machine_id],
    )


async def _trim_events(connection: psycopg.AsyncConnection[Any], machine_id: UUID | None) -> None:
    await connection.execute(
        "DELETE FROM machines_machineevent WHERE machine_id = %s AND id < (SELECT min(id::text)::uuid FROM"
        " (SELECT id FROM machines_machineevent WHERE machine_id = %s ORDER BY id DESC LIMIT %s) AS newest)",
        [machine_id, machine_id, EVENTS_KEPT],
    )


async def _last_line(connection: psycopg.AsyncConnection[Any], organisation_id: UUID, machine_id: UUID) -> int:
    async with connection.transaction():
        await connection.execute("SELECT set_config('omni.tenant', %s, true)", [str(organisation_id)])
        cursor = await connection.execute(
            "SELECT coalesce(max(first_line + lines - 1), 0) FROM machines_logchunk WHERE machine_id = %s", [machine_id]
        )
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _insert_lines(
    connection: psycopg.AsyncConnection[Any],
    organisation_id: UUID,
    machine_id: UUID,
    first: int,
    lines: list[bytes],
    now: datetime,
) -> None:
    await connection.execute(
        "INSERT INTO machines_logchunk (id, organisation_id, machine_id, first_line, lines, at, data)"
        " SELECT %s, %s, id, %s, %s, %s, %s FROM machines_machine WHERE id = %s",
        [uuid7(), organisation_id, first, len(lines), now, zlib.compress(b"\n".join(lines), 3), machine_id],
    )
    await connection.execute(
        "DELETE FROM machines_logchunk WHERE machine_id = %s AND first_line + lines <= %s",
        [machine_id, first + len(lines) - LINES_KEPT],
    )


async def _tell(
    connection: psycopg.AsyncConnection[Any],
    organisation_id: UUID,
    observations: list[tuple[UUID, dict[str, Any]]],
    with_events: Iterable[UUID | None],
    chunks: list[tuple[UUID, list[bytes]]],
) -> None:
    """Notify watchers of every change, and reconcilers of those that they decide on."""
    decided = [machine_id for machine_id, values in observations if _RECONCILED & values.keys()]
    if decided:
        await connection.execute(
            "INSERT INTO reconcile_outbox (kind, object_id, organisation_id, version, due_at, attempts, last_error)"
            " SELECT kind, object_id, organisation_id, 1, now(), 0, '' FROM ("
            "   SELECT 'machine' AS kind, id AS object_id, organisation_id FROM machines_machine"
            "     WHERE id = ANY(%(ids)s)"
            "   UNION SELECT 'cluster-machine', id, organisation_id FROM clusters_clustermachine"
            "     WHERE machine_id = ANY(%(ids)s)"
            "   UNION SELECT 'cluster', cluster_id, organisation_id FROM clusters_clustermachine"
            "     WHERE machine_id = ANY(%(ids)s)"
            " ) AS wanted ON CONFLICT (kind, object_id) DO UPDATE"
            " SET version = reconcile_outbox.version + 1, due_at = least(reconcile_outbox.due_at, excluded.due_at)",
            {"ids": decided},
        )
        await connection.execute("SELECT pg_notify(%s, '')", [WAKE_CHANNEL])
    kinds: dict[str, list[UUID | None]] = {
        "machine": [machine_id for machine_id, _ in observations],
        "machine-event": list(with_events),
        "machine-log": [machine_id for machine_id, lines in chunks if lines],
    }
    for kind, ids in kinds.items():
        for machine_id in ids:
            payload = json.dumps({"organisation": str(organisation_id), "kind": kind, "id": str(machine_id)})
            await connection.execute("SELECT pg_notify(%s, %s)", [CHANGES_CHANNEL, payload])
