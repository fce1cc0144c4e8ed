"""Links as the WireGuard engine and the tunnel streams know them.

WireGuard keys peers by public key, and one overlay address belongs to one peer at a time: here is what has to leave
before a link can take its place.
"""

import asyncio
import base64
from collections.abc import Iterable

from nodeagent.ports import Link
from nodeagent.siderolink.tunnel import Tunnels
from nodeagent.wireguard.engine import Endpoint, Engine


class Peers:
    """Keeps engine and tunnels in step with the links that are let in."""

    def __init__(self, engine: Engine, tunnels: Tunnels) -> None:
        self._engine, self._tunnels = engine, tunnels
        self._links: dict[str, Link] = {}
        self._by_key: dict[str, str] = {}
        self._by_address: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def restore(self, links: Iterable[Link]) -> None:
        """Let stored links in; those over UDP are called at their last endpoint, so they come back at once."""
        for link in links:
            await self.apply(link, last_endpoint(link))

    async def apply(self, link: Link, endpoint: Endpoint | None = None) -> None:
        """Let a link in, as new or changed. Raises ValueError for a key or an address that is none."""
        async with self._lock:
            for other in self._in_the_way(link):
                await self._drop(other, link)
            if link.virtual_address:
                self._tunnels.allow(link.virtual_address)
            await self._engine.add_peer(key_bytes(link.public_key), link.address, link.virtual_address or endpoint)
            self._links[link.id] = link
            self._by_key[link.public_key] = self._by_address[link.address] = link.id

    async def forget(self, link: Link) -> None:
        """Let a link in no longer: its connections break and its stream ends. An unknown one is no error."""
        async with self._lock:
            known = self._links.get(link.id)
            if known:
                await self._drop(known, None)

    async def quiet(self, link: Link) -> None:
        """Let a link in still, but say nothing more to its machine until it calls: another server talks to it now."""
        async with self._lock:
            known = self._links.get(link.id)
            if known is None:
                return
            if known.virtual_address:
                self._tunnels.hang_up(known.virtual_address)
            await self._engine.remove_peer(key_bytes(known.public_key))
            await self._engine.add_peer(key_bytes(known.public_key), known.address, known.virtual_address)

    def _in_the_way(self, link: Link) -> list[Link]:
        """The link as it was, and others with its key or its address."""
        ids = {link.id, self._by_key.get(link.public_key), self._by_address.get(link.address)}
        return [self._links[known] for known in ids if known in self._links]

    async def _drop(self, old: Link, successor: Link | None) -> None:
        same_key = successor is not None and old.public_key == successor.public_key
        if old.virtual_address and (successor is None or old.virtual_address != successor.virtual_address):
            self._tunnels.disallow(old.virtual_address, for_good=successor is None)
        if not same_key or (successor is not None and old.transport != successor.transport):
            await self._engine.remove_peer(key_bytes(old.public_key))
        del self._links[old.id]
        self._by_key.pop(old.public_key, None)
        self._by_address.pop(old.address, None)


def key_bytes(text: str) -> bytes:
    """The 32 bytes of a WireGuard key in base64. Raises ValueError."""
    key = base64.b64decode(text, validate=True)
    if len(key) != 32 or base64.b64encode(key).decode() != text:
        raise ValueError("not a WireGuard key: 32 bytes in 44 characters of base64")
    return key


def last_endpoint(link: Link) -> Endpoint | None:
    """Where its machine was seen last, if it is to be called there."""
    if link.virtual_address or not link.last_endpoint:
        return None
    host, _, port = link.last_endpoint.rpartition(":")
    return host.strip("[]"), int(port)
