"""Watches, live values and tails never tell of what a policy hides, from the moment that it does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.test import Client

from apps.access.models import Policy
from apps.accounts.models import Membership, User
from apps.clusters.models import Cluster
from apps.machines.models import Machine
from apps.reconcile import changes
from apps.reconcile.outbox import changed
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from omni.asgi import application
from tests.apps.access.conftest import UUIDS, House
from tests.apps.websocket import WebSocket

OUT = {"subjects": ["user:ana@example.com"], "effect": "limit", "role": "none", "clusters": ["prod"]}


@pytest.fixture
async def relayed(transactional_db: None) -> AsyncIterator[None]:
    relay = asyncio.create_task(changes.relay())
    yield
    relay.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await relay


async def within(house: House, act: Callable[[], Any]) -> Any:
    def inside() -> Any:
        with tenant_scope(house.organisation.id):
            return act()

    return await in_thread(inside)


async def hide(house: House) -> None:
    """Shut ana out of prod."""

    def write() -> None:
        row = Policy.new(name="out", spec=OUT)
        changed("policy", row.id, house.organisation.id)

    await within(house, write)


async def touch(house: House, kind: str, row: Any) -> None:
    await within(house, lambda: changed(kind, row.id, house.organisation.id))


async def browser_of(house: House) -> list[tuple[bytes, bytes]]:
    """The cookie of ana, who is an operator."""

    def sign_in() -> str:
        user = User.objects.create_user("ana@example.com")
        with tenant_scope(house.organisation.id):
            Membership.new(user=user, role="operator")
        browser = Client()
        browser.force_login(user)
        return str(browser.cookies["sessionid"].value)

    return [(b"cookie", f"sessionid={await in_thread(sign_in)}".encode())]


async def opened(path: str, headers: list[tuple[bytes, bytes]]) -> WebSocket:
    socket = WebSocket(application, path, headers)
    await socket.connect()
    return socket


async def test_a_watch_forgets_what_becomes_hidden(relayed: None, house: House) -> None:
    client = await in_thread(lambda: house.client("operator", "ana@example.com"))
    proof = [(b"authorization", client._credentials["HTTP_AUTHORIZATION"].encode())]
    socket = await opened("/api/v1/organisations/acme/machines/watch", proof)
    first = await socket.receive_json()
    assert {row["hostname"] for row in first["items"]} == {"m-1", "m-2", "m-3"}
    await hide(house)
    again = await socket.receive_json()
    assert (again["type"], again["first"]) == ("snapshot", True)
    assert {row["hostname"] for row in again["items"]} == {"m-2", "m-3"}
    known = {row.uuid: row for row in await within(house, lambda: list(Machine.objects.all()))}
    await touch(house, "machine", known[UUIDS["m-1"]])
    said = await socket.receive_json()
    assert (said["type"], "items" in said) == ("removed", False)
    await socket.disconnect()


async def test_pages_hear_nothing_of_what_is_hidden(relayed: None, house: House) -> None:
    cookie = await browser_of(house)
    socket = await opened("/o/acme/live?kinds=machine,cluster", cookie)
    assert socket.accepted
    await hide(house)
    assert (await socket.receive_output(10))["code"] == 4000, "the page looks at everything again"
    socket = await opened("/o/acme/live?kinds=machine,cluster,cluster-machine", cookie)
    clusters = {row.name: row for row in await within(house, lambda: list(Cluster.objects.all()))}
    machines = {row.uuid: row for row in await within(house, lambda: list(Machine.objects.all()))}
    for name, uuid in (("prod", "m-1"), ("stage", "m-2")):
        await touch(house, "cluster", clusters[name])
        await touch(house, "machine", machines[UUIDS[uuid]])
    heard = [await socket.receive_json(), await socket.receive_json()]
    assert [item["id"] for item in heard] == [str(clusters["stage"].id), str(machines[UUIDS["m-2"]].id)]
    await socket.disconnect()


@pytest.mark.parametrize("what", ["logs", "events"])
async def test_a_tail_ends_when_its_machine_is_hidden(relayed: None, house: House, what: str) -> None:
    cookie = await browser_of(house)
    socket = await opened(f"/o/acme/machines/{UUIDS['m-1']}/{what}/tail", cookie)
    assert (await socket.receive_json())["count"] == 0
    await hide(house)
    machine = await within(house, lambda: Machine.objects.get(uuid=UUIDS["m-1"]))
    await touch(house, f"machine-{what.removesuffix('s')}", machine)
    assert (await socket.receive_output(10))["code"] == 4404
    again = await opened(f"/o/acme/machines/{UUIDS['m-1']}/{what}/tail", cookie)
    assert (await again.receive_output(10))["code"] == 4404
