"""The link registry that the server side of links asks (`nodeagent.ports.LinkRegistry`)."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakValueDictionary

from apps.machines import holders, joining
from apps.machines.models import Link as LinkRow
from apps.tenants import lookups
from apps.tenants.threads import in_thread
from nodeagent.ports import Link, ProvisionRequest
from nodeagent.siderolink.tunnel import parse_tag
from talos.siderolink import VIRTUAL_PORT

REFUSED_FOR = 5.0
"""Seconds in which the database is not asked again about tokens that let nobody in."""

REFUSED_LIMIT = 10_000
"""Such tokens that are remembered."""


class DatabaseLinkRegistry:
    """Links as PostgreSQL has them. `seen` hears of each stored link before it is answered or restored.

    Calls under one key are decided, and heard of, one after the other: a repeated call must not end with the link as it
    was before.
    """

    def __init__(
        self, gateway: str, seen: Callable[[LinkRow, Link], None], runs: Callable[[str], bool] = lambda name: False
    ) -> None:
        """`gateway` is the name of this one; `runs` tells whether another one runs."""
        self._gateway, self._seen, self._runs = gateway, seen, runs
        self._deciding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._refused: dict[bytes, float] = {}  # hash of tokens -> until when

    async def provision(self, request: ProvisionRequest, stream_alive: Callable[[str], bool]) -> Link:
        def alive(row: LinkRow) -> bool:
            if row.gateway != self._gateway and self._runs(row.gateway):
                return row.alive
            return stream_alive(virtual_name(str(row.virtual_address)))

        tokens = hashlib.sha256(repr((request.join_token, request.unique_token)).encode()).digest()
        if self._refused.get(tokens, 0.0) > time.monotonic():
            raise joining.NoToken
        async with self._deciding.setdefault(request.public_key, asyncio.Lock()):
            try:
                return self._tell(await in_thread(lambda: joining.provision(request, alive, self._gateway)))
            except joining.NoToken:
                self._remember(tokens)
                raise

    def _remember(self, tokens: bytes) -> None:
        self._refused.pop(tokens, None)
        self._refused[tokens] = time.monotonic() + REFUSED_FOR
        if len(self._refused) > REFUSED_LIMIT:
            del self._refused[next(iter(self._refused))]

    async def links(self) -> list[Link]:
        """A machine that is heard at another gateway is not called by this one."""
        await in_thread(lambda: holders.begin(self._gateway))
        links = []
        for row in await in_thread(holders.stored):
            if row.transport == LinkRow.AGENT:
                continue  # its agent will say where it is
            link = self._tell(row)
            links.append(link if row.gateway == self._gateway or not row.alive else replace(link, last_endpoint=None))
        return links

    async def tunnelled(self, virtual_address: str) -> Link | None:
        def find() -> list[LinkRow]:
            found = lookups.link_by_virtual_address(str(parse_tag(virtual_address)))
            return holders.stored([found]) if found else []

        rows = await in_thread(find)
        return self._tell(rows[0]) if rows else None

    def _tell(self, row: LinkRow) -> Link:
        link = as_link(row)
        self._seen(row, link)
        return link


def virtual_name(address: str) -> str:
    """The name of a tunnel stream, exactly as the machine sends it back."""
    return f"[{address}]:{VIRTUAL_PORT}"


def as_link(row: LinkRow) -> Link:
    """A stored link in the words of the port."""
    return Link(
        id=str(row.id),
        public_key=row.public_key or "",
        address=str(row.address),
        virtual_address=virtual_name(str(row.virtual_address)) if row.virtual_address else None,
        last_endpoint=row.last_endpoint or None,
        pending=row.state == LinkRow.PENDING,
    )
