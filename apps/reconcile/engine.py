"""Running reconcilers: claim one due object, run its reconciler, and forget it only if nothing new was said meanwhile.

Safe with any number of workers and threads. See `docs/architecture.md`, "The reconcile contract".
"""

import random
import time
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import DatabaseError, close_old_connections, connection
from prometheus_client import Counter, Histogram

from apps.reconcile.lease import LIVE_LEASES, Lease, LeaseLost
from apps.reconcile.outbox import WAKE_CHANNEL
from apps.reconcile.registry import RECONCILERS
from apps.tenants import failures

FIRST_DELAY, LONGEST_DELAY = 1.0, 300.0  # seconds between attempts that fail
ROOM_DELAY = 5.0  # seconds between looks for room on a full disk
FURTHEST = 1200.0  # seconds ahead that anything is due: twice what a resync spreads its objects over

RUNS = Counter("omni_reconcile_runs", "Reconciler runs", ["kind", "outcome"])
SECONDS = Histogram("omni_reconcile_seconds", "Duration of reconciler runs", ["kind"])

log = structlog.get_logger("reconcile")


@dataclass(frozen=True)
class Claim:
    """An object that this worker alone may run now. `attempts` counts this one; it starts again after a success."""

    row: int
    kind: str
    object_id: UUID
    organisation_id: UUID
    version: int
    attempts: int


def run_due(lease: Lease) -> int:
    """Run objects until none is due; how many were. Called by any number of threads at once."""
    done = 0
    while lease.alive and run_one(lease):
        done += 1
    return done


def run_one(lease: Lease) -> bool:
    """Claim and run one due object; False when none is due. Reconcilers' exceptions are stored, not raised."""
    claim = claim_next(lease)
    if claim is None:
        return False
    started = time.perf_counter()
    again_in: float | None
    with structlog.contextvars.bound_contextvars(kind=claim.kind, object=str(claim.object_id)):
        try:
            outcome = RECONCILERS[claim.kind](claim.organisation_id, claim.object_id)
        except Exception as error:
            log.warning("reconcile failed", attempt=claim.attempts, exc_info=True)
            RUNS.labels(claim.kind, "failed").inc()
            again_in, said = delay(claim.attempts), f"{type(error).__name__}: {error}"
        else:
            RUNS.labels(claim.kind, "done").inc()
            again_in, said = outcome.again_in, ""
        SECONDS.labels(claim.kind).observe(time.perf_counter() - started)
        try:
            _finish_surely(claim, again_in, said)
        except DatabaseError:
            lease.lose()  # the row would stay ours for as long as this process lives
            raise
    close_old_connections()
    return True


def claim_next(lease: Lease) -> Claim | None:
    """Take the object that has been due longest, of the kinds known here, and that no living worker runs.

    Raises `LeaseLost`.
    """
    if not lease.alive:
        raise LeaseLost("this worker's database session is gone; it may claim nothing more")
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE reconcile_outbox SET lease = %s, attempts = attempts + 1 WHERE id = (
                SELECT id FROM reconcile_outbox WHERE due_at <= clock_timestamp() AND kind = ANY(%s)
                AND (lease IS NULL OR lease NOT IN ({LIVE_LEASES}))
                ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
            ) RETURNING id, kind, object_id, organisation_id, version, attempts
            """,  # noqa: S608 (a constant)
            [lease.number, list(RECONCILERS)],
        )
        row = cursor.fetchone()
    return Claim(*row) if row else None


def delay(attempts: int) -> float:
    """Seconds to wait after so many failures in a row: doubling, at most five minutes, spread by a fifth."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(attempts - 1, 20)) * random.uniform(0.8, 1.2)  # noqa: S311


def outlook(limit: int) -> tuple[int, float | None]:
    """How many objects wait to be run now, counted up to `limit`, and in how many seconds the next one is due.

    Both at one instant, so that no object falls between. Objects that somebody runs are in neither.
    """
    free = f"(lease IS NULL OR lease NOT IN ({LIVE_LEASES}))"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT (SELECT count(*) FROM (
                SELECT 1 FROM reconcile_outbox WHERE due_at <= statement_timestamp() AND {free} LIMIT %s
            ) AS due), (SELECT extract(epoch FROM min(due_at) - statement_timestamp())::float
                FROM reconcile_outbox WHERE due_at > statement_timestamp() AND {free})
            """,  # noqa: S608 (constants)
            [limit],
        )
        due, next_in = cursor.fetchone() or (0, None)
    return due, next_in


def forgive_clock() -> None:
    """Make due what is due later than anybody ever asks for: the clock was set back since."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE reconcile_outbox SET due_at = clock_timestamp()"
            " WHERE due_at > clock_timestamp() + make_interval(secs => %s)",
            [FURTHEST],
        )


def _finish_surely(claim: Claim, again_in: float | None, error: str) -> None:
    """Let go of an object, and wait while the database has no room for that."""
    while True:
        try:
            return _finish(claim, again_in, error)
        except DatabaseError as failure:
            if not failures.disk_full(failure):
                raise
            log.error("the disk of the database is full, trying again", again_in=ROOM_DELAY)
            time.sleep(ROOM_DELAY)


def _finish(claim: Claim, again_in: float | None, error: str) -> None:
    """Let go of an object. A hint that came while it ran makes it due at once; after a failure, in a second."""
    with connection.cursor() as cursor:
        if again_in is None:
            cursor.execute("DELETE FROM reconcile_outbox WHERE id = %s AND version = %s", [claim.row, claim.version])
            if cursor.rowcount:
                return
        cursor.execute(
            """
            UPDATE reconcile_outbox SET lease = NULL, attempts = %s, last_error = %s,
                due_at = clock_timestamp() + make_interval(secs => CASE WHEN version = %s THEN %s ELSE %s END)
            WHERE id = %s
            """,
            [
                claim.attempts if error else 0,
                error[:2000],
                claim.version,
                again_in or 0.0,
                FIRST_DELAY if error else 0.0,
                claim.row,
            ],
        )
        cursor.execute("SELECT pg_notify(%s, '')", [WAKE_CHANNEL])
