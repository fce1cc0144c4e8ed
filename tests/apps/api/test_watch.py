"""Watches: the list, then what changes in it, for those who may see it and only as long as they may."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import get_channel_layer
from rest_framework.test import APIClient

from apps.access.actor import Actor
from apps.accounts import actions
from apps.accounts.models import Membership, User
from apps.api import consumers
from apps.reconcile import changes
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from omni.asgi import application
from tests.apps.websocket import WebSocket

Watch = Callable[..., Any]
MEMBERS = "api/v1/organisations/acme/members/watch"


@pytest.fixture
async def watch(transactional_db: None) -> AsyncIterator[Watch]:
    """Opens a watch with a REST client's token; the changes relay runs beside it."""
    relay = asyncio.create_task(changes.relay())
    opened: list[WebSocket] = []

    async def open_watch(client: APIClient | None, path: str = MEMBERS, **headers: str) -> WebSocket:
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        if client:
            sent.append((b"authorization", client._credentials["HTTP_AUTHORIZATION"].encode()))
        socket = WebSocket(application, f"/{path}", sent)
        opened.append(socket)
        await socket.connect()
        return socket

    yield open_watch
    for socket in opened:
        with contextlib.suppress(BaseException):
            await socket.disconnect()
    relay.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await relay


def invite(organisation: Organisation, actor: Actor, email: str, role: str = "reader") -> Membership:
    with tenant_scope(organisation.id):
        return actions.add_member(actor, email, role).membership


@pytest.fixture
def owner(organisation: Organisation) -> Actor:
    return Actor("user", "id", "owner@example.com", organisation.id, "owner")


async def test_snapshot_then_changes(
    watch: Watch, api: Callable[..., APIClient], organisation: Organisation, owner: Actor
) -> None:
    socket = await watch(await in_thread(lambda: api("reader")))
    first = await socket.receive_json()
    assert (first["type"], first["first"], first["last"]) == ("snapshot", True, True)
    assert [item["email"] for item in first["items"]] == ["reader@acme.example.com"]

    added = await in_thread(lambda: invite(organisation, owner, "new@example.com"))
    message = await socket.receive_json()
    assert message["type"] == "changed"
    assert [item["email"] for item in message["items"]] == ["new@example.com"]

    def remove() -> None:
        with tenant_scope(organisation.id):
            actions.remove_member(owner, Membership.everybody.get(id=added.id))

    await in_thread(remove)
    assert await socket.receive_json() == {"type": "removed", "ids": [str(added.id)]}


async def test_filters_apply_to_changes_too(
    watch: Watch, api: Callable[..., APIClient], organisation: Organisation, owner: Actor
) -> None:
    socket = await watch(await in_thread(lambda: api("owner")), f"{MEMBERS}?role=admin")
    assert (await socket.receive_json())["items"] == []
    reader = await in_thread(lambda: invite(organisation, owner, "new@example.com"))
    assert await socket.receive_json() == {"type": "removed", "ids": [str(reader.id)]}

    def promote() -> None:
        with tenant_scope(organisation.id):
            actions.update_member(owner, Membership.everybody.get(id=reader.id), "admin")

    await in_thread(promote)
    assert [item["role"] for item in (await socket.receive_json())["items"]] == ["admin"]


async def test_a_long_list_comes_in_parts(
    watch: Watch,
    api: Callable[..., APIClient],
    organisation: Organisation,
    owner: Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumers, "CHUNK", 2)
    client = await in_thread(lambda: api("owner"))
    await in_thread(lambda: [invite(organisation, owner, f"m{n}@example.com") for n in range(3)])
    socket = await watch(client)
    parts = [await socket.receive_json() for _ in range(3)]
    assert [(p["first"], p["last"], len(p["items"])) for p in parts] == [
        (True, False, 2),
        (False, False, 2),
        (False, True, 0),
    ]


async def test_who_may_not_watch(
    watch: Watch, api: Callable[..., APIClient], organisation: Organisation, other_organisation: Organisation
) -> None:
    assert (await (await watch(None)).refusal())[0] == 4401
    stranger = await in_thread(lambda: api("owner", other_organisation))
    foreign = await (await watch(stranger)).refusal()
    missing = await (await watch(stranger, MEMBERS.replace("acme", "nobody"))).refusal()
    assert foreign[0] == missing[0] == 4404
    assert foreign[1].replace("acme", "nobody") == missing[1]
    reader = await in_thread(lambda: api("reader"))
    assert (await (await watch(reader, MEMBERS.replace("members", "audit"))).refusal())[0] == 4403
    assert (await (await watch(reader, MEMBERS.replace("members", "kings"))).refusal())[0] == 4404
    assert (await (await watch(reader, f"{MEMBERS}?role=king")).refusal())[0] == 4400


async def test_a_browser_from_another_site_is_refused(watch: Watch, api: Callable[..., APIClient]) -> None:
    client = await in_thread(lambda: api("owner"))
    foreign = await watch(client, host="omni.example.com", origin="https://evil.example.com")
    assert not foreign.accepted
    own = await watch(client, host="omni.example.com", origin="https://omni.example.com")
    assert own.accepted


async def test_losing_the_right_ends_the_watch(
    watch: Watch, api: Callable[..., APIClient], organisation: Organisation, owner: Actor
) -> None:
    socket = await watch(await in_thread(lambda: api("reader")))
    await socket.receive_json()

    def remove() -> None:
        with tenant_scope(organisation.id):
            user = User.objects.get(email="reader@acme.example.com")
            Membership.new(user=User.objects.create_user("second@example.com"), role="owner")
            actions.remove_member(owner, Membership.objects.get(user=user))

    await in_thread(remove)
    assert (await socket.refusal())[0] == 4404


async def test_after_a_lost_connection_everything_is_sent_again(watch: Watch, api: Callable[..., APIClient]) -> None:
    socket = await watch(await in_thread(lambda: api("reader")))
    first = await socket.receive_json()
    await get_channel_layer().group_send(changes.EVERYBODY, {"type": "changes.lost"})
    assert await socket.receive_json() == first


async def test_another_organisations_changes_stay_there(
    watch: Watch,
    api: Callable[..., APIClient],
    organisation: Organisation,
    other_organisation: Organisation,
    owner: Actor,
) -> None:
    socket = await watch(await in_thread(lambda: api("reader")))
    await socket.receive_json()
    stranger = Actor("user", "id", "owner@example.com", other_organisation.id, "owner")
    await in_thread(lambda: invite(other_organisation, stranger, "theirs@example.com"))
    await in_thread(lambda: invite(organisation, owner, "ours@example.com"))
    message = await socket.receive_json()
    assert [item["email"] for item in message["items"]] == ["ours@example.com"]
