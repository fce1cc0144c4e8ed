"""Telling an open page what changed: kind and id only. The page fetches what it shows, with its own permission."""

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


def _actor(user: Any, slug: str) -> Actor | None:
    organisation_id = organisation_by_slug(slug)
    if organisation_id is None or not isinstance(user, User) or not user.is_active:
        return None
    return actor_in(Identity(user), organisation_id, new_request_id(), "")


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """`/o/<slug>/live?kinds=machine,cluster`: one message for each change of these kinds."""

    groups: list[str] | None = None

    async def connect(self) -> None:
        kinds = [
            kind for kind in parse_qs(self.scope["query_string"].decode()).get("kinds", [""])[0].split(",") if kind
        ]
        slug = self.scope["url_route"]["kwargs"]["slug"]
        actor = await database_sync_to_async(_actor)(self.scope["user"], slug)
        if actor is None or not all(kind in KINDS and allowed(actor, KINDS[kind]) for kind in kinds):
            await self.close(code=4403)
            return
        self._joined = [group(actor.organisation_id, kind) for kind in kinds] + [EVERYBODY]
        for name in self._joined:
            await self.channel_layer.group_add(name, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        for name in getattr(self, "_joined", []):
            await self.channel_layer.group_discard(name, self.channel_name)

    async def changed(self, message: dict[str, Any]) -> None:
        """Relay one change."""
        await self.send_json({"kind": message["kind"], "id": message["id"]})

    async def changes_lost(self, message: dict[str, Any]) -> None:
        """Changes may have been missed: a new connection makes the page look at everything."""
        await self.close(code=4000)


websocket_urlpatterns = [path("o/<slug:slug>/live", AuthMiddlewareStack(LiveConsumer.as_asgi()))]
