"""The live end of events and logs: what is new and wanted, to those who may know, in bounded portions."""

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from apps.access.actor import Actor
from apps.accounts import actions
from apps.accounts.models import Membership, User
from apps.dashboard import tails
from apps.machines.models import LogChunk, Machine, MachineEvent, MachineObservation
from apps.reconcile import changes
from apps.reconcile.outbox import changed
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from omni.asgi import application
from tests.apps.websocket import WebSocket

UUID = "8a4f3e34-58a6-4a1a-9bb0-44b2b3a3b8a1"


@pytest.fixture
async def relayed(transactional_db: None) -> AsyncIterator[None]:
    relay = asyncio.create_task(changes.relay())
    yield
    relay.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await relay


@pytest.fixture
async def machine(relayed: None, organisation: Organisation) -> Machine:
    def make() -> Machine:
        with tenant_scope(organisation.id):
            made = Machine.new(uuid=UUID)
            MachineObservation.new(machine=made)
            return made

    return await in_thread(make)


async def listen(user: User, what: str = "logs", query: str = "", slug: str = "acme", uuid: str = UUID) -> WebSocket:
    browser = Client()
    await in_thread(lambda: browser.force_login(user))
    cookie = f"sessionid={browser.cookies['sessionid'].value}".encode()
    socket = WebSocket(application, f"/o/{slug}/machines/{uuid}/{what}/tail?{query}", [(b"cookie", cookie)])
    await socket.connect()
    return socket


async def log(machine: Machine, *lines: str, level: str = "info") -> None:
    def write() -> None:
        with tenant_scope(machine.organisation_id):
            newest = LogChunk.objects.order_by("-first_line").first()
            first = newest.first_line + newest.lines if newest else 1
            said = [json.dumps({"msg": line, "talos-level": level, "seq": first}).encode() for line in lines]
            LogChunk.new(
                machine=machine,
                first_line=first,
                lines=len(said),
                at=timezone.now(),
                data=zlib.compress(b"\n".join(said)),
            )
            changed("machine-log", machine.id, machine.organisation_id)

    await in_thread(write)


async def event(machine: Machine, summary: str, kind: str = "PhaseEvent") -> None:
    def write() -> None:
        with tenant_scope(machine.organisation_id):
            MachineEvent.new(machine=machine, at=timezone.now(), kind=kind, summary=summary)
            changed("machine-event", machine.id, machine.organisation_id)

    await in_thread(write)


async def part(socket: WebSocket) -> dict[str, Any]:
    found: dict[str, Any] = await socket.receive_json()
    return found


async def test_lines_come_drawn_and_escaped(machine: Machine, member: Callable[..., User]) -> None:
    await log(machine, "before")
    socket = await listen(await in_thread(lambda: member("reader")), query="after=1")
    assert await part(socket) == {"html": "", "count": 0, "last": "1"}
    await log(machine, "<script>alert(1)</script>", "two")
    new = await part(socket)
    assert (new["count"], new["last"]) == (2, "3")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in new["html"]
    assert "before" not in new["html"]
    await socket.disconnect()


async def test_only_what_is_wanted(machine: Machine, member: Callable[..., User]) -> None:
    socket = await listen(await in_thread(lambda: member("reader")), query="level=warn&since=1s")
    assert (await part(socket))["count"] == 0
    await log(machine, "quiet")
    await log(machine, "loud", level="error")
    new = await part(socket)
    assert (new["count"], new["last"]) == (1, "2")
    assert "loud" in new["html"]
    await socket.disconnect()


async def test_events_the_newest_first(machine: Machine, member: Callable[..., User]) -> None:
    socket = await listen(await in_thread(lambda: member("reader")), "events", "kind=PhaseEvent")
    assert (await part(socket))["count"] == 0
    await event(machine, "task config start", "TaskEvent")
    await event(machine, "phase <config> start")
    new = await part(socket)
    assert new["count"] == 1
    assert "phase &lt;config&gt; start" in new["html"]
    again = await listen(await in_thread(lambda: member("operator")), "events", f"after={new['last']}")
    assert await part(again) == {"html": "", "count": 0, "last": new["last"]}
    await socket.disconnect()
    await again.disconnect()


async def test_of_a_flood_the_newest_is_sent_and_the_rest_named(
    machine: Machine, member: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "LINES", 50)
    socket = await listen(await in_thread(lambda: member("reader")))
    await part(socket)
    for start in range(0, 400, 100):
        await log(machine, *(f"line {n}" for n in range(start, start + 100)))
    counts, last, html = [], "", ""
    while last != "400":
        new = await part(socket)
        counts.append(new["count"])
        last, html = new["last"], new["html"]
    assert max(counts) <= 50
    assert "Some lines were left out here" in html
    assert "line 399" in html
    await socket.disconnect()


async def test_another_machine_does_not_wake_it(
    machine: Machine, organisation: Organisation, member: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    original = tails.LogTail.part
    monkeypatch.setattr(tails.LogTail, "part", lambda self, row: reads.append(1) or original(self, row))
    monkeypatch.setattr(tails, "PACE", 0)
    socket = await listen(await in_thread(lambda: member("reader")))
    await part(socket)

    def others() -> None:
        with tenant_scope(organisation.id):
            for number in range(20):
                other = Machine.new(uuid=f"other-{number}")
                changed("machine-log", other.id, organisation.id)

    await in_thread(others)
    await log(machine, "mine")
    await part(socket)
    assert len(reads) <= 3  # the first, the new line, and one that may meet a notification on its way
    await socket.disconnect()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("after=x", 4400),
        ("after=-1", 4400),
        ("level=loud", 4400),
        ("after=" + "9" * 40, 4400),
        ("q=" + "a" * 300, 4400),
    ],
)
async def test_filters_that_are_none(machine: Machine, member: Callable[..., User], query: str, code: int) -> None:
    socket = await listen(await in_thread(lambda: member("reader")), query=query)
    assert (await socket.receive_output(10))["code"] == code


async def test_who_may_not_listen(
    machine: Machine, member: Callable[..., User], other_organisation: Organisation
) -> None:
    stranger = await in_thread(lambda: member("owner", other_organisation))
    reader = await in_thread(lambda: member("reader"))
    for user, slug, uuid, code in (
        (stranger, "acme", UUID, 4403),
        (stranger, "umbrella", UUID, 4404),
        (reader, "nowhere", UUID, 4403),
        (reader, "acme", "00000000-0000-4000-8000-000000000000", 4404),
    ):
        socket = await listen(user, slug=slug, uuid=uuid)
        assert (await socket.receive_output(10))["code"] == code


async def test_it_ends_with_the_right_and_with_the_machine(
    machine: Machine, member: Callable[..., User], organisation: Organisation
) -> None:
    user = await in_thread(lambda: member("reader"))
    owner = Actor("user", "id", "owner@example.com", organisation.id, "owner")
    removed, gone = await listen(user), await listen(await in_thread(lambda: member("owner")))
    await part(removed)
    await part(gone)

    def remove() -> None:
        with tenant_scope(organisation.id):
            actions.remove_member(owner, Membership.objects.get(user=user))

    await in_thread(remove)
    await log(machine, "not for everybody")
    assert (await removed.receive_output(10))["code"] == 4403
    assert (await part(gone))["count"] == 1

    def forget() -> None:
        with tenant_scope(organisation.id):
            Machine.objects.all().delete()
            changed("machine-log", machine.id, organisation.id)

    await in_thread(forget)
    assert (await gone.receive_output(10))["code"] == 4404


@pytest.mark.parametrize("how", ["signed out", "new password"])
async def test_it_ends_with_the_session(machine: Machine, member: Callable[..., User], how: str) -> None:
    user = await in_thread(lambda: member("reader"))
    socket = await listen(user)
    await part(socket)

    def end() -> None:
        if how == "signed out":
            Session.objects.all().delete()
        else:
            user.set_password("another one")
            user.save()

    await in_thread(end)
    await log(machine, "not for those who are signed out")
    assert (await socket.receive_output(10))["code"] == 4403


async def test_it_is_closed_while_the_database_is_away(
    machine: Machine, member: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the page connects again, and does not wait for what never comes."""
    socket = await listen(await in_thread(lambda: member("reader")))
    await part(socket)

    def away(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(tails, "actor_in", away)
    await log(machine, "unread")
    assert (await socket.receive_output(10))["code"] == 4000
