"""Which links are alive here: the engine's peers and the ways of agents, looked at every few seconds.

Of links that other gateways hold nothing is reported; when a machine of theirs is heard here, its link is claimed.
"""

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import Error as DatabaseError

from apps.gateways.agents import Agents
from apps.gateways.batcher import Batcher
from apps.gateways.directory import Directory, Known
from apps.machines import joining
from apps.tenants.threads import in_thread
from nodeagent.wireguard.engine import KEEPALIVE, Engine, PeerState

INTERVAL = 2.0
DETAIL_INTERVAL = 30.0
"""Seconds between writes of what changes all the time: counters, last handshake."""

HANDSHAKE_AGE = 275.0
"""Seconds after which a handshake proves nothing any more (SideroLink: 180 + 5 + 90)."""

SILENCE = 3 * KEEPALIVE + 5
"""Seconds without a packet, though the machine sends a keepalive every 25 s, after which its link counts as down."""

GRACE = 30.0
"""Seconds from when a link is held here in which it is not called down unheard: machines are coming back."""

PENDING_LIFE = timedelta(minutes=10)
"""A pending link silent for so long is dropped: longer than the 275 s after which its machine calls again."""

log = logging.getLogger(__name__)


@dataclass
class _Seen:
    """What was seen of a peer, by the steady clock: `at` its last packet, `shaken_at` its last handshake.

    Engines tell the time of a handshake by the wall clock, which may be set at any moment.
    """

    received: int
    at: float
    handshake: float | None = None
    shaken_at: float = 0.0


@dataclass(frozen=True)
class _Count:
    """Bytes that a link had carried at a time."""

    at: float
    received: int
    sent: int

    def rates(self, before: "_Count | None") -> tuple[int, int]:
        """Bytes a second, (received, sent), since a count before; 0 when there is none, or the counters began anew."""
        if before is None or self.at <= before.at or self.received < before.received or self.sent < before.sent:
            return 0, 0
        seconds = self.at - before.at
        return int((self.received - before.received) / seconds), int((self.sent - before.sent) / seconds)


class Monitor:
    """Tells the batcher which machines are connected, and keeps what a restart needs to reach them again."""

    def __init__(
        self,
        gateway: str,
        engine: Engine,
        agents: Agents,
        directory: Directory,
        batcher: Batcher,
        woke: Callable[[str], None],
        silent: Callable[[str], None],
        gone: Callable[[str], None],
        claim: Callable[[list[tuple[Known, float]]], Awaitable[None]],
        fell_silent: Callable[[list[Known]], Awaitable[None]],
    ) -> None:
        """`gateway` is this one's name. `woke`, `silent` and `gone` hear the id of a link that came up, went down, or
        was dropped; `claim` and `fell_silent` store that machines are heard here since a handshake, or no more."""
        self._gateway, self._claim, self._fell_silent = gateway, claim, fell_silent
        self._engine, self._agents, self._directory, self._batcher = engine, agents, directory, batcher
        self._woke, self._silent, self._gone = woke, silent, gone
        self._held: dict[str, float] = {}
        """Held link to when it was first looked at as one."""
        self._seen: dict[bytes, _Seen] = {}
        self._up: dict[str, tuple[bool, UUID | None, str]] = {}
        """Link to whether it is up, whose it was then (what is seen of a pending link is written nowhere), and how."""
        self._counted: dict[str, _Count] = {}
        self._news: set[str] = set()
        """Links that came up since the last look: how they are carried is told then."""
        self._detailed = 0.0
        self.connected = self.held = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except (DatabaseError, OSError) as error:
                log.warning("what was seen of links cannot be stored, trying again: %s", error)
            await asyncio.sleep(INTERVAL)

    def up(self, known: Known) -> None:
        """The machine answered over its link just now: it need not wait for the next look to count as connected."""
        if self._up.get(known.link.id) != (True, known.machine_id, known.link.transport):
            self._up[known.link.id] = True, known.machine_id, known.link.transport
            self._news.add(known.link.id)
            came = {"connected": True, "connected_changed_at": datetime.now(UTC), "transport": known.link.transport}
            self._batcher.observe(known, came)

    def forget(self, link_id: str) -> None:
        """What was told of the link was not taken: tell it again."""
        self._up.pop(link_id, None)

    async def look(self) -> None:
        """Compare every peer with what was seen of it last time."""
        now, clock = time.time(), time.monotonic()
        details = clock - self._detailed >= DETAIL_INTERVAL
        peers = {peer.public_key: peer for peer in await self._engine.peers()}
        connected, news = 0, self._news
        self._news = set()
        shaken: list[tuple[Known, float]] = []
        quiet: list[Known] = []
        for known in self._directory.all():
            held = known.gateway == self._gateway
            peer = peers.get(base64.b64decode(known.link.public_key))
            if known.link.transport == "agent":
                up = self._agents.reaches(known.machine_id)
            else:
                up = peer is not None and self._alive(peer, now, clock)
                if up and peer is not None and peer.last_handshake and not (held and known.alive):
                    shaken.append((known, peer.last_handshake))
            if not held:
                self._held.pop(known.link.id, None)
                self._up.pop(known.link.id, None)
                continue
            connected += up
            since = self._held.setdefault(known.link.id, clock)
            if up or known.link.id in self._up or clock - since >= GRACE:
                self._report(known, peer, up, details or known.link.id in news)
                if known.alive and not up and peer is not None:
                    quiet.append(known)
        self.connected, self.held = connected, len(self._held)
        if quiet:
            await self._fell_silent(quiet)
        if shaken:
            await self._claim(shaken)
        await self._keep_endpoints(peers)
        if details:
            self._detailed = clock
            self._seen = {key: seen for key, seen in self._seen.items() if key in peers}
            self._up = {link_id: up for link_id, up in self._up.items() if self._directory.link(link_id)}
            self._held = {link_id: since for link_id, since in self._held.items() if self._directory.link(link_id)}
            self._counted = {
                link_id: count for link_id, count in self._counted.items() if self._directory.link(link_id)
            }
            await self._drop_pending()

    def _alive(self, peer: PeerState, now: float, clock: float) -> bool:
        seen = self._seen.get(peer.public_key)
        if seen is None:  # it may have shaken hands long before we came
            age = max(now - peer.last_handshake, 0.0) if peer.last_handshake else 0.0
            seen = self._seen[peer.public_key] = _Seen(peer.received, clock, peer.last_handshake, clock - age)
        if seen.received != peer.received:
            seen.received, seen.at = peer.received, clock
        if seen.handshake != peer.last_handshake:
            seen.handshake, seen.shaken_at = peer.last_handshake, clock
        shaken = seen.handshake is not None and clock - seen.shaken_at < HANDSHAKE_AGE
        return shaken and clock - seen.at < SILENCE

    def _report(self, known: Known, peer: PeerState | None, up: bool, details: bool) -> None:
        fields: dict[str, object] = {}
        if self._up.get(known.link.id) != (up, known.machine_id, known.link.transport):
            self._up[known.link.id] = up, known.machine_id, known.link.transport
            fields |= {"connected": up, "connected_changed_at": datetime.now(UTC)}
            (self._woke if up else self._silent)(known.link.id)
        if known.link.transport == "agent":
            fields |= self._by_agent(known)  # little that changes, and then at once
        elif fields or details:
            fields |= self._over(known, peer)
        if fields:
            self._batcher.observe(known, fields)

    def _by_agent(self, known: Known) -> dict[str, object]:
        """How an agent carries a link: the host it dials."""
        endpoint = self._agents.address_of(known.machine_id)
        carried = {"endpoint": endpoint} if endpoint else {}
        return {"transport": "agent", "engine": "", "last_handshake_at": None, "rx_rate": 0, "tx_rate": 0, **carried}

    def _over(self, known: Known, peer: PeerState | None) -> dict[str, object]:
        """How the engine carries a link: nothing new of one it does not know."""
        if peer is None:
            return {}
        shown = peer.endpoint if isinstance(peer.endpoint, str) or peer.endpoint is None else _text(peer.endpoint)
        before = self._counted.get(known.link.id)
        count = self._counted[known.link.id] = _Count(time.monotonic(), peer.received, peer.sent)
        received, sent = count.rates(before)
        return {
            "transport": known.link.transport,
            "engine": self._engine.name,
            "endpoint": shown or "",
            "rx_bytes": peer.received,
            "tx_bytes": peer.sent,
            "rx_rate": received,
            "tx_rate": sent,
            "last_handshake_at": datetime.fromtimestamp(peer.last_handshake, UTC) if peer.last_handshake else None,
        }

    async def _keep_endpoints(self, peers: dict[bytes, PeerState]) -> None:
        moved: list[tuple[Known, str]] = []
        for known in self._directory.all():
            peer = peers.get(base64.b64decode(known.link.public_key))
            if peer is None or known.link.virtual_address or not isinstance(peer.endpoint, tuple):
                continue
            if known.gateway != self._gateway or peer.last_handshake is None:
                continue
            endpoint = _text(peer.endpoint)
            if endpoint != known.link.last_endpoint:
                moved.append((known, endpoint))
        if moved:
            rows = [(known.organisation_id, known.link_id, endpoint) for known, endpoint in moved]
            await in_thread(lambda: joining.remember_endpoints(rows))
            for known, endpoint in moved:
                self._directory.moved(known.link.id, endpoint)

    async def _drop_pending(self) -> None:
        silent = [
            (known.organisation_id, known.link_id)
            for known in self._directory.all()
            if known.machine_id is None
            and known.gateway == self._gateway
            and not self._up.get(known.link.id, (False,))[0]
        ]
        for link_id in await in_thread(lambda: joining.drop_stale_pending(silent, PENDING_LIFE, self._gateway)):
            self._gone(str(link_id))


def _text(endpoint: tuple[str, int]) -> str:
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
