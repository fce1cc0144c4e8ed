"""Celery's entries into the engine. They carry no data: what to do is in the outbox."""

import os
import threading

import structlog
from celery import shared_task

from apps.reconcile import engine
from apps.reconcile.lease import Lease
from apps.reconcile.resync import resync as resync_all

_lock = threading.Lock()
_lease: Lease | None = None


@shared_task(name="reconcile.run_due", ignore_result=True, expires=30)
def run_due() -> None:
    """Run objects until none is due."""
    engine.run_due(worker_lease())


@shared_task(name="reconcile.resync", ignore_result=True)
def resync() -> None:
    """Look at every object within the next minutes."""
    resync_all()


def worker_lease() -> Lease:
    """The one lease of this worker process."""
    global _lease
    with _lock:
        if _lease is None:
            _lease = Lease(lost=end_process)
        return _lease


def end_process() -> None:
    """Without its session a process may do what another one has claimed: end at once and be started anew."""
    structlog.get_logger("reconcile").error("the database session of this process is gone; it ends to start anew")
    os._exit(75)
