"""Which links this gateway holds: it alone talks to their machines, watches them, and writes what it sees.

A link is held where its machine shook hands last. Every gateway knows every link and lets its machine in, so a machine
may land anywhere; where it lands the link is claimed, and the gateway that held it before falls quiet. The links of a
gateway that is gone are shared among the others, which call the machines at their last endpoints.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from django.db import Error as DatabaseError

from apps.gateways.batcher import Batcher
from apps.gateways.directory import Directory, Known
from apps.gateways.roster import Roster
from apps.gateways.sessions import Sessions
from apps.machines import holders, joining
from apps.machines.adapters import as_link
from apps.machines.models import Link as LinkRow
from apps.tenants.threads import in_thread
from nodeagent.ports import Link
from nodeagent.siderolink.peers import key_bytes
from nodeagent.siderolink.server import SideroLinkServer
from nodeagent.wireguard.engine import Engine

SWEEP = 60.0
"""Seconds between looks at all links, which nothing but a lost notification makes necessary."""

RETRY = 1.0
"""Seconds between tries while the database is away."""

log = logging.getLogger(__name__)


class Holding:
    """Keeps directory, sessions and peers in step with who holds which link."""

    def __init__(
        self,
        roster: Roster,
        directory: Directory,
        sessions: Sessions,
        batcher: Batcher,
        engine: Engine,
        server: Callable[[], SideroLinkServer],
        changed: Callable[[], None],
        over_agent: Callable[[UUID], None],
    ) -> None:
        """`changed` is called when a link came, changed or moved, `over_agent` when another gateway changed the
        link of a machine behind agents."""
        self._roster, self._directory, self._sessions, self._batcher = roster, directory, sessions, batcher
        self._engine, self._server, self._changed, self._over_agent = engine, server, changed, over_agent
        self._wake = asyncio.Event()
        self._unread: set[tuple[UUID, UUID]] = set()
        self._sweep = self._orphaned = False
        self._running = set(roster.live)
        self._dropped: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # What happens to links

    def seen(self, row: LinkRow, link: Link) -> None:
        """A link as it is stored: new here, changed, or as before."""
        if self._note(row, link):
            self._start(self._let_go(row, link))

    def _note(self, row: LinkRow, link: Link) -> bool:
        """Remember a link, and follow its machine if it is held here; whether it was until now, and is no more."""
        before, known = self._directory.link(link.id), _known(row, link)
        self._directory.put(known)
        if before is not None and (before.link.transport == LinkRow.AGENT) != (link.transport == LinkRow.AGENT):
            self._sessions.silent(link.id)  # what runs over the way that it left
        for replaced in self._directory.others_with_key(known):
            self._directory.drop(replaced.link.id)
            self._sessions.stop(replaced.link.id)
            self._batcher.registered(known, replaced.link.address)
        self._batcher.registered(known, link.address)
        self._changed()
        if self._is_ours(known):
            self._sessions.start(link.id)
            return False
        self._sessions.stop(link.id)
        self._batcher.release(known)
        return before is not None and self._is_ours(before)

    def gone(self, link_id: str) -> None:
        """A link is not stored any more: its machine is let in no longer."""
        known = self._directory.drop(link_id)
        self._sessions.stop(link_id)
        self._dropped.add(link_id)
        if known is not None:
            self._batcher.forget(known)
        if known is not None and known.link.public_key:
            self._start(self._server().forget(known.link))

    async def claim(self, shaken: list[tuple[Known, float]]) -> None:
        """Hold links whose machines shook hands here, each at that Unix time, unless they did elsewhere since."""
        now = time.time()
        handshakes = [
            holders.Handshake(known.organisation_id, known.link_id, max(now - at, 0.0)) for known, at in shaken
        ]
        for row in await in_thread(lambda: holders.claim(self._roster.name, handshakes)):
            link = as_link(row)
            self._note(row, link)
            if row.gateway != self._roster.name:
                log.info("the machine %s is at gateway %s now", row.claimed_uuid, row.gateway)
                await self._server().quiet(link)

    async def fell_silent(self, silent: list[Known]) -> None:
        """Machines of held links are not heard any more."""
        links = [(known.organisation_id, known.link_id) for known in silent]
        await in_thread(lambda: holders.fell_silent(self._roster.name, links))
        for known in silent:
            if current := self._directory.link(known.link.id):
                self._directory.put(replace(current, alive=False))

    # What other gateways do

    def look_at(self, organisation_id: UUID, link_id: UUID) -> None:
        """Another gateway changed a link."""
        self._unread.add((organisation_id, link_id))
        self._wake.set()

    def look_at_all(self) -> None:
        """Changes may have been missed."""
        self._sweep = True
        self._wake.set()

    def look_for_orphans(self) -> None:
        """Who runs is known anew."""
        left, self._running = self._running - self._roster.live.keys(), set(self._roster.live)
        if left:
            self._sweep = True  # links behind agents are not known here; they may be held here now
        self._orphaned = any(self._orphans())
        if left or self._orphaned:
            self._wake.set()

    def _orphans(self) -> Iterator[Known]:
        return (known for known in self._directory.all() if known.link.public_key and self._roster.gone(known.gateway))

    async def run(self) -> None:
        """Follow the other gateways until cancelled."""
        while True:
            try:
                async with asyncio.timeout(SWEEP):
                    await self._wake.wait()
            except TimeoutError:
                self._sweep = True
            self._wake.clear()
            sweep, self._sweep = self._sweep, False
            unread, self._unread = self._unread, set()
            try:
                if sweep:
                    await self._read_all()
                elif unread:
                    await self._read(unread)
                if self._orphaned:  # once for each time that is known who runs
                    self._orphaned = False
                    await self._inherit()
            except (DatabaseError, OSError) as error:
                log.warning("what other gateways do cannot be followed, trying again: %s", error)
                self._sweep = True
                await asyncio.sleep(RETRY)
                self._wake.set()

    async def _read(self, links: set[tuple[UUID, UUID]]) -> None:
        self._dropped.clear()
        rows = await in_thread(lambda: holders.stored(links))
        await self._learn(rows)
        for link_id in {str(link_id) for _, link_id in links} - {str(row.id) for row in rows}:
            known = self._directory.link(link_id)
            if known is not None and known.link.public_key:
                self.gone(link_id)

    async def _read_all(self) -> None:
        self._dropped.clear()
        before = self._directory.all()
        ids, rows = await in_thread(lambda: (joining.stored_links(), holders.stored()))
        for known in before:
            if known.link_id not in ids and self._directory.link(known.link.id) is known:
                self.gone(known.link.id)
        await self._learn(rows)
        self._changed()

    async def _learn(self, rows: list[LinkRow]) -> None:
        for row in rows:
            link = as_link(row)
            known = self._directory.link(link.id)
            if row.transport == LinkRow.AGENT:
                self._learn_of_agent(row, known)
                continue
            if link.id in self._dropped or (known is not None and not _differs(known, _known(row, link))):
                continue
            self.seen(row, link)
            try:
                await self._server().let_in(replace(link, last_endpoint=None))
            except ValueError as error:
                log.error("link %s cannot be let in: %s", link.id, error)

    def _learn_of_agent(self, row: LinkRow, known: Known | None) -> None:
        """No handshake decides about such a link, but which gateway its agents are connected to."""
        if known is not None and row.gateway != self._roster.name:
            self._directory.drop(known.link.id)
            self._sessions.stop(known.link.id)
            self._batcher.release(known)
        if row.machine_id is not None:
            self._over_agent(row.machine_id)

    async def _inherit(self) -> None:
        """Take this gateway's share of the links of those that are gone, and call their machines."""
        orphans: dict[str, list[tuple[UUID, UUID]]] = {}
        for known in self._orphans():
            if self._roster.heir(known.link.id) == self._roster.name:
                orphans.setdefault(known.gateway, []).append((known.organisation_id, known.link_id))
        for name, links in orphans.items():
            rows = await in_thread(partial(holders.inherit, self._roster.name, links, name))
            log.warning("gateway %s is gone: %d of its links are held here now", name or "of no name", len(rows))
            for row in rows:
                link = as_link(row)
                self.seen(row, link)
                await self._server().let_in(link)

    # Letting go

    def _is_ours(self, known: Known) -> bool:
        return known.gateway == self._roster.name

    async def _let_go(self, row: LinkRow, link: Link) -> None:
        """Say nothing more to a machine that another gateway claimed, unless it shook hands here later still."""
        peer = await self._engine.peer(key_bytes(link.public_key))
        if peer is None or peer.last_handshake is None:
            await self._server().quiet(link)
            return
        while True:
            try:
                return await self.claim([(_known(row, link), peer.last_handshake)])
            except (DatabaseError, OSError) as error:
                log.warning("who holds the link of %s is not settled, trying again: %s", row.claimed_uuid, error)
                await asyncio.sleep(RETRY)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _known(row: LinkRow, link: Link) -> Known:
    return Known(
        link,
        row.organisation_id,
        row.machine_id,
        row.claimed_uuid,
        row.required_fingerprint,
        gateway=row.gateway,
        alive=row.alive,
        provisioned_at=row.provisioned_at,
    )


def _differs(known: Known, stored: Known) -> bool:
    """Whether there is news in what was read; the endpoint is the holder's affair, and a call may have been quicker."""
    if known.provisioned_at and stored.provisioned_at and stored.provisioned_at < known.provisioned_at:
        return False
    same = replace(stored.link, last_endpoint=known.link.last_endpoint)
    return replace(stored, link=same, provisioned_at=known.provisioned_at) != known
