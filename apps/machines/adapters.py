"""The link registry that the server side of links asks (`nodeagent.ports.LinkRegistry`)."""

import asyncio
from collections.abc import Callable
from weakref import WeakValueDictionary

from apps.machines import joining
from apps.machines.models import Link as LinkRow
from apps.tenants import lookups
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent.ports import Link, ProvisionRequest
from talos.siderolink import VIRTUAL_PORT


class DatabaseLinkRegistry:
    """Links as PostgreSQL has them. `seen` hears of each stored link before it is answered or restored.

    Calls under one key are decided, and heard of, one after the other: a repeated call must not end with the link as it
    was before.
    """

    def __init__(self, seen: Callable[[LinkRow, Link], None]) -> None:
        self._seen = seen
        self._deciding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def provision(self, request: ProvisionRequest, stream_alive: Callable[[str], bool]) -> Link:
        def alive(address: str) -> bool:
            return stream_alive(virtual_name(address))

        async with self._deciding.setdefault(request.public_key, asyncio.Lock()):
            return self._tell(await in_thread(lambda: joining.provision(request, alive)))

    async def links(self) -> list[Link]:
        return [self._tell(row) for row in await in_thread(_all_links)]

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


def _all_links() -> list[LinkRow]:
    rows: list[LinkRow] = []
    for organisation_id in lookups.organisations():
        with tenant_scope(organisation_id):
            rows += LinkRow.objects.exclude(transport=LinkRow.AGENT)
    return rows
