"""Writing what machines said: one transaction and one pipeline, of a few statements for however many machines."""

import json
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Json

from apps.gateways.bounds import TYPES
from apps.reconcile.outbox import CHANGES_CHANNEL, WAKE_CHANNEL
from apps.tenants.ids import uuid7

LINES_KEPT = 5000
EVENTS_KEPT = 300

EVENTS_SLACK = 50
"""Events beyond those kept that may be there: finding the oldest with every new one costs more than all else."""

Connection = psycopg.Connection[Any]

_RECONCILED = {
    "connected", "reachable", "api_mode", "boot_id", "stage", "ready", "unmet", "talos_version", "schematic",
    "installed", "system_disk", "disks", "etcd_member_id", "node_name", "addresses", "image_labels",
}  # fmt: skip
"""Fields that reconcilers decide on; a change of one is a hint."""


@dataclass(frozen=True)
class Event:
    """Something a machine told of itself, in words and as JSON."""

    at: datetime
    kind: str
    summary: str
    payload: dict[str, Any]


@dataclass
class Batch:
    """What is to be written of one machine. `first_line` is the number of the first of `lines`; `trim` says that its
    events may be more than are kept.
    """

    organisation_id: UUID
    machine_id: UUID
    fields: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    first_line: int = 1
    trim: bool = True


def last_lines(connection: Connection, organisation_id: UUID, machines: list[UUID]) -> dict[UUID, int]:
    """The number of the last log line stored of each machine that has any."""
    with connection.transaction():
        _enter(connection, organisation_id)
        cursor = connection.execute(
            "SELECT machine_id, max(first_line + lines - 1) FROM machines_logchunk WHERE machine_id = ANY(%s)"
            " GROUP BY machine_id",
            [machines],
        )
        return {machine_id: int(last) for machine_id, last in cursor}


def write(connection: Connection, organisation_id: UUID, batches: list[Batch], gateway: str) -> set[UUID]:
    """Store what machines of one organisation said to `gateway`; all of it or, when an error is raised, nothing.

    The machines of which nothing was observed, since another gateway holds their links.
    """
    now = datetime.now(UTC)
    with connection.transaction():
        _enter(connection, organisation_id)
        with connection.pipeline():
            updates = _update(connection, batches, now, gateway)
            _insert_events(connection, organisation_id, batches)
            _insert_lines(connection, organisation_id, batches, now)
            _tell(connection, organisation_id, batches)
        updated = {row[0] for update in updates for row in update.fetchall()}
    return {batch.machine_id for batch in batches if batch.fields} - updated


def _enter(connection: Connection, organisation_id: UUID) -> None:
    connection.execute("SELECT set_config('omni.tenant', %s, true)", [str(organisation_id)])


def _update(connection: Connection, batches: list[Batch], now: datetime, gateway: str) -> list[psycopg.Cursor[Any]]:
    """One statement for all machines that said something of the same columns; each gives the machines it updated. Only
    what is ours to observe: a gateway that lost the link a moment ago overwrites nothing.
    """
    by_columns: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for batch in batches:
        if batch.fields:
            by_columns[tuple(sorted(batch.fields))].append({**batch.fields, "machine_id": batch.machine_id})
    return [
        connection.execute(_update_query(columns), [now, Json(values, _dumps), gateway])
        for columns, values in by_columns.items()
    ]


@lru_cache(maxsize=256)
def _update_query(columns: tuple[str, ...]) -> sql.Composed:
    names = [sql.Identifier(name) for name in columns]
    return sql.SQL(
        "UPDATE machines_machineobservation AS o SET {}, observed_at = %s"
        " FROM jsonb_to_recordset(%s::jsonb) AS new(machine_id uuid, {}) WHERE o.machine_id = new.machine_id"
        " AND NOT EXISTS (SELECT 1 FROM machines_link WHERE machine_id = new.machine_id AND gateway NOT IN (%s, ''))"
        " RETURNING o.machine_id"
    ).format(
        sql.SQL(", ").join(sql.SQL("{0} = new.{0}").format(name) for name in names),
        sql.SQL(", ").join(
            sql.SQL("{} {}").format(identifier, sql.SQL(TYPES[name]))
            for identifier, name in zip(names, columns, strict=True)
        ),
    )


def _insert_events(connection: Connection, organisation_id: UUID, batches: list[Batch]) -> None:
    values = [
        {"id": uuid7(), "machine_id": batch.machine_id, **vars(event)} for batch in batches for event in batch.events
    ]
    if values:
        connection.execute(
            "INSERT INTO machines_machineevent (id, organisation_id, machine_id, at, kind, summary, payload)"
            " SELECT new.id, %s, m.id, at, kind, summary, payload FROM jsonb_to_recordset(%s::jsonb)"
            " AS new(id uuid, machine_id uuid, at timestamptz, kind text, summary text, payload jsonb)"
            " JOIN machines_machine AS m ON m.id = new.machine_id",
            [organisation_id, Json(values, _dumps)],
        )
    full = [batch.machine_id for batch in batches if batch.events and batch.trim]
    if full:
        connection.execute(
            "DELETE FROM machines_machineevent WHERE id IN (SELECT id FROM ("
            "   SELECT id, row_number() OVER (PARTITION BY machine_id ORDER BY id DESC) AS place"
            "   FROM machines_machineevent WHERE machine_id = ANY(%s)"
            " ) AS placed WHERE place > %s)",
            [full, EVENTS_KEPT],
        )


def _insert_lines(connection: Connection, organisation_id: UUID, batches: list[Batch], now: datetime) -> None:
    rows = []
    for batch in batches:
        if batch.lines:
            kept, after = batch.lines[-LINES_KEPT:], batch.first_line + len(batch.lines)
            packed = zlib.compress(b"\n".join(kept), 3)
            rows.append((uuid7(), batch.machine_id, after - len(kept), len(kept), packed, after - LINES_KEPT))
    if not rows:
        return
    ids, machines, firsts, counts, packs, kept_from = (list(column) for column in zip(*rows, strict=True))
    connection.execute(
        "INSERT INTO machines_logchunk (id, organisation_id, machine_id, first_line, lines, at, data)"
        " SELECT new.id, %s, m.id, first, count, %s, data"
        " FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::int[], %s::bytea[])"
        " AS new(id, machine_id, first, count, data) JOIN machines_machine AS m ON m.id = new.machine_id",
        [organisation_id, now, ids, machines, firsts, counts, packs],
    )
    connection.execute(
        "DELETE FROM machines_logchunk AS chunk USING unnest(%s::uuid[], %s::bigint[]) AS kept(machine_id, first)"
        " WHERE chunk.machine_id = kept.machine_id AND chunk.first_line + chunk.lines <= kept.first",
        [machines, kept_from],
    )


def _tell(connection: Connection, organisation_id: UUID, batches: list[Batch]) -> None:
    """Notify watchers of every change, and reconcilers of those that they decide on."""
    decided = [batch.machine_id for batch in batches if _RECONCILED & batch.fields.keys()]
    named = [batch.machine_id for batch in batches if "node_id" in batch.fields]
    if decided or named:
        connection.execute(
            "INSERT INTO reconcile_outbox (kind, object_id, organisation_id, version, due_at, attempts, last_error)"
            " SELECT kind, object_id, organisation_id, 1, now(), 0, '' FROM ("
            "   SELECT 'machine' AS kind, id AS object_id, organisation_id FROM machines_machine"
            "     WHERE id = ANY(%(ids)s)"
            "   UNION SELECT 'cluster-machine', id, organisation_id FROM clusters_clustermachine"
            "     WHERE machine_id = ANY(%(ids)s)"
            "   UNION SELECT 'cluster', cluster_id, organisation_id FROM clusters_clustermachine"
            "     WHERE machine_id = ANY(%(ids)s)"
            "   UNION SELECT 'discovery', cluster_id, organisation_id FROM clusters_clustermachine"
            "     WHERE machine_id = ANY(%(named)s)"
            " ) AS wanted ON CONFLICT (kind, object_id) DO UPDATE"
            " SET version = reconcile_outbox.version + 1, due_at = least(reconcile_outbox.due_at, excluded.due_at)",
            {"ids": decided, "named": named},
        )
        connection.execute("SELECT pg_notify(%s, '')", [WAKE_CHANNEL])
    changes = [
        json.dumps({"organisation": str(organisation_id), "kind": kind, "id": str(batch.machine_id)})
        for kind, said in _SAID.items()
        for batch in batches
        if said(batch)
    ]
    connection.execute("SELECT pg_notify(%s, change) FROM unnest(%s::text[]) AS change", [CHANGES_CHANNEL, changes])


_SAID: dict[str, Callable[[Batch], object]] = {
    "machine": lambda batch: batch.fields,
    "machine-event": lambda batch: batch.events,
    "machine-log": lambda batch: batch.lines,
}
"""Kinds of change and what of a batch is one."""


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str)
