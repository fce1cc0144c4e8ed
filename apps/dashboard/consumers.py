"""Telling an open page what changed: kind and id only. The page fetches what it shows, with its own permission."""

import time
from typing import Any
from urllib.parse import parse_qs

from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.urls import path

from apps.access.actor import Actor
from apps.access.check import allowed
from apps.accounts.identity import Identity, actor_in, new_request_id, organisation_by_slug
from apps.accounts.models import User
from apps.reconcile.changes import EVERYBODY, group

KINDS = {
    "machine": "machine.list",
    "machine-event": "machine.events",
    "machine-log": "machine.logs",
    "link": "machine.list",
    "join-token": "join-token.list",
    "cluster": "cluster.list",
    "cluster-machine": "cluster.list",
}
"""Kinds a page may hear of, and the verb that each needs."""

RECHECK_SECONDS = 10.0
"""A listener's session and role are looked at again with a change, at most so often."""


def _actor(scope: dict[str, Any]) -> Actor | None:
    """Who listens, while their session, account and membership last."""
    session, user = scope["session"], scope["user"]
    if not isinstance(user, User) or not session.exists(session.session_key or ""):
        return None
    organisation_id = organisation_by_slug(scope["url_route"]["kwargs"]["slug"])
    return actor_in(Identity(user), organisation_id, new_request_id(), "") if organisation_id else None


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """`/o/<slug>/live?kinds=machine,cluster`: one message for each change of these kinds."""

    groups: list[str] | None = None

    async def connect(self) -> None:
        given = parse_qs(self.scope["query_string"].decode()).get("kinds", [""])[0]
        self._kinds = [kind for kind in given.split(",") if kind]
        self._joined: list[str] = []
        actor = await self._permitted()
        if actor is None:
            await self.close(code=4403)
            return
        self._joined = [group(actor.organisation_id, kind) for kind in self._kinds] + [EVERYBODY]
        for name in self._joined:
            await self.channel_layer.group_add(name, self.channel_name)
        await self.accept()

    async def _permitted(self) -> Actor | None:
        """Who listens, with the session and the role as they are now; None when they may not (any more)."""
        self._checked = time.monotonic()
        actor = await database_sync_to_async(_actor)(self.scope)
        if actor is None or not all(kind in KINDS and allowed(actor, KINDS[kind]) for kind in self._kinds):
            return None
        return actor

    async def disconnect(self, code: int) -> None:
        for name in self._joined:
            await self.channel_layer.group_discard(name, self.channel_name)

    async def changed(self, message: dict[str, Any]) -> None:
        """Relay one change, for as long as the listener may hear it."""
        if time.monotonic() - self._checked > RECHECK_SECONDS and await self._permitted() is None:
            await self.close(code=4403)
            return
        await self.send_json({"kind": message["kind"], "id": message["id"]})

    async def changes_lost(self, message: dict[str, Any]) -> None:
        """Changes may have been missed: a new connection makes the page look at everything."""
        await self.close(code=4000)


websocket_urlpatterns = [path("o/<slug:slug>/live", AuthMiddlewareStack(LiveConsumer.as_asgi()))]
