"""Following one machine: its inventory as it changes, for as long as the connection lasts."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from nodeagent import errors, inventory
from nodeagent.client import NodeClient
from talos.resources import EventType, ResourceType, types

GATHER = 0.25
"""Seconds in which changes are gathered before fields are computed again."""


async def follow(client: NodeClient, told: Callable[[inventory.Fields], None]) -> None:
    """Watch everything of `inventory.WATCHED` that the machine has, and tell the fields that change.

    Never returns; raises `errors.NodeError` when a watch breaks. What the machine refuses to show is left out.
    """
    specs: dict[str, dict[str, Any]] = {}
    changed: set[str] = set()
    work = asyncio.Event()

    async def watch(kind: ResourceType) -> None:
        known: dict[str, Any] = {}
        async for event in client.watch(kind):
            if event.type in (EventType.CREATED, EventType.UPDATED):
                known[event.resource.id] = event.resource.spec
            elif event.type is EventType.DESTROYED:
                known.pop(event.resource.id, None)
            elif event.type is not EventType.BOOTSTRAPPED:
                continue
            specs[kind.name] = known
            changed.add(kind.name)
            work.set()

    async def patient_watch(kind: ResourceType) -> None:
        try:
            await watch(kind)
        except (errors.Denied, errors.Unsupported, errors.NotFound):
            return

    async def tell() -> None:
        while True:
            await work.wait()
            await asyncio.sleep(GATHER)
            work.clear()
            names = set(changed)
            changed.clear()
            told(inventory.fields(specs, names))

    present = await _present(client)
    tasks = [asyncio.create_task(tell())]
    tasks += [asyncio.create_task(patient_watch(kind)) for kind in inventory.WATCHED if kind.name in present]
    try:
        pending = set(tasks)
        while len(pending) > 1:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        raise errors.from_status(
            client.name, "following its resources", grpc.StatusCode.UNIMPLEMENTED, "the machine shows none of them"
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _present(client: NodeClient) -> set[str]:
    """Names of the resource types that this machine has."""
    definitions = await client.list(types.RESOURCE_DEFINITION)
    return {str(definition.spec.get("type", "")) for definition in definitions if definition.spec}
