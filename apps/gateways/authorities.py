"""Whose client certificates the public port takes: those of every organisation's own authority."""

import asyncio
import logging
from collections.abc import Callable

from apps.tenants import lookups
from apps.tenants.threads import in_thread

INTERVAL = 60.0
"""Seconds between looks when nothing is heard of a change."""

log = logging.getLogger(__name__)


class Authorities:
    """Follows the authorities that the database names."""

    def __init__(self, trust: Callable[[list[bytes]], None]) -> None:
        self._trust = trust
        self._known: list[bytes] = []
        self._look = asyncio.Event()

    def look(self) -> None:
        """One was made, or its organisation left."""
        self._look.set()

    async def run(self) -> None:
        """Follow the database until cancelled."""
        while True:
            self._look.clear()
            try:
                await self.load()
            except Exception:
                log.exception("authorities for client certificates cannot be read, trying again")
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._look.wait()
                await asyncio.sleep(0.1)  # changes come in bursts
            except TimeoutError:
                pass

    async def load(self) -> None:
        """Trust what the database names now."""
        found = await in_thread(lookups.authorities)
        if found != self._known:
            self._trust(found)
            self._known = found
