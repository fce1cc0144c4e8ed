"""Which machines an agent can offer: whether port 50000 of the hosts in its scope accepts connections."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable, Iterable

from nodeagent.tunnel.protocol import API_PORT, Scope
from nodeagent.tunnel.reach import words

NAMED_EVERY, SCAN_EVERY = 10.0, 60.0
"""Seconds between two looks at named hosts, at networks; counted from the end of the last."""

PROBES = 64
"""Connections tried at once."""

PROBE_TIMEOUT = 1.5
"""Seconds until a host that does not answer counts as silent."""

MISSES = 2
"""Looks in a row that find a host silent before it is taken back."""

_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""Errors that say nothing about the host."""

log = logging.getLogger(__name__)

Tell = Callable[[str, str | None], None]
"""(address, why it does not answer or None)."""


class Lookout:
    """Looks, again and again, and remembers. `tell` hears of changes; `state` is what is known."""

    def __init__(self, scope: Scope, named_every: float = NAMED_EVERY, scan_every: float = SCAN_EVERY) -> None:
        self.state: dict[str, str | None] = {}
        """Hosts by address: None when they answer, else why not. Hosts of networks only while they answer."""
        self.tell: Tell | None = None
        self._named = scope.nodes
        hosts = (str(host) for network in scope.networks for host in network.hosts())
        self._scanned = tuple(host for host in dict.fromkeys(hosts) if host not in scope.nodes)
        self._named_every, self._scan_every = named_every, scan_every
        self._misses: dict[str, int] = {}
        self._room = asyncio.Semaphore(PROBES)

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._named, self._named_every))
            tasks.create_task(self._repeat(self._scanned, self._scan_every))

    async def _repeat(self, addresses: tuple[str, ...], every: float) -> None:
        while addresses:
            await self._look(addresses)
            await asyncio.sleep(every)

    async def _look(self, addresses: Iterable[str]) -> None:
        rest = iter(addresses)

        async def some() -> None:
            for address in rest:
                async with self._room:
                    await self._probe(address)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(PROBES):
                tasks.create_task(some())

    async def _probe(self, address: str) -> None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                _, writer = await asyncio.open_connection(address, API_PORT)
        except TimeoutError:
            self._silent(address, f"no answer on port {API_PORT}")
        except OSError as error:
            if error.errno in _OURS:
                log.warning("cannot look at %s: %s", address, words(error))
            else:
                self._silent(address, f"port {API_PORT}: {words(error).lower()}")
        else:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._misses.pop(address, None)
            self._set(address, None)

    def _silent(self, address: str, reason: str) -> None:
        if self.state.get(address, "") is None:  # it did answer
            misses = self._misses[address] = self._misses.get(address, 0) + 1
            if misses < MISSES:
                return
            del self._misses[address]
        elif address not in self._named:
            return
        self._set(address, reason)

    def _set(self, address: str, reason: str | None) -> None:
        if self.state.get(address, "") == reason:
            return
        if reason is not None and address not in self._named:
            del self.state[address]
        else:
            self.state[address] = reason
        if reason is None:
            log.info("offering %s", address)
        else:
            log.info("%s does not answer: %s", address, reason)
        if self.tell is not None:
            self.tell(address, reason)
