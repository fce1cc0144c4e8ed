"""Telling watchers: NOTIFY from any process becomes a message to the channel groups of this one.

Every web process listens for itself, so the in-memory channel layer is enough however many there are.
"""

import asyncio
import json

import psycopg
import structlog
from channels.layers import get_channel_layer

from apps.reconcile.lease import session_parameters
from apps.reconcile.outbox import CHANGES_CHANNEL

EVERYBODY = "changes"
"""Group told `changes.lost` when notifications may have been missed: watchers look at everything again."""

log = structlog.get_logger("changes")


def group(organisation_id: object, kind: str) -> str:
    """The channel group of one kind in one organisation. Its messages are `{"type": "changed", "kind", "id"}`."""
    return f"changes.{organisation_id}.{kind}"


def object_group(kind: str, object_id: object) -> str:
    """The channel group of one object, for those who watch nothing else. Its messages are those of `group`."""
    return f"change.{kind}.{object_id}"


async def relay() -> None:
    """Relay until cancelled. Reconnects by itself and then tells watchers that something may have been missed."""
    layer = get_channel_layer()
    assert layer is not None
    again = False
    while True:
        try:
            session = await psycopg.AsyncConnection.connect(**session_parameters(), autocommit=True)
            async with session:
                await session.execute(f"LISTEN {CHANGES_CHANNEL}")
                if again:
                    await layer.group_send(EVERYBODY, {"type": "changes.lost"})
                async for notification in session.notifies():
                    change = json.loads(notification.payload)
                    message = {"type": "changed", "kind": change["kind"], "id": change["id"]}
                    await layer.group_send(group(change["organisation"], change["kind"]), message)
                    await layer.group_send(object_group(change["kind"], change["id"]), message)
        except (psycopg.Error, OSError) as error:
            log.warning("changes relay reconnects", error=str(error))
            again = True
            await asyncio.sleep(1)
