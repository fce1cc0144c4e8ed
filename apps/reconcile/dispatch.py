"""Waking workers: NOTIFY and the clock say that objects are due, Celery tasks carry the news to whoever runs them.

One dispatcher is enough; several only send superfluous tasks. Nothing depends on a task arriving: what is due stays in
the outbox and is announced again, also when the broker was away.
"""

import threading
from contextlib import suppress

import psycopg
import structlog
from django.db import Error as DatabaseError
from django.db import connections
from kombu.exceptions import OperationalError as BrokerError

from apps.reconcile import engine
from apps.reconcile.lease import session_parameters
from apps.reconcile.outbox import WAKE_CHANNEL
from apps.reconcile.tasks import run_due

ANNOUNCE_SECONDS = 5.0  # what is due and still there is announced again after so long
TASKS_AT_ONCE = 16  # each runs objects until none is due


class Dispatcher(threading.Thread):
    """Listens for hints and timers until `stop` is called; reconnects when database or broker go away."""

    def __init__(self) -> None:
        super().__init__(name="dispatcher", daemon=True)
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (DatabaseError, psycopg.Error, BrokerError, OSError) as error:
                structlog.get_logger("reconcile").warning("dispatcher reconnects", error=str(error))
                self._stopping.wait(1)
            finally:
                connections.close_all()

    def _listen(self) -> None:
        with psycopg.connect(**session_parameters(), autocommit=True) as session:
            session.execute(f"LISTEN {WAKE_CHANNEL}")
            while not self._stopping.is_set():
                engine.forgive_clock()
                due, next_in = engine.outlook(TASKS_AT_ONCE)
                connections.close_all()
                for _ in range(due):
                    run_due.delay()
                seconds = ANNOUNCE_SECONDS if next_in is None else min(next_in, ANNOUNCE_SECONDS)
                with suppress(StopIteration):
                    next(session.notifies(timeout=seconds, stop_after=1))
