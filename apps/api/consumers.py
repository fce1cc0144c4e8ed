"""Watches: a websocket beside every list, which sends the list and then whatever changes in it.

Messages: `{"type": "snapshot", "first", "last", "items"}`, one or more, at the beginning and whenever changes may have
been missed (`first` means: forget what you had); then `{"type": "changed", "items"}` and `{"type": "removed", "ids"}`.
Filters are those of the list. An object that no longer matches them counts as removed. Close codes: 4401 not signed in,
4403 not allowed (any more), 4404 no such list, 4400 a filter is wrong, 1013 the database is away: try again.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from channels.generic.websocket import AsyncWebsocketConsumer
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import Error as DatabaseError
from django.http import HttpRequest, QueryDict
from django.urls import path
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder

from apps.access.actor import Actor
from apps.access.check import Denied, check, is_governed
from apps.accounts.authentication import bearer
from apps.accounts.identity import Identity, actor_in, from_scope, from_token, new_request_id, organisation_by_slug
from apps.api.base import TenantViewSet
from apps.api.registry import watched
from apps.reconcile.changes import EVERYBODY, group
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread

COLLECT_SECONDS = 0.05  # changes that come together are read together
RECHECK_SECONDS = 15.0  # the right to watch is looked at with every change, and at least so often
CHUNK = 500

TRY_AGAIN = 1013

T = TypeVar("T")


class Refused(Exception):
    """The watch cannot go on: close code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(reason)


class WatchConsumer(AsyncWebsocketConsumer):
    """One watcher of one list."""

    async def connect(self) -> None:
        self.pending: set[str] = set()
        self.missed = False
        self.wake = asyncio.Event()
        await self.accept()
        try:
            await self._begin()
        except Refused as refusal:
            await self._refuse(refusal)
            return
        self.task = asyncio.create_task(self._run())

    async def disconnect(self, code: int) -> None:
        if task := getattr(self, "task", None):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            for name in self.groups_joined:
                await self.channel_layer.group_discard(name, self.channel_name)

    async def changed(self, message: dict[str, Any]) -> None:
        """From the changes relay: one object changed, or a policy, and with it perhaps what they may see."""
        if message["kind"] == self.list.view.kind:
            self.pending.add(message["id"])
        else:
            self.missed = True
        self.wake.set()

    async def changes_lost(self, message: dict[str, Any]) -> None:
        """From the changes relay: look at everything again."""
        self.missed = True
        self.wake.set()

    async def _begin(self) -> None:
        route = self.scope["url_route"]["kwargs"]
        view = watched().get(route["resource"])
        if view is None:
            raise Refused(4404, f"there is no list {route['resource']!r} to watch")
        identity = await in_thread(lambda: _identity(self.scope))
        if identity is None:
            raise Refused(4401, "sign in, or send an API token as `Authorization: Bearer ...`")
        organisation_id = await in_thread(lambda: organisation_by_slug(route["slug"]))
        if organisation_id is None:
            raise Refused(4404, f"there is no organisation {route['slug']!r}, or you have no place in it")
        client = self.scope.get("client")
        query = self.scope["query_string"].decode("latin-1")
        self.list = WatchedList(view, identity, organisation_id, route["slug"], query)
        self.list.source = client[0] if client else "local"
        await in_thread(self.list.check)
        kinds = {view.kind, *(["policy"] if is_governed(view.verbs["list"]) else [])}
        self.groups_joined = [*(group(organisation_id, kind) for kind in kinds), EVERYBODY]
        for name in self.groups_joined:  # before the snapshot: nothing falls between
            await self.channel_layer.group_add(name, self.channel_name)

    async def _run(self) -> None:
        try:
            await self._snapshot()
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RECHECK_SECONDS):
                        await self.wake.wait()
                        await asyncio.sleep(COLLECT_SECONDS)
                self.wake.clear()
                if self.missed:
                    self.missed = False
                    self.pending.clear()
                    await self._snapshot()
                else:
                    await self._send_changes()
        except Refused as refusal:
            await self._refuse(refusal)
        except DatabaseError:
            await self.close(TRY_AGAIN)

    async def _snapshot(self) -> None:
        after, first = None, True
        while True:
            start = after
            items = await in_thread(lambda: self.list.page(start))  # noqa: B023 (awaited at once)
            last = len(items) < CHUNK
            await self._send({"type": "snapshot", "first": first, "last": last, "items": items})
            if last:
                return
            after, first = items[-1]["id"], False

    async def _send_changes(self) -> None:
        ids = {self.pending.pop() for _ in range(min(CHUNK, len(self.pending)))}
        if self.pending:
            self.wake.set()
        items = await in_thread(lambda: self.list.among(ids))
        if items:
            await self._send({"type": "changed", "items": items})
        if gone := sorted(ids - {str(item["id"]) for item in items}):
            await self._send({"type": "removed", "ids": gone})

    async def _send(self, message: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps(message, cls=JSONEncoder))

    async def _refuse(self, refusal: Refused) -> None:
        await self._send({"type": "closed", "reason": refusal.reason})
        await self.close(refusal.code)


class WatchedList:
    """The list as this caller may see it now: the viewset's own query, filters and serializer.

    Every method checks the right first and raises `Refused`.
    """

    source = ""

    def __init__(
        self, view: type[TenantViewSet], identity: Identity, organisation_id: UUID, slug: str, query: str
    ) -> None:
        self.view, self.identity, self.organisation_id, self.slug, self.query = (
            view,
            identity,
            organisation_id,
            slug,
            query,
        )
        self.request_id = new_request_id()

    def check(self) -> None:
        """Whether the caller may watch and the filters are right."""
        self._inside(lambda view: view.filter_queryset(view.get_queryset()))

    def page(self, after: str | None) -> list[dict[str, Any]]:
        """Up to `CHUNK` items behind the id `after`, by id."""

        def read(view: TenantViewSet) -> list[dict[str, Any]]:
            rows = view.filter_queryset(view.get_queryset()).order_by("id")
            rows = rows.filter(id__gt=after) if after else rows
            return list(view.get_serializer(rows[:CHUNK], many=True).data)

        return self._inside(read)

    def among(self, ids: set[str]) -> list[dict[str, Any]]:
        """Those of `ids` that are in the list, as they are now."""

        def read(view: TenantViewSet) -> list[dict[str, Any]]:
            rows = view.filter_queryset(view.get_queryset()).filter(id__in=ids)
            return list(view.get_serializer(rows, many=True).data) if ids else []

        return self._inside(read)

    def _inside(self, read: Callable[[TenantViewSet], T]) -> T:
        actor = actor_in(self.identity, self.organisation_id, self.request_id, self.source)
        if actor is None:
            raise Refused(4404, f"there is no organisation {self.slug!r}, or you have no place in it")
        with tenant_scope(self.organisation_id):
            try:
                check(actor, self.view.verbs["list"])
                return read(self._view(actor))
            except Denied as denial:
                raise Refused(4403, str(denial)) from None
            except (ValidationError, DjangoValidationError) as error:
                raise Refused(4400, str(error)) from None

    def _view(self, actor: Actor) -> TenantViewSet:
        http = HttpRequest()
        http.method, http.GET = "GET", QueryDict(self.query)
        view = self.view(kwargs={"slug": self.slug}, action="list", format_kwarg=None)
        view.request = Request(http)  # type: ignore[assignment]
        view.request.actor = actor
        return view


def _identity(scope: dict[str, Any]) -> Identity | None:
    """By token, else by the session that Channels' middleware found."""
    header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    secret = bearer(header)
    if secret is not None:
        return from_token(secret)
    identity = from_scope(scope)
    return identity if identity and (identity.user is None or identity.user.is_active) else None


websocket_urlpatterns = [
    path("api/v1/organisations/<slug:slug>/<slug:resource>/watch", WatchConsumer.as_asgi()),
]
