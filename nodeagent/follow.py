"""Following one machine: its inventory as it changes, for as long as the connection lasts."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import grpc

from nodeagent import errors, inventory
from nodeagent.client import NodeClient
from talos.resources import EventType, ResourceType, types

GATHER = 0.1
"""Seconds in which changes are gathered before fields are computed again."""

RESOURCES = 10_000
"""Resources of one type that are looked at; a machine that shows more is not read to the end."""


async def follow(client: NodeClient, told: Callable[[inventory.Fields], None]) -> None:
    """Watch everything of `inventory.WATCHED` that the machine has, and tell the fields that change.

    Never returns; raises `errors.NodeError` when a watch breaks. What the machine refuses to show is left out.
    """
    kinds = await _present(client)
    specs: dict[str, dict[str, Any]] = {}
    changed: set[str] = set()
    timer: asyncio.TimerHandle | None = None
    loop = asyncio.get_running_loop()

    def tell() -> None:
        nonlocal timer
        timer = None
        names = set(changed)
        changed.clear()
        told(inventory.fields(specs, names))

    try:
        async with aclosing(client.watch_all(kinds)) as events:
            async for kind, event in events:
                known = specs.setdefault(kind.name, {})
                if event.type in (EventType.CREATED, EventType.UPDATED):
                    if event.resource.id in known or len(known) < RESOURCES:
                        known[event.resource.id] = event.resource.spec
                elif event.type is EventType.DESTROYED:
                    known.pop(event.resource.id, None)
                elif event.type is not EventType.BOOTSTRAPPED:
                    continue
                changed.add(kind.name)
                timer = timer or loop.call_later(GATHER, tell)
    finally:
        if timer is not None:
            timer.cancel()
    raise errors.from_status(
        client.name, "following its resources", grpc.StatusCode.UNIMPLEMENTED, "the machine shows none of them"
    )


async def _present(client: NodeClient) -> list[ResourceType]:
    """Those of `inventory.WATCHED` that this machine has: a definition's id is the type's name in lower case."""
    defined = await client.ids(types.RESOURCE_DEFINITION)
    return [kind for kind in inventory.WATCHED if kind.name.lower() in defined]
