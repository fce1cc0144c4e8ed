"""The resource store of one boot: typed, versioned objects that can be listed and watched.

It lives in memory and starts empty at every boot, versions and bookmarks included.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from talos.resources import EventType, Metadata, Resource, ResourceType, schema

HISTORY = 1024
"""Changes kept per type: how far back a bookmark may lie, and how far behind a watcher may fall."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change and its place in the order of changes of its type, from 1."""

    position: int
    event: EventType
    resource: Resource
    old: Resource | None = None


class Overrun(Exception):
    """A watcher fell too far behind, or a bookmark lies too far back or is of another boot."""


class Collection:
    """All resources of one type, and its latest changes."""

    def __init__(self) -> None:
        self.items: dict[str, Resource] = {}
        self.history: deque[Change] = deque(maxlen=HISTORY)
        self.position = 0
        self._waiters: list[asyncio.Future[None]] = []

    def append(self, event: EventType, resource: Resource, old: Resource | None = None) -> None:
        self.position += 1
        self.history.append(Change(self.position, event, resource, old))
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def after(self, position: int) -> Change:
        """The change that follows `position`, once there is one; Overrun when it is no longer kept."""
        while position == self.position:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        if position < self.position - len(self.history):
            raise Overrun("buffer overrun: the watcher is too slow")
        return self.history[position - self.position]


class Store:
    """Resources by type and id. Each type has one namespace."""

    def __init__(self, contents: Iterable[Resource] = ()) -> None:
        """`contents` are there from the start."""
        self._collections: dict[str, Collection] = {}
        self._run = os.urandom(8)
        for resource in contents:
            self.collection(resource.metadata.type).items[resource.id] = resource

    def collection(self, type_name: str) -> Collection:
        return self._collections.setdefault(type_name, Collection())

    def put(
        self,
        kind: ResourceType,
        spec: Any,
        id: str = "",
        *,
        owner: str = "",
        annotations: dict[str, str] | None = None,
    ) -> None:
        """Create or update; an equal spec changes nothing.

        `spec` has the shape of the YAML form; keys left out are empty. SpecError when it does not fit.
        """
        id = id or kind.id
        spec = _completed(kind, spec)
        collection = self.collection(kind.name)
        old = collection.items.get(id)
        if old is not None and old.spec == spec:
            return
        now = time.time_ns()
        if old is None:
            metadata = Metadata(
                kind.namespace, kind.name, id, "1", "running", owner, now, now, annotations=annotations or {}
            )
        else:
            metadata = replace(old.metadata, version=str(int(old.metadata.version) + 1), updated=now)
        resource = Resource(metadata, spec)
        collection.items[id] = resource
        collection.append(EventType.UPDATED if old else EventType.CREATED, resource, old)

    def remove(self, kind: ResourceType, id: str = "") -> None:
        """Destroy; one that is not there is no error."""
        collection = self.collection(kind.name)
        resource = collection.items.pop(id or kind.id, None)
        if resource is not None:
            collection.append(EventType.DESTROYED, resource)

    def get(self, kind: ResourceType, id: str = "") -> Resource | None:
        return self.collection(kind.name).items.get(id or kind.id)

    def list(self, type_name: str) -> list[Resource]:
        """Ordered by id."""
        items = self.collection(type_name).items
        return [items[id] for id in sorted(items)]

    def bookmark(self, position: int) -> bytes:
        """An opaque name of a position, good for this boot."""
        return self._run + position.to_bytes(8, "big")

    def position(self, type_name: str, bookmark: bytes) -> int:
        """The position a bookmark names; Overrun for one that cannot be served."""
        collection = self.collection(type_name)
        position = int.from_bytes(bookmark[8:], "big")
        oldest = collection.position - len(collection.history)
        if len(bookmark) != 16 or bookmark[:8] != self._run or not oldest <= position <= collection.position:
            raise Overrun("invalid bookmark")
        return position


def _completed(kind: ResourceType, spec: Any) -> Any:
    """The spec as a real node shows it: every key of its type in order, enumerations as words."""
    if kind.message is None:
        return spec
    message = kind.message()
    schema.fill(spec, message)
    return schema.to_spec(message)
