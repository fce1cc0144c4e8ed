"""Telling an open page what changed: kind and id only. The page fetches what it shows, with its own permission."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error as DatabaseError
from django.db.models import QuerySet
from django.urls import path

from apps.access.actor import Actor
from apps.access.check import allowed, hidden_by, standing_of
from apps.accounts.identity import actor_in, from_scope, new_request_id, organisation_by_slug
from apps.clusters.models import Cluster
from apps.dashboard.tails import LOST, NOT_ALLOWED, EventTail, LogTail
from apps.machines.queries import listed
from apps.reconcile.changes import EVERYBODY, group
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread

KINDS = {
    "machine": "machine.list",
    "link": "machine.list",
    "agent": "agent.list",
    "join-token": "join-token.list",
    "cluster": "cluster.list",
    "cluster-machine": "cluster.list",
    "mesh": "cluster.list",
    "member": "member.list",
    "api-token": "api-token.list",
    "service-account": "service-account.list",
    "access-key": "access-key.list",
    "policy": "policy.list",
    "audit": "audit.list",
}
"""Kinds a page may hear of, and the verb that each needs."""

RIGHTS = ("member", "policy")
"""Kinds whose change may be one of who may hear what."""

RECHECK_SECONDS = 60.0
"""The right to listen is looked at whenever a member or policy of the organisation changes, and at least so often."""


class LiveConsumer(AsyncWebsocketConsumer):
    """`/o/<slug>/live?kinds=machine,cluster`: one message for each change of these kinds."""

    groups: list[str] | None = None

    async def connect(self) -> None:
        query = parse_qs(self.scope["query_string"].decode("latin-1"))
        self.kinds = [kind for kind in query.get("kinds", [""])[0].split(",") if kind]
        slug = self.scope["url_route"]["kwargs"]["slug"]
        self.organisation_id = await in_thread(lambda: organisation_by_slug(slug))
        if not await self._may_listen():
            await self.close(code=NOT_ALLOWED)
            return
        self._joined = [group(self.organisation_id, kind) for kind in {*self.kinds, *RIGHTS}] + [EVERYBODY]
        for name in self._joined:
            await self.channel_layer.group_add(name, self.channel_name)
        await self.accept()
        self._rechecks = asyncio.create_task(self._recheck())

    async def disconnect(self, code: int) -> None:
        for name in getattr(self, "_joined", []):
            await self.channel_layer.group_discard(name, self.channel_name)
        if hasattr(self, "_rechecks"):
            self._rechecks.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Nothing that a page says is listened to."""

    async def changed(self, message: dict[str, Any]) -> None:
        """Relay one change; a change of a member or a policy may be the end of this one's right to hear."""
        before = self.actor
        if message["kind"] in RIGHTS and not await self._may_listen():
            await self.close(code=NOT_ALLOWED)
        elif before and self.actor and hidden_by(before) != hidden_by(self.actor):
            await self.close(code=LOST)  # the page asks for all that it shows again
        elif message["kind"] in self.kinds and await self._may_see(message["kind"], message["id"]):
            await self.send(text_data=json.dumps({"kind": message["kind"], "id": message["id"]}))

    async def changes_lost(self, message: dict[str, Any]) -> None:
        """Changes may have been missed."""
        await self.close(code=LOST)

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                may = await self._may_listen()
            except DatabaseError:
                return await self.close(code=LOST)  # nobody listens whose right is not known
            if not may:
                return await self.close(code=NOT_ALLOWED)

    async def _may_listen(self) -> bool:
        organisation_id, identity = self.organisation_id, from_scope(self.scope)
        if organisation_id is None or identity is None:
            return False
        self.actor = await in_thread(lambda: actor_in(identity, organisation_id, new_request_id(), ""))
        actor = self.actor
        return actor is not None and all(kind in KINDS and allowed(actor, KINDS[kind]) for kind in self.kinds)

    async def _may_see(self, kind: str, id: str) -> bool:
        """Whether a change is of something that no policy shuts them out of; what is gone has nothing to hide."""
        actor = self.actor
        if actor is None or kind not in HIDEABLE or not hidden_by(actor):
            return True
        return not await in_thread(lambda: _hidden(actor, kind, id))


def _hidden(actor: Actor, kind: str, id: str) -> bool:
    with tenant_scope(actor.organisation_id):
        found = HIDEABLE[kind](id).first()
        return found is not None and standing_of(actor, found).shut_out


HIDEABLE: dict[str, Callable[[str], QuerySet[Any]]] = {
    "cluster": lambda id: Cluster.objects.filter(id=id),
    "mesh": lambda id: Cluster.objects.filter(id=id),
    "machine": lambda id: listed().filter(id=id),
    "cluster-machine": lambda id: listed().filter(cluster_machine__id=id),
    "link": lambda id: listed().filter(link__id=id),
}
"""Kinds of which policies may hide some, and how the object that a policy is about is found."""


websocket_urlpatterns = [
    path("o/<slug:slug>/live", AuthMiddlewareStack(LiveConsumer.as_asgi())),
    path("o/<slug:slug>/machines/<uuid:uuid>/logs/tail", AuthMiddlewareStack(LogTail.as_asgi())),
    path("o/<slug:slug>/machines/<uuid:uuid>/events/tail", AuthMiddlewareStack(EventTail.as_asgi())),
]
