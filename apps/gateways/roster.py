"""Which gateways run. Each says so every two seconds in a row of its own, and looks who else did.

All times are the database's. A gateway that was itself away from the database does not judge others before it has been
back for as long as they would have had.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import Error as DatabaseError
from django.db.models.functions import Now

from apps.gateways.models import Gateway
from apps.tenants.threads import in_thread

BEAT = 2.0
"""Seconds between signs of life."""

LIFE = 10.0
"""Seconds without one after which a gateway counts as gone."""

REMEMBERED = timedelta(days=1)
"""How long the row of a gateway that was killed stays, for people who look."""

log = logging.getLogger(__name__)


class NameTaken(RuntimeError):
    """Another process runs under this gateway's name."""


class Roster:
    """This gateway's place among the others. `live` maps names of running gateways to where they are dialled."""

    def __init__(self, name: str, address: str) -> None:
        """`address` is the HOST:PORT at which other processes dial this gateway, empty when they cannot."""
        self.name, self.address = name, address
        self.live = {name: address}
        self._session = secrets.randbits(62)
        self._unbroken_since = time.monotonic()
        self._beaten_at = time.monotonic()

    async def enter(self) -> None:
        """Take the name, from a former process too. Raises DatabaseError."""
        self.live = await in_thread(self._take_name)
        self._beaten_at = self._unbroken_since = time.monotonic()

    async def run(self, after: Callable[[], None]) -> None:
        """Beat until cancelled; `after` is called when who runs is known anew. Raises `NameTaken`."""
        while True:
            await asyncio.sleep(BEAT)
            try:
                self.live = await in_thread(self._beat)
            except (DatabaseError, OSError) as error:
                log.warning("this gateway cannot say that it runs, trying again: %s", error)
                continue
            now = time.monotonic()
            if now - self._beaten_at > LIFE / 2:
                self._unbroken_since = now
            self._beaten_at = now
            after()

    async def leave(self) -> None:
        """Give the links up at once: we stop, and others need not wait to be sure. Fails silently."""
        try:
            await in_thread(Gateway.objects.filter(name=self.name, session=self._session).delete)
        except (DatabaseError, OSError) as error:
            log.info("this gateway could not say that it stops: %s", error)

    def runs(self, name: str) -> bool:
        """Whether a gateway runs, as far as is known."""
        return name in self.live

    def gone(self, name: str) -> bool:
        """Whether a gateway is known not to run: for certain, and not merely unseen."""
        return name not in self.live and time.monotonic() - self._unbroken_since >= LIFE

    def heir(self, link_id: str) -> str:
        """The running gateway that takes a link over when its own is gone: the same answer everywhere."""
        return max(self.live, key=lambda name: hashlib.sha256(f"{name} {link_id}".encode()).digest())

    def _take_name(self) -> dict[str, str]:
        mine = {"address": self.address, "session": self._session, "seen_at": Now()}
        Gateway.objects.update_or_create(name=self.name, defaults=mine)
        Gateway.objects.filter(seen_at__lt=Now() - REMEMBERED).delete()
        return _live()

    def _beat(self) -> dict[str, str]:
        if not Gateway.objects.filter(name=self.name, session=self._session).update(seen_at=Now()):
            if Gateway.objects.filter(name=self.name).exists():
                raise NameTaken(f"another gateway was started as {self.name}; give each its own --name")
            return self._take_name()
        return _live()


def _live() -> dict[str, str]:
    """Names and addresses of running gateways. A row from the future is as good as one from the past."""
    life = timedelta(seconds=LIFE)
    running = Gateway.objects.filter(seen_at__gt=Now() - life, seen_at__lt=Now() + life)
    return dict(running.values_list("name", "address"))
