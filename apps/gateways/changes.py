"""Hearing of changes that other processes committed: NOTIFY, on one connection of its own."""

import asyncio
import json
import logging
from collections.abc import Callable

import psycopg

from apps.reconcile.outbox import CHANGES_CHANNEL

log = logging.getLogger(__name__)


async def follow_changes(dsn: str, heard: Callable[[str, str], None]) -> None:
    """Call `heard(kind, object id)` for every change until cancelled; the connection is made again when it breaks."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                await connection.execute(f"LISTEN {CHANGES_CHANNEL}")
                async for note in connection.notifies():
                    change = json.loads(note.payload)
                    heard(change["kind"], change["id"])
        except (psycopg.Error, OSError) as error:
            log.warning("changes cannot be heard, trying again: %s", error)
        await asyncio.sleep(1)
