"""The reconcile contract: nothing lost, nothing run twice at once, failures repeated with growing delays."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from django.db import OperationalError, connection, connections
from django.utils import timezone

from apps.machines.models import Machine
from apps.reconcile import engine, registry
from apps.reconcile.lease import Lease, LeaseLost
from apps.reconcile.models import Outbox
from apps.reconcile.outbox import hint
from apps.reconcile.registry import Outcome
from apps.reconcile.resync import RESYNC_SECONDS, resync
from apps.tenants.ids import uuid7
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

ORGANISATION = uuid7()


@pytest.fixture
def lease(transactional_db: None) -> Iterator[Lease]:
    lease = Lease(lost=lambda: None)
    yield lease
    lease.close()


@pytest.fixture
def reconcile(monkeypatch: pytest.MonkeyPatch) -> Callable[[registry.Reconciler], None]:
    """Makes a function the only reconciler, for kind `thing`."""
    monkeypatch.setattr(registry, "RECONCILERS", registry.RECONCILERS)

    def register(reconciler: registry.Reconciler) -> None:
        monkeypatch.setitem(registry.RECONCILERS, "thing", reconciler)

    return register


def hint_thing() -> UUID:
    thing = uuid7()
    hint("thing", thing, ORGANISATION)
    return thing


def test_an_object_is_run_once_and_forgotten(lease: Lease, reconcile: Callable[..., None]) -> None:
    seen: list[tuple[UUID, UUID]] = []
    reconcile(lambda organisation, thing: seen.append((organisation, thing)) or Outcome())
    thing = hint_thing()
    hint("thing", thing, ORGANISATION)
    assert engine.run_due(lease) == 1
    assert seen == [(ORGANISATION, thing)]
    assert not Outbox.objects.exists()


def test_a_hint_during_the_run_is_not_lost(lease: Lease, reconcile: Callable[..., None]) -> None:
    runs: list[UUID] = []

    def once_more(organisation: UUID, thing: UUID) -> Outcome:
        if not runs:
            hint("thing", thing, ORGANISATION)
        runs.append(thing)
        return Outcome()

    reconcile(once_more)
    thing = hint_thing()
    assert engine.run_due(lease) == 2
    assert runs == [thing, thing]


def test_again_in_sets_the_next_look(lease: Lease, reconcile: Callable[..., None]) -> None:
    reconcile(lambda organisation, thing: Outcome(again_in=30))
    hint_thing()
    assert engine.run_due(lease) == 1
    due, next_in = engine.outlook(10)
    assert due == 0
    assert next_in is not None
    assert 25 < next_in <= 30


def test_a_failure_is_stored_and_repeated_later(lease: Lease, reconcile: Callable[..., None]) -> None:
    def fail(organisation: UUID, thing: UUID) -> Outcome:
        raise ValueError("no route to machine")

    reconcile(fail)
    hint_thing()
    assert engine.run_due(lease) == 1
    row = Outbox.objects.get()
    assert (row.attempts, row.last_error, row.lease) == (1, "ValueError: no route to machine", None)
    assert timedelta(seconds=0.5) < row.due_at - timezone.now() < timedelta(seconds=1.5)
    Outbox.objects.update(due_at=timezone.now())
    reconcile(lambda organisation, thing: Outcome(again_in=60))
    assert engine.run_due(lease) == 1
    row.refresh_from_db()
    assert (row.attempts, row.last_error) == (0, "")


def test_while_the_disk_is_full_what_was_done_is_kept_in_mind(
    lease: Lease, reconcile: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker lives on, and lets the object go as soon as there is room."""
    finish, fails = engine._finish, iter([True, True])

    def full(claim: engine.Claim, again_in: float | None, error: str) -> None:
        if next(fails, False):
            raise OperationalError("no room") from psycopg.errors.DiskFull("no room")
        finish(claim, again_in, error)

    monkeypatch.setattr(engine, "_finish", full)
    monkeypatch.setattr(engine, "ROOM_DELAY", 0.0)
    reconcile(lambda organisation, thing: Outcome())
    hint_thing()
    assert engine.run_due(lease) == 1
    assert lease.alive
    assert not Outbox.objects.exists()


def test_a_clock_that_was_set_back(lease: Lease, reconcile: Callable[..., None]) -> None:
    """What was due by the old time is not waited for as long as the clock was wrong."""
    reconcile(lambda organisation, thing: Outcome())
    hint("thing", uuid7(), ORGANISATION, timezone.now() + timedelta(hours=3))
    hint("thing", uuid7(), ORGANISATION, timezone.now() + timedelta(seconds=RESYNC_SECONDS))
    assert engine.run_due(lease) == 0
    engine.forgive_clock()
    assert engine.run_due(lease) == 1
    assert Outbox.objects.get().due_at > timezone.now()


def test_delays_grow_to_a_limit() -> None:
    delays = [engine.delay(attempt) for attempt in range(1, 40)]
    assert delays[0] < 1.3
    assert delays[3] > 6
    assert all(200 < seconds <= 360 for seconds in delays[10:])


def test_what_a_dead_worker_held_is_free_at_once_and_a_living_ones_is_not(
    lease: Lease, reconcile: Callable[..., None]
) -> None:
    reconcile(lambda organisation, thing: Outcome())
    hint_thing()
    crashed = Lease(lost=lambda: None)
    claim = engine.claim_next(crashed)
    assert claim is not None
    hint("thing", claim.object_id, ORGANISATION)
    assert engine.claim_next(lease) is None
    assert engine.outlook(10) == (0, None)
    crashed.close()
    again = wait_for_claim(lease)
    assert again.object_id == claim.object_id
    assert again.attempts == 2
    with pytest.raises(LeaseLost):
        engine.claim_next(crashed)


def wait_for_claim(lease: Lease) -> engine.Claim:
    """The server ends a closed session on its own time; ask until it has."""
    for _ in range(1000):
        if claim := engine.claim_next(lease):
            return claim
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.005)")
    raise AssertionError("the row was never free")


def test_losing_the_session_ends_the_worker(transactional_db: None) -> None:
    lost = threading.Event()
    lease = Lease(lost=lost.set)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", [lease.number]
        )
    assert lost.wait(10)
    assert not lease.alive


def test_many_threads_run_each_object_once_at_a_time(lease: Lease, reconcile: Callable[..., None]) -> None:
    guard, running, runs = threading.Lock(), set[UUID](), list[UUID]()

    def careful(organisation: UUID, thing: UUID) -> Outcome:
        with guard:
            assert thing not in running
            running.add(thing)
            first = thing not in runs
            runs.append(thing)
        if first:
            hint("thing", thing, ORGANISATION)
        with guard:
            running.remove(thing)
        return Outcome()

    reconcile(careful)
    things = {hint_thing() for _ in range(30)}
    other = Lease(lost=lambda: None)

    def work(held: Lease) -> None:
        engine.run_due(held)
        connections.close_all()

    threads = [threading.Thread(target=work, args=[held]) for held in (lease, other) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.run_due(lease)
    other.close()
    assert not Outbox.objects.exists()
    assert set(runs) == things
    assert len(runs) == 60


def test_resync_looks_at_everything_of_every_organisation(
    organisation: Organisation, other_organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.OBJECTS, "thing", lambda: Machine.objects.values_list("id", flat=True))
    expected = set()
    for tenant in (organisation, other_organisation):
        with tenant_scope(tenant.id):
            expected |= {(Machine.new(uuid=f"m-{n}").id, tenant.id) for n in range(2)}
    now = timezone.now()
    resync()
    rows = Outbox.objects.filter(kind="thing")
    assert {(row.object_id, row.organisation_id) for row in rows} == expected
    assert max(row.due_at for row in rows) < now + timedelta(seconds=RESYNC_SECONDS)
    resync()
    assert {row.version for row in rows.all()} == {1}
