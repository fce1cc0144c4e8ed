"""Hearing of changes that other processes committed: NOTIFY, on one connection of its own."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

import psycopg
from django.db import DatabaseError

from apps.reconcile.outbox import CHANGES_CHANNEL

log = logging.getLogger(__name__)


RETRY = 1.0
"""Seconds between tries to connect."""


async def follow_changes(dsn: str, heard: Callable[[str, str], None], missed: Callable[[], Awaitable[None]]) -> None:
    """Call `heard(kind, object id)` for every change until cancelled; the connection is made again when it breaks.

    `missed` is awaited whenever listening begins: what changed before was heard by nobody.
    """
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                await connection.execute(f"LISTEN {CHANGES_CHANNEL}")
                await missed()
                async for note in connection.notifies():
                    change = json.loads(note.payload)
                    heard(change["kind"], change["id"])
        except (psycopg.Error, DatabaseError, OSError) as error:
            log.warning("changes cannot be heard, trying again: %s", error)
        await asyncio.sleep(RETRY)
