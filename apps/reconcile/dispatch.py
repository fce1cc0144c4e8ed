"""Waking workers: NOTIFY and the clock say that objects are due, Celery tasks carry the news to whoever runs them.

One dispatcher is enough; several only send superfluous tasks. Nothing depends on a task arriving: what is due stays in
the outbox and is announced again.
"""

import threading
from contextlib import suppress

import psycopg
import structlog
from django.db import Error as DatabaseError
from django.db import connections

from apps.reconcile import engine
from apps.reconcile.lease import session_parameters
from apps.reconcile.outbox import WAKE_CHANNEL
from apps.reconcile.tasks import run_due

ANNOUNCE_SECONDS = 5.0  # what is due and still there is announced again after so long
TASKS_AT_ONCE = 16


class Dispatcher(threading.Thread):
    """Listens for hints and timers until `stop` is called; reconnects when the database goes away."""

    def __init__(self) -> None:
        super().__init__(name="dispatcher", daemon=True)
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (DatabaseError, psycopg.Error, OSError) as error:
                structlog.get_logger("reconcile").warning("dispatcher reconnects", error=str(error))
                self._stopping.wait(1)
            finally:
                connections.close_all()

    def _listen(self) -> None:
        with psycopg.connect(**session_parameters(), autocommit=True) as session:
            session.execute(f"LISTEN {WAKE_CHANNEL}")
            while not self._stopping.is_set():
                announce()
                wait = engine.next_due_in()
                connections.close_all()
                seconds = ANNOUNCE_SECONDS if not wait else min(wait, ANNOUNCE_SECONDS)
                with suppress(StopIteration):
                    next(session.notifies(timeout=seconds, stop_after=1))


def announce() -> None:
    """Send a task for each due object, up to as many as are useful at once."""
    for _ in range(engine.count_due(TASKS_AT_ONCE)):
        run_due.delay()
