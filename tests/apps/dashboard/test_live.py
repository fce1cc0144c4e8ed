"""The live channel of pages: what changed, to those who may know, only as long as they may."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from channels.layers import get_channel_layer
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import Client

from apps.access.actor import Actor
from apps.accounts import actions
from apps.accounts.models import Membership, User
from apps.dashboard import consumers
from apps.reconcile import changes
from apps.reconcile.outbox import changed
from apps.tenants.ids import uuid7
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from omni.asgi import application
from tests.apps.websocket import WebSocket


@pytest.fixture
async def relayed(transactional_db: None) -> AsyncIterator[None]:
    relay = asyncio.create_task(changes.relay())
    yield
    relay.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await relay


async def listen(user: User, query: str = "kinds=machine,join-token", slug: str = "acme") -> WebSocket:
    """A browser's socket, signed in as `user`."""
    browser = Client()
    await in_thread(lambda: browser.force_login(user))
    cookie = f"sessionid={browser.cookies['sessionid'].value}".encode()
    socket = WebSocket(application, f"/o/{slug}/live?{query}", [(b"cookie", cookie)])
    await socket.connect()
    return socket


async def tell(kind: str, organisation: Organisation) -> str:
    """Change an object of a kind; its id."""
    object_id = uuid7()

    def change() -> None:
        with tenant_scope(organisation.id):
            changed(kind, object_id, organisation.id)

    await in_thread(change)
    return str(object_id)


async def test_changes_of_the_kinds_asked_for(
    relayed: None, member: Callable[..., User], organisation: Organisation, other_organisation: Organisation
) -> None:
    socket = await listen(await in_thread(lambda: member("operator")))
    await tell("machine", other_organisation)
    await tell("cluster", organisation)
    expected = await tell("machine", organisation)
    assert await socket.receive_json() == {"kind": "machine", "id": expected}
    await socket.disconnect()


async def test_who_may_not_listen(
    relayed: None, member: Callable[..., User], organisation: Organisation, other_organisation: Organisation
) -> None:
    stranger = await in_thread(lambda: member("owner", other_organisation))
    reader = await in_thread(lambda: member("reader"))
    for socket in (
        await listen(stranger),
        await listen(stranger, slug="nowhere"),
        await listen(reader),  # join tokens are not for readers
        await listen(reader, "kinds=audit"),
    ):
        assert not socket.accepted
    assert (await listen(reader, "kinds=machine")).accepted


@pytest.mark.parametrize("end", ["downgrade", "removal", "deactivation"])
async def test_losing_the_right_ends_it_at_once(
    relayed: None, member: Callable[..., User], organisation: Organisation, end: str
) -> None:
    user = await in_thread(lambda: member("operator"))
    socket = await listen(user)
    owner = Actor("user", "id", "owner@example.com", organisation.id, "owner")

    def lose() -> None:
        with tenant_scope(organisation.id):
            row = Membership.objects.get(user=user)
            if end == "downgrade":
                actions.update_member(owner, row, "reader")
            elif end == "removal":
                actions.remove_member(owner, row)
            else:
                User.objects.filter(id=user.id).update(is_active=False)
                changed("member", row.id, organisation.id)
            changed("machine", row.id, organisation.id)

    await in_thread(lose)
    assert await socket.receive_output(10) == {"type": "websocket.close", "code": 4403}
    await socket.disconnect()


async def test_what_a_page_says_is_not_listened_to(
    relayed: None, member: Callable[..., User], organisation: Organisation
) -> None:
    socket = await listen(await in_thread(lambda: member("operator")))
    for text in ("{", "null", '{"type": "changed", "kind": "machine", "id": "x"}'):
        await socket.send_input({"type": "websocket.receive", "text": text})
    expected = await tell("machine", organisation)
    assert await socket.receive_json() == {"kind": "machine", "id": expected}
    await socket.disconnect()


async def test_after_a_lost_connection_the_page_connects_anew(
    relayed: None, member: Callable[..., User], organisation: Organisation
) -> None:
    socket = await listen(await in_thread(lambda: member("operator")))
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(changes.EVERYBODY, {"type": "changes.lost"})
    assert (await socket.receive_output(10))["code"] == 4000
    await socket.disconnect()


async def test_it_ends_with_the_session(
    relayed: None, member: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.1)
    socket = await listen(await in_thread(lambda: member("reader")), "kinds=machine")
    await in_thread(Session.objects.all().delete)
    assert (await socket.receive_output(10))["code"] == 4403


async def test_nobody_listens_whose_right_is_not_known(
    relayed: None, member: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.5)
    socket = await listen(await in_thread(lambda: member("reader")), "kinds=machine")

    def away(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(consumers, "actor_in", away)
    assert (await socket.receive_output(10))["code"] == 4000
