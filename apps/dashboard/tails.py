"""The live end of a machine's events and kernel log: a websocket that sends what is new, drawn as its page draws it.

A watcher costs what is new on its one machine: it hears of that machine alone, and reads on behind the last it got. Who
reads slowly is sent less often, and of a flood the newest only; nothing is queued for anybody.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import parse_qsl
from uuid import UUID

from channels.generic.websocket import AsyncWebsocketConsumer
from django.core.exceptions import ValidationError
from django.db import Error as DatabaseError
from django.template.loader import render_to_string
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import allowed, allowed_somewhere, standing_of
from apps.accounts.identity import actor_in, from_scope, new_request_id, organisation_by_slug
from apps.dashboard.history_parts import LINES, event_rows, line_rows
from apps.machines.history import EventFilter, LogFilter, events, log
from apps.machines.models import Machine
from apps.reconcile.changes import EVERYBODY, object_group
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread

PACE = 0.25
"""Seconds between messages; what comes meanwhile is sent together."""

RECHECK_SECONDS = 60.0
"""The right to listen is looked at before each message, and at least so often."""

WRONG, NOT_ALLOWED, GONE, LOST = 4400, 4403, 4404, 4000
"""Close codes: a filter is wrong; not allowed (any more); there is no such machine (any more); the database is away, a
new connection goes on."""


class Refused(Exception):
    """The tail cannot go on."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(str(code))


@dataclass(frozen=True)
class Part:
    """What is new, drawn; how much it is; and its end, to go on behind it with `?after=` in another connection."""

    html: str
    count: int
    last: str


class Tail(AsyncWebsocketConsumer):
    """`/o/<slug>/machines/<uuid>/.../tail?after=...`, with filters. Messages are `Part`s, the first at once."""

    kind: ClassVar[str]
    verb: ClassVar[str]

    def begin(self, given: dict[str, str]) -> None:
        """Read filters and `after`. Raises ValidationError, ValueError."""
        raise NotImplementedError

    def part(self, machine: Machine) -> Part:
        """What is new since the last part."""
        raise NotImplementedError

    async def connect(self) -> None:
        self.wake = asyncio.Event()
        self._joined: list[str] = []
        await self.accept()
        try:
            self.begin(dict(parse_qsl(self.scope["query_string"].decode("latin-1"))))
            await in_thread(self._find)
        except (ValidationError, ValueError):
            await self.close(code=WRONG)
            return
        except Refused as refusal:
            await self.close(code=refusal.code)
            return
        self._joined = [object_group(self.kind, self.machine_id), EVERYBODY]
        for name in self._joined:
            await self.channel_layer.group_add(name, self.channel_name)
        self.task = asyncio.create_task(self._follow())

    async def disconnect(self, code: int) -> None:
        for name in self._joined:
            await self.channel_layer.group_discard(name, self.channel_name)
        if task := getattr(self, "task", None):
            task.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Nothing that a page says is listened to."""

    async def changed(self, message: dict[str, Any]) -> None:
        """From the changes relay: the machine said something."""
        self.wake.set()

    async def changes_lost(self, message: dict[str, Any]) -> None:
        """From the changes relay: it may have."""
        self.wake.set()

    async def _follow(self) -> None:
        first = True
        try:
            while True:
                self.wake.clear()
                part = await in_thread(self._read)
                if part.count or first:
                    await self.send(text_data=json.dumps(vars(part)))
                first = False
                await asyncio.sleep(PACE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RECHECK_SECONDS):
                        await self.wake.wait()
        except Refused as refusal:
            await self.close(code=refusal.code)
        except DatabaseError:
            await self.close(code=LOST)

    def _find(self) -> None:
        route = self.scope["url_route"]["kwargs"]
        self.organisation_id = organisation_by_slug(route["slug"])
        actor = self._actor()
        assert self.organisation_id is not None  # checked
        with tenant_scope(self.organisation_id):
            self.machine_id: UUID = self._machine(actor, uuid=str(route["uuid"])).id

    def _machine(self, actor: Actor, **wanted: Any) -> Machine:
        machine = Machine.objects.select_related("observation", "cluster_machine__cluster").filter(**wanted).first()
        if machine is None or standing_of(actor, machine).shut_out:
            raise Refused(GONE)
        if not allowed(actor, self.verb, on=machine):
            raise Refused(NOT_ALLOWED)
        return machine

    def _actor(self) -> Actor:
        identity = from_scope(self.scope)
        if self.organisation_id is None or identity is None:
            raise Refused(NOT_ALLOWED)
        actor = actor_in(identity, self.organisation_id, new_request_id(), "")
        if actor is None or not allowed_somewhere(actor, self.verb):
            raise Refused(NOT_ALLOWED)
        return actor

    def _read(self) -> Part:
        actor = self._actor()
        assert self.organisation_id is not None  # checked
        with tenant_scope(self.organisation_id):
            return self.part(self._machine(actor, id=self.machine_id))


class LogTail(Tail):
    """Kernel log lines, oldest first."""

    kind, verb = "machine-log", "machine.logs"

    def begin(self, given: dict[str, str]) -> None:
        after = given.get("after", "0")
        if not after.isdecimal() or len(after) > 12:
            raise ValueError(after)
        self.after = int(after)
        self.wanted = replace(LogFilter.read(given, timezone.now()), since=None)

    def part(self, machine: Machine) -> Part:
        page = log(machine, self.wanted, LINES, self.after)
        self.after = page.last
        context = {"lines": line_rows(page.lines), "cut": page.cut}
        html = render_to_string("machines/log_block.html", context) if page.lines else ""
        return Part(html, len(page.lines), str(self.after))


class EventTail(Tail):
    """Events, newest first."""

    kind, verb = "machine-event", "machine.events"

    def begin(self, given: dict[str, str]) -> None:
        self.after = UUID(given["after"]) if given.get("after") else None
        self.wanted = replace(EventFilter.read(given, timezone.now()), since=None)

    def part(self, machine: Machine) -> Part:
        rows = events(machine, self.wanted, LINES, self.after)
        self.after = rows[0].id if rows else self.after
        html = render_to_string("machines/event_block.html", {"events": event_rows(rows)}) if rows else ""
        return Part(html, len(rows), str(self.after or ""))
