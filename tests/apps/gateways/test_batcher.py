"""The one writer of what machines say, against the real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.clusters.models import Cluster, ClusterMachine
from apps.gateways import batcher as module
from apps.gateways import bounds, rows
from apps.gateways.batcher import LOG_ROOM, WAITING_EVENTS, Batcher
from apps.gateways.directory import Directory, Known
from apps.machines.history import log_lines
from apps.machines.models import Link as LinkRow
from apps.machines.models import LogChunk, Machine, MachineEvent, MachineObservation
from apps.reconcile.models import Outbox
from apps.reconcile.outbox import CHANGES_CHANNEL
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent.ports import Link
from omni import postgres
from talos.gen.machine import machine_pb2 as pb

URL = "type.googleapis.com/machine.PhaseEvent"


class Rig:
    """A batcher, the machines it knows, and what is stored of them."""

    def __init__(self, dsn: str, organisation: Organisation) -> None:
        self.directory = Directory()
        self.organisation = organisation
        self.dsn = dsn
        self.refused: list[Known] = []
        self.batcher = Batcher(dsn, self.directory, "one", self.refused.append)
        self.count = 0

    async def machine(self, organisation: Organisation | None = None, pending: bool = False) -> Known:
        """A machine that is linked here."""
        self.count += 1
        owner = organisation or self.organisation
        uuid = str(uuid4())

        def store() -> UUID:
            with tenant_scope(owner.id):
                row = Machine.new(uuid=uuid)
                MachineObservation.new(machine=row)
                return row.id

        link = Link(str(uuid4()), f"key {self.count}", f"fdae:41e4:649b:9303::{self.count:x}", None, None, pending)
        known = Known(link, owner.id, None if pending else await in_thread(store), uuid)
        self.directory.put(known)
        return known

    async def ask(self, work: Callable[[], Any], organisation: Organisation | None = None) -> Any:
        owner = organisation or self.organisation

        def scoped() -> Any:
            with tenant_scope(owner.id):
                return work()

        return await in_thread(scoped)

    async def seen(self, known: Known, organisation: Organisation | None = None) -> MachineObservation:
        return await self.ask(lambda: MachineObservation.objects.get(machine_id=known.machine_id), organisation)

    async def event(self, known: Known, phase: str, event_id: str = "") -> None:
        await self.batcher.event(known.link.address, event_id, "", pb.PhaseEvent(phase=phase), URL)

    async def summaries(self, known: Known) -> list[str]:
        def look() -> list[str]:
            found = MachineEvent.objects.filter(machine_id=known.machine_id).order_by("id")
            return list(found.values_list("summary", flat=True))

        return await self.ask(look)

    async def lines(self, known: Known) -> list[tuple[int, bytes]]:
        return await self.ask(lambda: log_lines(Machine.objects.get(id=known.machine_id)))


@pytest.fixture
async def rig(transactional_db: None, database: postgres.Postgres, organisation: Organisation) -> AsyncIterator[Rig]:
    made = Rig(database.dsn(postgres.APP), organisation)
    made.batcher._pool.open()
    yield made
    made.batcher._pool.close()


# --- observations -------------------------------------------------------------------------------------------------


async def test_observations_are_merged_into_one_write(rig: Rig) -> None:
    known = await rig.machine()
    rig.batcher.observe(known, {"stage": "booting", "hostname": "m1"})
    rig.batcher.observe(known, {"stage": "running", "ready": True, "disks": [{"path": "/dev/sda"}]})
    await rig.batcher.flush()
    seen = await rig.seen(known)
    assert (seen.stage, seen.ready, seen.hostname, seen.disks) == ("running", True, "m1", [{"path": "/dev/sda"}])
    assert seen.observed_at is not None


async def test_what_is_known_already_is_not_written_again(rig: Rig) -> None:
    known = await rig.machine()
    rig.batcher.observe(known, {"stage": "running", "disks": []})
    await rig.batcher.flush()
    first = (await rig.seen(known)).observed_at
    await rig.ask(Outbox.objects.all().delete)
    rig.batcher.observe(known, {"stage": "running", "disks": []})
    await rig.batcher.flush()
    assert (await rig.seen(known)).observed_at == first
    assert not await rig.ask(Outbox.objects.exists)


async def test_reconcilers_are_hinted_of_what_they_decide_on(rig: Rig) -> None:
    known = await rig.machine()

    def take() -> ClusterMachine:
        cluster = Cluster.new(
            name="lab", kubernetes_version="1.36.3", talos_version="1.13.8", initial_talos_version="1.13.8",
            balancer_port=10_000,
        )  # fmt: skip
        return ClusterMachine.new(
            cluster=cluster, role="worker", machine_id=known.machine_id, kubernetes_version="1.36.3"
        )

    member = await rig.ask(take)
    rig.batcher.observe(known, {"rx_bytes": 5})
    await rig.batcher.flush()
    assert not await rig.ask(Outbox.objects.exists)
    rig.batcher.observe(known, {"stage": "running"})
    await rig.batcher.flush()
    hints = await rig.ask(lambda: set(Outbox.objects.values_list("kind", "object_id")))
    assert hints == {
        ("machine", known.machine_id), ("cluster-machine", member.id), ("cluster", member.cluster_id),
    }  # fmt: skip


async def test_watchers_hear_of_every_kind_of_change(rig: Rig) -> None:
    known = await rig.machine()
    async with await psycopg.AsyncConnection.connect(rig.dsn, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANGES_CHANNEL}")
        rig.batcher.observe(known, {"stage": "running"})
        await rig.event(known, "boot")
        await rig.batcher.lines(known.link.address, [b"line"])
        await rig.batcher.flush()
        notes = [note.payload async for note in connection.notifies(timeout=5, stop_after=3)]
    assert all(str(known.machine_id) in note and str(rig.organisation.id) in note for note in notes)
    assert [next(k for k in ("machine-event", "machine-log", "machine") if f'"{k}"' in note) for note in notes] == [
        "machine", "machine-event", "machine-log",
    ]  # fmt: skip


async def test_a_pending_machine_has_no_observation(rig: Rig) -> None:
    known = await rig.machine(pending=True)
    rig.batcher.observe(known, {"stage": "running"})
    await rig.batcher.flush()
    assert not await rig.ask(MachineObservation.objects.exists)


async def test_a_machine_that_was_removed_meanwhile_is_no_error(rig: Rig) -> None:
    known, other = await rig.machine(), await rig.machine()
    for one in (known, other):
        rig.batcher.observe(one, {"stage": "running"})
        await rig.event(one, "boot")
        await rig.batcher.lines(one.link.address, [b"line"])
    await rig.ask(lambda: Machine.objects.filter(id=known.machine_id).delete())
    await rig.batcher.flush()
    assert (await rig.seen(other)).stage == "running"
    assert await rig.ask(MachineEvent.objects.count) == await rig.ask(LogChunk.objects.count) == 1


async def test_what_is_forgotten_is_not_written(rig: Rig) -> None:
    known = await rig.machine()
    rig.batcher.observe(known, {"stage": "running"})
    rig.directory.drop(known.link.id)
    rig.batcher.forget(known)
    await rig.batcher.flush()
    assert (await rig.seen(known)).stage == ""


async def test_nothing_is_written_to_another_organisation(rig: Rig, other_organisation: Organisation) -> None:
    """Not even when a machine's id is believed to be of an organisation that it is not of."""
    mine, theirs = await rig.machine(), await rig.machine(other_organisation)
    confused = replace(theirs, organisation_id=rig.organisation.id)
    rig.directory.put(confused)
    for known in (mine, confused):
        rig.batcher.observe(known, {"hostname": "intruder"})
        await rig.event(known, "boot")
        await rig.batcher.lines(known.link.address, [b"line"])
    await rig.batcher.flush()
    assert (await rig.seen(mine)).hostname == "intruder"
    assert (await rig.seen(theirs, other_organisation)).hostname == ""
    for organisation, count in ((rig.organisation, 1), (other_organisation, 0)):
        assert await rig.ask(MachineEvent.objects.count, organisation) == count
        assert await rig.ask(LogChunk.objects.count, organisation) == count


# --- events -------------------------------------------------------------------------------------------------------


async def test_events_are_kept_in_order_and_carry_the_status(rig: Rig) -> None:
    known = await rig.machine()
    await rig.event(known, "one", "e1")
    status = pb.MachineStatusEvent(stage=pb.MachineStatusEvent.RUNNING)
    await rig.batcher.event(known.link.address, "e2", "", status, URL)
    await rig.event(known, "two", "e3")
    await rig.batcher.flush()
    assert await rig.summaries(known) == ["phase one start", "machine is running", "phase two start"]
    assert (await rig.seen(known)).stage == "running"


async def test_an_event_repeated_after_a_lost_answer_is_taken_once(rig: Rig) -> None:
    """Ids of one boot grow, but a clock that was set makes those of the next boot smaller: they are taken."""
    known = await rig.machine()
    for event_id in ("b", "b", "a", "c", "c", "", ""):
        await rig.event(known, event_id, event_id)
    await rig.batcher.flush()
    assert len(await rig.summaries(known)) == 5


async def test_no_plan_outlives_the_tables_it_was_made_for(rig: Rig) -> None:
    known = await rig.machine()
    for number in range(12):
        rig.batcher.observe(known, {"stage": f"{number}"})
        await rig.event(known, f"{number}")
        await rig.batcher.lines(known.link.address, [b"line"])
        await rig.batcher.flush()
    with rig.batcher._pool.connection() as connection:
        prepared = connection.execute("SELECT statement FROM pg_prepared_statements").fetchall()
    assert prepared == []


async def test_a_few_old_events_may_stay_for_a_while(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "EVENTS_KEPT", 5)
    monkeypatch.setattr(rows, "EVENTS_SLACK", 4)
    known = await rig.machine()
    most = 0
    for number in range(30):
        await rig.event(known, f"{number}")
        await rig.batcher.flush()
        most = max(most, len(await rig.summaries(known)))
    assert most == 9
    assert (await rig.summaries(known))[-5:] == [f"phase {n} start" for n in range(25, 30)]


async def test_old_events_are_trimmed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "EVENTS_KEPT", 5)
    monkeypatch.setattr(rows, "EVENTS_SLACK", 3)
    known, other = await rig.machine(), await rig.machine()
    await rig.event(other, "other")
    for number in range(12):
        await rig.event(known, f"{number}")
        if number % 4 == 3:
            await rig.batcher.flush()
    assert await rig.summaries(known) == [f"phase {n} start" for n in range(7, 12)]
    assert await rig.summaries(other) == ["phase other start"]


async def test_a_flood_of_events_keeps_the_last(rig: Rig) -> None:
    known = await rig.machine()
    for number in range(rows.EVENTS_KEPT * 3):
        await rig.event(known, f"{number}")
    await rig.batcher.flush()
    kept = await rig.summaries(known)
    assert len(kept) == rows.EVENTS_KEPT
    assert kept[-1] == f"phase {rows.EVENTS_KEPT * 3 - 1} start"


async def test_a_huge_event_is_kept_in_words_only(rig: Rig) -> None:
    known = await rig.machine()
    await rig.event(known, "x" * 500_000)
    await rig.batcher.flush()
    event = await rig.ask(MachineEvent.objects.get)
    assert (len(event.summary), event.payload) == (400, {})


async def test_events_of_a_pending_machine_wait_for_it(rig: Rig) -> None:
    pending = await rig.machine(pending=True)
    for number in range(3):
        await rig.event(pending, f"{number}", f"e{number}")
    status = pb.MachineStatusEvent(stage=pb.MachineStatusEvent.MAINTENANCE)
    await rig.batcher.event(pending.link.address, "e3", "", status, URL)
    await rig.batcher.flush()
    assert await rig.ask(MachineEvent.objects.count) == 0
    known = await rig.machine()
    rig.batcher.registered(known, pending.link.address)
    rig.batcher.registered(known, pending.link.address)
    await rig.batcher.flush()
    assert len(await rig.summaries(known)) == 4
    assert (await rig.seen(known)).stage == "maintenance"


async def test_a_pending_machine_may_not_fill_the_memory(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It repeats what was not taken until it is registered: nothing is lost."""
    pending = await rig.machine(pending=True)
    for number in range(WAITING_EVENTS):
        await rig.event(pending, f"{number}")
    with pytest.raises(LookupError, match="not registered yet"):
        await rig.event(pending, "one more")
    monkeypatch.setattr(module, "WAITING_MACHINES", 1)
    with pytest.raises(LookupError, match="too many machines"):
        await rig.event(await rig.machine(pending=True), "another machine")
    rig.batcher.forget(pending)
    await rig.event(await rig.machine(pending=True), "there is room again")


async def test_events_from_nobody_and_of_no_known_type(rig: Rig) -> None:
    with pytest.raises(LookupError, match="no machine has the address"):
        await rig.batcher.event("fdae::dead", "e1", "", pb.PhaseEvent(phase="x"), URL)
    known = await rig.machine()
    await rig.batcher.event(known.link.address, "e1", "", None, "type.googleapis.com/new.Event")
    await rig.batcher.flush()
    assert await rig.summaries(known) == []


# --- log lines ----------------------------------------------------------------------------------------------------


async def test_lines_are_numbered_over_the_life_of_a_machine(rig: Rig) -> None:
    known = await rig.machine()
    for chunk in ([b"one", b"two"], [b"three"]):
        await rig.batcher.lines(known.link.address, chunk)
        await rig.batcher.flush()
    again = Batcher(rig.dsn, rig.directory)  # after a restart
    again._pool.open()
    await again.lines(known.link.address, [b"four \x00\xff"])
    await again.flush()
    again._pool.close()
    assert await rig.lines(known) == [(1, b"one"), (2, b"two"), (3, b"three"), (4, b"four \x00\xff")]


async def test_the_join_token_of_a_command_line_is_not_kept(rig: Rig) -> None:
    known = await rig.machine()
    said = b'{"msg":"Command line: siderolink.api=grpc://a:1?jointoken=v1%3AeyJ0b2tlbiI&grpc_tunnel=true a=b"}'
    await rig.batcher.lines(known.link.address, [said, b"x jointoken=s3cret"])
    await rig.batcher.flush()
    first, second = (line for _, line in await rig.lines(known))
    assert first == said.replace(b"v1%3AeyJ0b2tlbiI", b"******")
    assert second == b"x jointoken=******"


async def test_the_last_5000_lines_are_kept(rig: Rig) -> None:
    known = await rig.machine()
    for start in range(0, 7000, 700):
        await rig.batcher.lines(known.link.address, [b"%d" % n for n in range(start, start + 700)])
        await rig.batcher.flush()
    lines = await rig.lines(known)
    assert 5000 <= len(lines) < 5700
    assert lines[-1] == (7000, b"6999")
    assert lines[0] == (lines[-1][0] - len(lines) + 1, b"%d" % (7000 - len(lines)))


async def test_more_than_5000_lines_at_once(rig: Rig) -> None:
    known = await rig.machine()
    await rig.batcher.lines(known.link.address, [b"%d" % n for n in range(8000)])
    await rig.batcher.flush()
    lines = await rig.lines(known)
    assert (len(lines), lines[0], lines[-1]) == (5000, (3001, b"3000"), (8000, b"7999"))


async def test_who_sends_faster_than_is_written_waits(rig: Rig) -> None:
    known, other = await rig.machine(), await rig.machine()
    flood = asyncio.create_task(rig.batcher.lines(known.link.address, [b"x" * 1000] * 2000))
    await asyncio.sleep(0.05)
    assert not flood.done()
    await asyncio.wait_for(rig.batcher.lines(other.link.address, [b"others do not"]), 1)
    await rig.batcher.flush()
    await asyncio.wait_for(flood, 5)
    assert len(await rig.lines(known)) == 2000


async def test_who_waits_for_room_is_let_go_with_its_machine(rig: Rig) -> None:
    known = await rig.machine()
    flood = asyncio.create_task(rig.batcher.lines(known.link.address, [b"x" * LOG_ROOM]))
    await asyncio.sleep(0.05)
    assert not flood.done()
    rig.directory.drop(known.link.id)
    rig.batcher.forget(known)
    await asyncio.wait_for(flood, 5)


async def test_whose_lines_are_wanted(rig: Rig) -> None:
    known, pending = await rig.machine(), await rig.machine(pending=True)
    assert await rig.batcher.known(known.link.address)
    assert not await rig.batcher.known(pending.link.address)
    assert not await rig.batcher.known("fdae::dead")
    for address in (pending.link.address, "fdae::dead"):
        await rig.batcher.lines(address, [b"nobody's"])
    await rig.batcher.flush()
    assert not await rig.ask(LogChunk.objects.exists)


# --- what goes wrong ----------------------------------------------------------------------------------------------

NONSENSE: dict[str, Any] = {
    "hostname": "a\x00b" * 200,
    "stage": "\ud800 stage of no known Talos, and a long one",
    "cores": 10**30,
    "memory_mib": -(10**30),
    "addresses": ["x" * 500] * 1000,
    "disks": [{"path": "\x00", "size": 10**40}],
    "meta": {"k\x00": ["\ud800", float("nan"), b"bytes"]},
    "network": {"links": ["x" * 4000] * 1000},
    "error": "x" * 10**6,
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_what_a_machine_says_is_cut_to_what_can_be_stored(rig: Rig, name: str) -> None:
    known, other = await rig.machine(), await rig.machine()
    rig.batcher.observe(known, {name: NONSENSE[name], "kernel_cmdline": "fine"})
    rig.batcher.observe(other, {"hostname": "other"})
    await rig.batcher.flush()
    assert (await rig.seen(known)).kernel_cmdline == "fine"
    assert (await rig.seen(other)).hostname == "other"


async def test_what_cannot_be_stored_costs_nobody_else_anything(
    rig: Rig, other_organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good, foreign = await rig.machine(), await rig.machine(), await rig.machine(other_organisation)
    monkeypatch.setattr(bounds, "fitting", dict)
    for known in (bad, good, foreign):
        await rig.event(known, "boot")
        await rig.batcher.lines(known.link.address, [b"line"])
    rig.batcher.observe(bad, {"hostname": "x" * 1000})
    rig.batcher.observe(good, {"hostname": "good"})
    rig.batcher.observe(foreign, {"hostname": "foreign"})
    await rig.batcher.flush()
    assert (await rig.seen(good)).hostname == "good"
    assert (await rig.seen(foreign, other_organisation)).hostname == "foreign"
    assert await rig.summaries(good) == ["phase boot start"]
    assert await rig.lines(good) == [(1, b"line")]
    await rig.batcher.lines(good.link.address, [b"next"])
    rig.batcher.observe(bad, {"hostname": "better"})
    await rig.batcher.flush()
    assert await rig.lines(good) == [(1, b"line"), (2, b"next")]
    assert (await rig.seen(bad)).hostname == "better"


async def cut(rig: Rig) -> None:
    """Break the batcher's connections."""
    with rig.batcher._pool.connection() as connection:
        connection.execute("SET application_name = 'cut'")
        async with await psycopg.AsyncConnection.connect(rig.dsn, autocommit=True) as killer:
            await killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'"
            )


async def test_nothing_is_lost_or_doubled_when_a_write_fails(
    rig: Rig, other_organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database goes away between two organisations: what was written is not written again."""
    mine, theirs = await rig.machine(), await rig.machine(other_organisation)
    for known in (mine, theirs):
        rig.batcher.observe(known, {"stage": "booting", "hostname": "h"})
        await rig.event(known, "before", "e1")
        await rig.batcher.lines(known.link.address, [b"before"])
    write, calls = rows.write, 0

    def breaks(*arguments: Any) -> set[UUID]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise psycopg.OperationalError("the connection is lost")
        return write(*arguments)

    monkeypatch.setattr(rows, "write", breaks)
    with pytest.raises(psycopg.OperationalError):
        await rig.batcher.flush()
    for known in (mine, theirs):
        rig.batcher.observe(known, {"stage": "running"})
        await rig.event(known, "after", "e2")
        await rig.batcher.lines(known.link.address, [b"after"])
    await rig.batcher.flush()
    for known, organisation in ((mine, rig.organisation), (theirs, other_organisation)):
        seen = await rig.seen(known, organisation)
        assert (seen.stage, seen.hostname) == ("running", "h")
        events = await rig.ask(
            lambda k=known: MachineEvent.objects.filter(machine_id=k.machine_id).count(), organisation
        )
        assert events == 2
        lines = await rig.ask(lambda k=known: log_lines(Machine.objects.get(id=k.machine_id)), organisation)
        assert lines == [(1, b"before"), (2, b"after")]


async def test_while_the_database_is_away_a_machine_waits_in_bounded_memory(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await rig.machine()
    away = True
    write = rows.write

    def absent(*arguments: Any) -> set[UUID]:
        if away:
            raise psycopg.OperationalError("the server is starting up")
        return write(*arguments)

    monkeypatch.setattr(rows, "write", absent)
    senders = [asyncio.create_task(rig.batcher.lines(known.link.address, [b"x" * 1000] * 700)) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(3):
        with pytest.raises(psycopg.OperationalError):
            await rig.batcher.flush()
    assert sum(not sender.done() for sender in senders) >= 1
    away = False
    await rig.batcher.flush()
    await asyncio.wait_for(asyncio.gather(*senders), 5)
    assert len(await rig.lines(known)) == 2100


async def test_it_goes_on_by_itself_after_its_connection_broke(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0.05)
    known = await rig.machine()
    await cut(rig)
    running = asyncio.create_task(rig.batcher.run())
    async with await psycopg.AsyncConnection.connect(rig.dsn, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANGES_CHANNEL}")
        rig.batcher.observe(known, {"stage": "running", "connected_changed_at": datetime.now(UTC)})
        assert [note async for note in connection.notifies(timeout=10, stop_after=1)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await rig.seen(known)).stage == "running"


# --- bounds -------------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@given(st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4), st.integers(2, 200))
def test_structures_are_always_json_that_fits(value: Any, limit: int) -> None:
    kept = bounds.structure(value, limit)
    assert type(kept) is type(value)
    encoded = json.dumps(kept, ensure_ascii=False, allow_nan=False)
    assert len(encoded) <= limit
    assert "\\u0000" not in encoded
    encoded.encode()


@given(st.text(st.characters(), max_size=50), st.integers(0, 20))
def test_texts_always_fit(text: str, limit: int) -> None:
    kept = bounds.text(text, limit)
    assert len(kept) <= limit
    assert "\0" not in kept
    kept.encode()


def test_a_column_that_does_not_exist() -> None:
    with pytest.raises(KeyError):
        bounds.fitting({"colour": "red"})


async def test_what_another_gateway_holds_is_left_alone_and_told_again_once_it_is_here(rig: Rig) -> None:
    known, other = await rig.machine(), await rig.machine()

    def hold(gateway: str) -> None:
        row = LinkRow.objects.filter(machine_id=known.machine_id).first() or LinkRow(
            organisation_id=rig.organisation.id,
            machine_id=known.machine_id,
            claimed_uuid="u",
            transport="udp",
            address=known.link.address,
        )
        row.gateway = gateway
        row.save()

    await rig.ask(lambda: hold("two"))
    for machine in (known, other):
        rig.batcher.observe(machine, {"stage": "running"})
    await rig.event(known, "install")
    await rig.batcher.flush()
    assert ((await rig.seen(known)).stage, (await rig.seen(other)).stage) == ("", "running")
    assert rig.refused == [known]
    assert await rig.summaries(known) == ["phase install start"]  # said here, wherever the link is by now
    await rig.ask(lambda: hold("one"))
    rig.batcher.observe(known, {"stage": "running"})
    await rig.batcher.flush()
    assert (await rig.seen(known)).stage == "running"
    assert rig.refused == [known]


async def test_log_lines_that_another_gateway_wrote_meanwhile_keep_their_numbers(rig: Rig) -> None:
    known = await rig.machine()
    await rig.batcher.lines(known.link.address, [b"one"])
    await rig.batcher.flush()
    await rig.ask(
        lambda: LogChunk.new(machine_id=known.machine_id, first_line=2, lines=1, at=datetime.now(UTC), data=b"")
    )
    await rig.batcher.lines(known.link.address, [b"three"])
    await rig.batcher.flush()
    first = await rig.ask(lambda: list(LogChunk.objects.order_by("first_line").values_list("first_line", flat=True)))
    assert first == [1, 2, 3]
