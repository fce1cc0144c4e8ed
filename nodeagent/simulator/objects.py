"""The objects of a Kubernetes API, as JSON, with versions and watches."""

from __future__ import annotations

import asyncio
import copy
import os
import uuid
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from nodeagent.simulator.kube.containers import Container

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty for what is in none) and name."""

HISTORY = 1000


def timestamp() -> str:
    """Now, as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Gone(Exception):
    """A watch wants to begin at a version that is no longer kept."""


class KubernetesObjects:
    """Objects by plural kind and key; every change has a number, the resource version."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, Object]] = {}
        self._history: deque[tuple[int, str, str, Object]] = deque(maxlen=HISTORY)
        self._version = 1
        self.secret = os.urandom(32)
        """What tokens of service accounts are sealed with."""
        self.containers: dict[tuple[str, str], Container] = {}
        """What runs in pods, by the pod's uid and the container's name."""
        self._changed = asyncio.Event()

    @property
    def version(self) -> int:
        return self._version

    def list(self, plural: str, namespace: str | None = None) -> list[Object]:
        """Of one namespace, or of all."""
        objects = self._objects.get(plural, {})
        return [objects[key] for key in sorted(objects) if namespace in (None, key[0])]

    def get(self, plural: str, key: Key) -> Object | None:
        return self._objects.get(plural, {}).get(key)

    def put(self, plural: str, key: Key, value: Object) -> Object:
        """Create or replace; identity, creation time and version are kept here. An equal object changes nothing."""
        objects = self._objects.setdefault(plural, {})
        old = objects.get(key)
        new = copy.deepcopy(value)
        metadata = new.setdefault("metadata", {})
        metadata["name"] = key[1]
        if key[0]:
            metadata["namespace"] = key[0]
        kept = old["metadata"] if old else {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}
        for name in ("uid", "creationTimestamp", "resourceVersion"):
            if name in kept:
                metadata[name] = kept[name]
        if old == new:
            return old
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        objects[key] = new
        self._record(plural, "MODIFIED" if old else "ADDED", new)
        return new

    def delete(self, plural: str, key: Key) -> Object | None:
        """The object as it last was, or None."""
        old = self._objects.get(plural, {}).pop(key, None)
        if old is None:
            return None
        for container in [key for key in self.containers if key[0] == old["metadata"]["uid"]]:
            del self.containers[container]
        self._version += 1
        last = copy.deepcopy(old)
        last["metadata"]["resourceVersion"] = str(self._version)
        self._record(plural, "DELETED", last)
        return last

    async def watch(self, plural: str, version: int) -> AsyncIterator[tuple[str, Object]]:
        """Changes after `version`, without end. Raises Gone."""
        while True:
            if self._history and version < self._history[0][0] - 1:
                raise Gone
            for number, kind, event, value in list(self._history):
                if number > version:
                    version = number
                    if kind == plural:
                        yield event, value
            if version == self._version:
                await self._changed.wait()

    def _record(self, plural: str, event: str, value: Object) -> None:
        self._history.append((self._version, plural, event, value))
        self._changed.set()
        self._changed = asyncio.Event()
