"""Writing what machines said, in as few round trips as it takes: one transaction and one pipeline for a batch."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from apps.gateways.bounds import STRUCTURES
from apps.reconcile.outbox import CHANGES_CHANNEL, WAKE_CHANNEL
from apps.tenants.ids import uuid7

LINES_KEPT = 5000
EVENTS_KEPT = 300

Connection = psycopg.AsyncConnection[Any]

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
    """What is to be written of one machine. `first_line` is the number of the first of `lines`."""

    organisation_id: UUID
    machine_id: UUID
    fields: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    first_line: int = 1


async def last_line(connection: Connection, organisation_id: UUID, machine_id: UUID) -> int:
    """The number of the last log line stored of a machine, 0 before the first."""
    async with connection.transaction():
        await _enter(connection, organisation_id)
        cursor = await connection.execute(
            "SELECT coalesce(max(first_line + lines - 1), 0) FROM machines_logchunk WHERE machine_id = %s", [machine_id]
        )
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def write(connection: Connection, organisation_id: UUID, batches: list[Batch], gateway: str) -> None:
    """Store what machines of one organisation said to `gateway`; all of it or, when an error is raised, nothing."""
    now = datetime.now(UTC)
    async with connection.transaction():
        await _enter(connection, organisation_id)
        async with connection.pipeline():
            for batch in batches:
                if batch.fields:
                    await _update(connection, batch, now, gateway)
                if batch.events:
                    await _insert_events(connection, batch)
                if batch.lines:
                    await _insert_lines(connection, batch, now)
            await _tell(connection, organisation_id, batches)


async def _enter(connection: Connection, organisation_id: UUID) -> None:
    await connection.execute("SELECT set_config('omni.tenant', %s, true)", [str(organisation_id)])


async def _update(connection: Connection, batch: Batch, now: datetime, gateway: str) -> None:
    """Observe only what is ours to observe: a gateway that lost the link a moment ago overwrites nothing."""
    columns = {**batch.fields, "observed_at": now}
    assignments = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns)
    parameters = [Jsonb(value) if name in STRUCTURES else value for name, value in columns.items()]
    query = sql.SQL(
        "UPDATE machines_machineobservation SET {} WHERE machine_id = %s AND NOT EXISTS"
        " (SELECT 1 FROM machines_link WHERE machine_id = %s AND gateway NOT IN (%s, ''))"
    ).format(assignments)
    await connection.execute(query, [*parameters, batch.machine_id, batch.machine_id, gateway])


async def _insert_events(connection: Connection, batch: Batch) -> None:
    for event in batch.events:
        await connection.execute(
            "INSERT INTO machines_machineevent (id, organisation_id, machine_id, at, kind, summary, payload)"
            " SELECT %s, %s, id, %s, %s, %s, %s FROM machines_machine WHERE id = %s",
            [uuid7(), batch.organisation_id, event.at, event.kind, event.summary, Jsonb(event.payload),
             batch.machine_id],
        )  # fmt: skip
    await connection.execute(
        "DELETE FROM machines_machineevent WHERE machine_id = %s AND id < (SELECT min(id::text)::uuid FROM"
        " (SELECT id FROM machines_machineevent WHERE machine_id = %s ORDER BY id DESC LIMIT %s) AS newest)",
        [batch.machine_id, batch.machine_id, EVENTS_KEPT],
    )


async def _insert_lines(connection: Connection, batch: Batch, now: datetime) -> None:
    kept = batch.lines[-LINES_KEPT:]
    after = batch.first_line + len(batch.lines)
    await connection.execute(
        "INSERT INTO machines_logchunk (id, organisation_id, machine_id, first_line, lines, at, data)"
        " SELECT %s, %s, id, %s, %s, %s, %s FROM machines_machine WHERE id = %s",
        [uuid7(), batch.organisation_id, after - len(kept), len(kept), now, zlib.compress(b"\n".join(kept), 3),
         batch.machine_id],
    )  # fmt: skip
    await connection.execute(
        "DELETE FROM machines_logchunk WHERE machine_id = %s AND first_line + lines <= %s",
        [batch.machine_id, after - LINES_KEPT],
    )


async def _tell(connection: Connection, organisation_id: UUID, batches: list[Batch]) -> None:
    """Notify watchers of every change, and reconcilers of those that they decide on."""
    decided = [batch.machine_id for batch in batches if _RECONCILED & batch.fields.keys()]
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
    kinds: dict[str, Iterable[Batch]] = {
        "machine": (batch for batch in batches if batch.fields),
        "machine-event": (batch for batch in batches if batch.events),
        "machine-log": (batch for batch in batches if batch.lines),
    }
    for kind, told in kinds.items():
        for batch in told:
            payload = json.dumps({"organisation": str(organisation_id), "kind": kind, "id": str(batch.machine_id)})
            await connection.execute("SELECT pg_notify(%s, %s)", [CHANGES_CHANNEL, payload])
