"""The resource store of one boot: typed, versioned objects that can be listed and watched.

It lives in memory and starts empty at every boot, versions and bookmarks included.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from talos.resources import EventType, Metadata, Resource, ResourceType, schema
from talos.resources.types import TYPES

HISTORY = 1024
"""Changes kept per type: how far back a bookmark may lie, and how far behind a watcher may fall."""


Clock = Callable[[], float]
"""What the machine thinks that it is now: seconds since 1970."""


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
    """All resources of one type in one namespace, and its latest changes."""

    def __init__(self, kind: ResourceType, namespace: str, clock: Clock) -> None:
        self.kind, self.namespace = kind, namespace
        self._clock = clock
        self._items: dict[str, Resource] = {}
        self.history: deque[Change] = deque(maxlen=HISTORY)
        self.position = 0
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def items(self) -> dict[str, Resource]:
        """What there is now, by id."""
        self._refresh()
        return self._items

    def put(self, id: str, spec: Any, owner: str = "", annotations: dict[str, str] | None = None) -> None:
        """Create or update; an equal spec changes nothing. SpecError when it does not fit."""
        spec = _completed(self.kind, spec)
        old = self._items.get(id)
        if old is not None and old.spec == spec:
            return
        now = int(self._clock() * 1e9)
        if old is None:
            metadata = Metadata(
                self.namespace, self.kind.name, id, "1", "running", owner, now, now, annotations=annotations or {}
            )
        else:
            metadata = replace(old.metadata, version=str(int(old.metadata.version) + 1), updated=now)
        resource = Resource(metadata, spec)
        self._items[id] = resource
        self._append(EventType.UPDATED if old else EventType.CREATED, resource, old)

    def remove(self, id: str) -> None:
        resource = self._items.pop(id, None)
        if resource is not None:
            self._append(EventType.DESTROYED, resource)

    def add(self, resource: Resource) -> None:
        """Something that has always been there."""
        self._items[resource.id] = resource

    async def after(self, position: int) -> Change:
        """The change that follows `position`, once there is one; Overrun when it is no longer kept."""
        self._refresh()
        while position == self.position:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            self._refresh()
        if position < self.position - len(self.history):
            raise Overrun("buffer overrun: the watcher is too slow")
        return self.history[position - self.position]

    def _append(self, event: EventType, resource: Resource, old: Resource | None = None) -> None:
        self.position += 1
        self.history.append(Change(self.position, event, resource, old))
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _refresh(self) -> None:
        """Find out what there is now."""


Specs = Mapping[str, Any]
"""Specs by resource id."""


class Derived(Collection):
    """Resources that follow from something else and are made only when somebody looks: of a thousand machines in a mesh
    each has a thousand peers. Changes that nobody could see are no versions.
    """

    def __init__(self, kind: ResourceType, namespace: str, clock: Clock, content: Callable[[], Specs]) -> None:
        super().__init__(kind, namespace, clock)
        self._content = content
        self._stale = True

    def changed(self) -> None:
        """What the content follows from has changed."""
        self._stale = True
        self._wake()

    def _refresh(self) -> None:
        if not self._stale:
            return
        self._stale = False
        content = self._content()
        for id in self._items.keys() - content.keys():
            self.remove(id)
        for id, spec in content.items():
            self.put(id, spec)


class Store:
    """Resources by type, namespace and id. A type is in its own namespace unless another one is named."""

    def __init__(self, contents: Iterable[Resource] = (), clock: Clock = time.time) -> None:
        """`contents` are there from the start."""
        self._clock = clock
        self._collections: dict[tuple[str, str], Collection] = {}
        self._run = os.urandom(8)
        for resource in contents:
            self.collection(TYPES[resource.metadata.type], resource.metadata.namespace).add(resource)

    def collection(self, kind: ResourceType, namespace: str = "") -> Collection:
        namespace = namespace or kind.namespace
        key = (kind.name, namespace)
        if key not in self._collections:
            self._collections[key] = Collection(kind, namespace, self._clock)
        return self._collections[key]

    def derive(self, kind: ResourceType, content: Callable[[], Specs], namespace: str = "") -> Derived:
        """Have all resources of a type made by a function, which is called when somebody looks after a change."""
        namespace = namespace or kind.namespace
        collection = self._collections[kind.name, namespace] = Derived(kind, namespace, self._clock, content)
        return collection

    def put(
        self,
        kind: ResourceType,
        spec: Any,
        id: str = "",
        *,
        namespace: str = "",
        owner: str = "",
        annotations: dict[str, str] | None = None,
    ) -> None:
        """Create or update; an equal spec changes nothing.

        `spec` has the shape of the YAML form; keys left out are empty. SpecError when it does not fit.
        """
        self.collection(kind, namespace).put(id or kind.id, spec, owner, annotations)

    def remove(self, kind: ResourceType, id: str = "", *, namespace: str = "") -> None:
        """Destroy; one that is not there is no error."""
        self.collection(kind, namespace).remove(id or kind.id)

    def get(self, kind: ResourceType, id: str = "", *, namespace: str = "") -> Resource | None:
        return self.collection(kind, namespace).items.get(id or kind.id)

    def list(self, kind: ResourceType, *, namespace: str = "") -> list[Resource]:
        """Ordered by id."""
        items = self.collection(kind, namespace).items
        return [items[id] for id in sorted(items)]

    def bookmark(self, position: int) -> bytes:
        """An opaque name of a position, good for this boot."""
        return self._run + position.to_bytes(8, "big")

    def position(self, collection: Collection, bookmark: bytes) -> int:
        """The position a bookmark names; Overrun for one that cannot be served."""
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
