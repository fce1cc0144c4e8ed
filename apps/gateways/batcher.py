"""The one writer of what machines say: observations, events and kernel logs, gathered and written a few times a second.

A value that is overwritten before it is written is never written. Memory is bounded: of events the last are kept, as
in the table, and who sends log lines faster than they are written waits, by TCP.
"""

import asyncio
import logging
import re
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from google.protobuf.message import Message
from psycopg_pool import ConnectionPool

from apps.gateways import bounds, rows
from apps.gateways.directory import Directory, Known
from nodeagent import eventtext

INTERVAL = 0.1
"""Seconds between writes."""

SESSION = {"autocommit": True, "prepare_threshold": None}
"""Statements are planned each time: a plan that was made while tables were empty is kept with a prepared statement, and
took half a minute once a thousand machines had joined.
"""

RETRY = 1.0
"""Seconds between tries while the database is away."""

WAITING_EVENTS = 300
"""Events held for a machine that is not registered yet; it repeats the others until it is."""

WAITING_MACHINES = 1000
"""Machines that are not registered yet for which events are held."""

SUMMARY_LIMIT, PAYLOAD_LIMIT = 400, 8 * 1024
"""Characters kept of an event in words and as JSON."""

LOG_ROOM = 1 << 20
"""Bytes of log lines of one machine that wait to be written; beyond it the machine waits."""

LINE_OVERHEAD = 64
"""Bytes that a line in memory takes beside its text."""

JOIN_TOKEN = re.compile(rb"""(?<=jointoken=)[^\s&"'\\]+""")
"""The kernel logs its command line, which has the join token: it is replaced before anything is kept."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class _Gathered:
    """What one machine said since it was last written."""

    organisation_id: UUID
    fields: dict[str, Any] = field(default_factory=dict)
    events: deque[rows.Event] = field(default_factory=lambda: deque(maxlen=rows.EVENTS_KEPT))
    lines: list[bytes] = field(default_factory=list)
    log_bytes: int = 0

    def log(self, lines: list[bytes]) -> None:
        self.lines += lines
        self.log_bytes += sum(map(len, lines)) + LINE_OVERHEAD * len(lines)

    def absorb(self, newer: "_Gathered") -> None:
        """Go on with what was gathered after this."""
        self.fields |= newer.fields
        self.events += newer.events
        self.lines += newer.lines
        self.log_bytes += newer.log_bytes


@dataclass(frozen=True)
class _Said:
    """An event that is held back, with the status it carries."""

    id: str
    event: rows.Event
    status: dict[str, Any] | None


class Batcher:
    """Takes observations at any time and writes them from `run`. Implements the event and log sinks of links."""

    def __init__(
        self, dsn: str, directory: Directory, gateway: str = "", refused: Callable[[Known], None] = lambda known: None
    ) -> None:
        """`gateway` is this one's name: of machines whose links another one holds nothing is overwritten, and `refused`
        hears of them: should they turn out to be here after all, everything is to be observed anew."""
        self._pool = ConnectionPool(dsn, min_size=1, max_size=2, open=False, kwargs=SESSION)
        self._thread = ThreadPoolExecutor(1, "batcher")
        self._directory, self._gateway, self._refused = directory, gateway, refused
        self._gathered: dict[UUID, _Gathered] = {}
        self._told: dict[UUID, dict[str, Any]] = {}
        self._waiting: dict[str, list[_Said]] = {}
        self._next_line: dict[UUID, int] = {}
        self._untrimmed: dict[UUID, int] = {}
        """Events written since those of the machine were cut to what is kept."""
        self._last_event: dict[UUID, str] = {}
        self._work = asyncio.Event()
        self._written = asyncio.Event()

    # What machines say

    def observe(self, known: Known, fields: dict[str, Any]) -> None:
        """New values of some columns of the machine's observation. Nothing happens while the link is pending."""
        if known.machine_id is None:
            return
        told = self._told.setdefault(known.machine_id, {})
        fresh = {k: v for k, v in bounds.fitting(fields).items() if k not in told or told[k] != v}
        if fresh:
            told.update(fresh)
            self._of(known.machine_id, known.organisation_id).fields.update(fresh)

    def forget(self, known: Known) -> None:
        """The link is gone: what was gathered about its machine is not written any more."""
        self._waiting.pop(known.link.address, None)
        if known.machine_id is not None:
            for memory in (self._gathered, self._told, self._next_line, self._untrimmed, self._last_event):
                memory.pop(known.machine_id, None)
        self._let_go()

    def release(self, known: Known) -> None:
        """Another gateway follows the machine now: what is remembered of it here is not true for long."""
        if known.machine_id is not None:
            for memory in (self._told, self._next_line, self._untrimmed, self._last_event):
                memory.pop(known.machine_id, None)
            if gathered := self._gathered.get(known.machine_id):
                gathered.fields.clear()

    async def event(self, address: str, event_id: str, actor_id: str, payload: Message | None, type_url: str) -> None:
        """Take one event (`nodeagent.ports.EventSink`). Events of a pending machine wait for its registration."""
        known = self._directory.at(address)
        if known is None:
            raise LookupError(f"no machine has the address {address}")
        if payload is None:
            return
        kind, summary, details = eventtext.describe(payload)
        event = rows.Event(
            datetime.now(UTC), kind, bounds.text(summary, SUMMARY_LIMIT), bounds.structure(details, PAYLOAD_LIMIT)
        )
        said = _Said(event_id, event, eventtext.machine_status(payload))
        if known.machine_id is not None:
            self._take(known, known.machine_id, said)
            return
        if address not in self._waiting and len(self._waiting) >= WAITING_MACHINES:
            raise LookupError(f"too many machines wait to be registered before the one at {address}")
        held = self._waiting.setdefault(address, [])
        if len(held) >= WAITING_EVENTS:
            raise LookupError(f"the machine at {address} is not registered yet")
        held.append(said)

    def registered(self, known: Known, address: str) -> None:
        """The pending machine at `address` became one of ours: its waiting events are its first."""
        if known.machine_id is not None:
            for said in self._waiting.pop(address, ()):
                self._take(known, known.machine_id, said)

    def _take(self, known: Known, machine_id: UUID, said: _Said) -> None:
        if said.id and said.id == self._last_event.get(machine_id):
            return  # a machine repeats an event whose answer was lost, and none before it
        self._last_event[machine_id] = said.id
        self._of(machine_id, known.organisation_id).events.append(said.event)
        if said.status is not None:
            self.observe(known, said.status)

    async def known(self, address: str) -> bool:
        """Whether log lines from here are wanted (`nodeagent.ports.LogSink`)."""
        known = self._directory.at(address)
        return known is not None and known.machine_id is not None

    async def lines(self, address: str, lines: list[bytes]) -> None:
        """Take kernel log lines (`nodeagent.ports.LogSink`); returns when there is room for more."""
        known = self._directory.at(address)
        if known is None or known.machine_id is None:
            return
        self._of(known.machine_id, known.organisation_id).log([JOIN_TOKEN.sub(b"******", line) for line in lines])
        while (gathered := self._gathered.get(known.machine_id)) and gathered.log_bytes > LOG_ROOM:
            await self._written.wait()

    def _of(self, machine_id: UUID, organisation_id: UUID) -> _Gathered:
        """What is gathered of a machine, about to grow."""
        self._work.set()
        return self._gathered.setdefault(machine_id, _Gathered(organisation_id))

    # Writing

    async def run(self) -> None:
        """Write until cancelled; while the database is away everything waits."""
        self._pool.open()
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
                    await asyncio.sleep(RETRY)
        finally:
            await asyncio.to_thread(self._pool.close)

    async def _ask(self, work: Callable[[rows.Connection], T]) -> T:
        """What `work` does with a connection, in a thread of our own: a loop that is busy with a thousand machines
        would come late to each answer of the database, and be busy with JSON besides.
        """

        def connected() -> T:
            with self._pool.connection() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, connected)

    async def flush(self) -> None:
        """Write what has been gathered. On an error of the database what was not written stays for the next try."""
        taken, self._gathered = self._gathered, {}
        organisations: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for machine_id, gathered in taken.items():
            organisations[gathered.organisation_id].append(machine_id)
        try:
            for organisation_id, machines in organisations.items():
                await self._write(organisation_id, {id: taken[id] for id in machines})
                for machine_id in machines:
                    del taken[machine_id]
        except (psycopg.Error, OSError):
            self._put_back(taken)
            raise
        self._let_go()

    def _put_back(self, unwritten: dict[UUID, _Gathered]) -> None:
        for machine_id, gathered in unwritten.items():
            self._next_line.pop(machine_id, None)
            if self._directory.machine(machine_id) is not None:
                gathered.absorb(self._gathered.get(machine_id, _Gathered(gathered.organisation_id)))
                self._gathered[machine_id] = gathered

    def _let_go(self) -> None:
        """Those who wait for room look again."""
        self._written.set()
        self._written = asyncio.Event()

    async def _write(self, organisation_id: UUID, taken: dict[UUID, _Gathered], again: bool = True) -> None:
        """Write what an organisation's machines said; what one of them said is left out when it cannot be stored."""
        try:
            await self._number(organisation_id, taken)
            batches = [self._batch(machine_id, gathered) for machine_id, gathered in taken.items()]
            refused = await self._ask(
                lambda connection: rows.write(connection, organisation_id, batches, self._gateway)
            )
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, ValueError, TypeError) as error:
            for machine_id in taken:
                self._next_line.pop(machine_id, None)
            if again and isinstance(error, psycopg.errors.UniqueViolation):  # another gateway wrote log lines meanwhile
                await self._write(organisation_id, taken, again=False)
            elif len(taken) > 1:
                for machine_id, gathered in taken.items():
                    await self._write(organisation_id, {machine_id: gathered})
            else:
                log.error("what machine %s said cannot be stored and is left out: %s", *taken, error)
            return
        for machine_id in refused:
            self._told.pop(machine_id, None)
            if known := self._directory.machine(machine_id):
                self._refused(known)
        for batch in batches:
            if batch.machine_id in self._next_line:
                self._next_line[batch.machine_id] += len(batch.lines)
            if batch.events and self._directory.machine(batch.machine_id) is not None:
                self._untrimmed[batch.machine_id] = 0 if batch.trim else self._grown(batch.machine_id, batch.events)

    async def _number(self, organisation_id: UUID, taken: dict[UUID, _Gathered]) -> None:
        """Find out where the log lines of machines go on that this process has not written any of."""
        new = [id for id, gathered in taken.items() if gathered.lines and id not in self._next_line]
        if new:
            last = await self._ask(lambda connection: rows.last_lines(connection, organisation_id, new))
            self._next_line |= {machine_id: last.get(machine_id, 0) + 1 for machine_id in new}

    def _batch(self, machine_id: UUID, gathered: _Gathered) -> rows.Batch:
        events = list(gathered.events)
        trim = self._grown(machine_id, events) > rows.EVENTS_SLACK
        first_line = self._next_line.get(machine_id, 1)
        return rows.Batch(
            gathered.organisation_id, machine_id, gathered.fields, events, gathered.lines, first_line, trim
        )

    def _grown(self, machine_id: UUID, events: list[rows.Event]) -> int:
        """Events beyond those kept that there may be with these; what another process wrote may be any number."""
        return self._untrimmed.get(machine_id, rows.EVENTS_SLACK) + len(events)
