"""From a committed hint to a reconciler's run: NOTIFY, dispatcher, Celery, engine, all real and in one process."""

import queue
import threading
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from celery.worker import WorkController
from django.db import transaction
from django.utils import timezone

from apps.reconcile import dispatch, registry, tasks
from apps.reconcile.lease import session_parameters
from apps.reconcile.models import Outbox
from apps.reconcile.outbox import hint
from apps.reconcile.registry import Outcome
from apps.tenants.ids import uuid7
from omni.celery import app

ORGANISATION = uuid7()
Seen = queue.Queue[UUID]


@pytest.fixture(scope="module")
def worker() -> Iterator[None]:
    controller = WorkController(app=app, pool_cls="threads", concurrency=4, without_gossip=True, without_mingle=True)
    thread = threading.Thread(target=controller.start, daemon=True)
    thread.start()
    yield
    controller.stop()
    thread.join(20)


@pytest.fixture
def seen(transactional_db: None, worker: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """What the reconciler of `thing` was called for, while everything runs."""
    found: Seen = queue.Queue()

    def reconcile(organisation: UUID, thing: UUID) -> Outcome:
        found.put(thing)
        return Outcome()

    monkeypatch.setitem(registry.RECONCILERS, "thing", reconcile)
    monkeypatch.setattr(tasks, "_lease", None)
    monkeypatch.setattr(dispatch, "ANNOUNCE_SECONDS", 60.0)  # so that only what is tested can wake it
    dispatcher = dispatch.Dispatcher()
    dispatcher.start()
    yield found
    dispatcher.stop()
    hint("thing", uuid7(), ORGANISATION)  # wakes it to see that it shall stop
    dispatcher.join(20)
    assert not dispatcher.is_alive()
    if tasks._lease:
        tasks._lease.close()


def test_a_hint_is_looked_at_after_commit(seen: Seen) -> None:
    thing = uuid7()
    with transaction.atomic():
        hint("thing", thing, ORGANISATION)
        with pytest.raises(queue.Empty):
            seen.get(timeout=0.05)
    assert seen.get(timeout=20) == thing


def test_a_later_time_is_waited_for(seen: Seen) -> None:
    soon, now = uuid7(), uuid7()
    hint("thing", soon, ORGANISATION, timezone.now() + timedelta(seconds=0.5))
    hint("thing", now, ORGANISATION)
    assert [seen.get(timeout=20), seen.get(timeout=20)] == [now, soon]


def test_many_at_once(seen: Seen) -> None:
    things = [uuid7() for _ in range(40)]
    with transaction.atomic():
        for thing in things:
            hint("thing", thing, ORGANISATION)
    assert {seen.get(timeout=20) for _ in things} == set(things)


def test_the_dispatcher_comes_back_after_the_database_was_away(seen: Seen) -> None:
    first, second = uuid7(), uuid7()
    hint("thing", first, ORGANISATION)
    assert seen.get(timeout=20) == first
    with psycopg.connect(**session_parameters(), autocommit=True) as session:
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN omni_outbox%'")
    hint("thing", second, ORGANISATION)
    assert seen.get(timeout=20) == second


def test_a_task_that_finds_nothing_does_no_harm(seen: Seen) -> None:
    tasks.run_due.delay()
    thing = uuid7()
    hint("thing", thing, ORGANISATION)
    assert seen.get(timeout=20) == thing
    assert not Outbox.objects.filter(kind="other").exists()
