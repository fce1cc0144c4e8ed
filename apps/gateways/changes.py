"""Hearing of changes that other processes committed: NOTIFY, on one connection of its own."""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from apps.reconcile.outbox import CHANGES_CHANNEL

log = logging.getLogger(__name__)


KEEPALIVE: dict[str, Any] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""A dead network is noticed within half a minute."""

RETRY = 1.0
"""Seconds between tries to connect."""


@dataclass(frozen=True)
class Change:
    """What changed. `by` names the gateway that made the change, for links."""

    kind: str
    id: UUID
    organisation: UUID
    by: str = ""


async def follow_changes(dsn: str, heard: Callable[[Change], None], missed: Callable[[], None]) -> None:
    """Call `heard` for every change until cancelled; the connection is made again when it breaks.

    `missed` is called whenever listening begins: what changed before was heard by nobody.
    """
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, **KEEPALIVE) as connection:
                await connection.execute(f"LISTEN {CHANGES_CHANNEL}")
                missed()
                async for note in connection.notifies():
                    if (change := _read(note.payload)) is not None:
                        heard(change)
        except (psycopg.Error, OSError) as error:
            log.warning("changes cannot be heard, trying again: %s", error)
        await asyncio.sleep(RETRY)


def _read(payload: str) -> Change | None:
    """What was told; None for what only processes of another version understand."""
    try:
        told = json.loads(payload)
        return Change(told["kind"], UUID(told["id"]), UUID(told["organisation"]), told.get("by", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("a change is not understood: %s", error)
        return None
