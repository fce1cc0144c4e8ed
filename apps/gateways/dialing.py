"""A byte stream to any machine, whichever way leads there: the one `dial` of the gateway."""

import errno

from apps.gateways.agents import Agents
from apps.gateways.directory import Directory
from apps.gateways.roster import Roster
from apps.tenants import lookups
from apps.tenants.threads import in_thread
from nodeagent.dial import Stream, through_host
from nodeagent.internal import Identity
from nodeagent.wireguard.engine import Engine


class Dialing:
    """Chooses the way by the link that the address belongs to, and by the gateway that holds it."""

    def __init__(
        self, engine: Engine, agents: Agents, directory: Directory, roster: Roster, identity: Identity | None
    ) -> None:
        """`identity` is what other gateways know this one by, None where there are no others."""
        self._engine, self._agents, self._directory = engine, agents, directory
        self._roster, self._identity = roster, identity

    async def dial(self, address: str, port: int) -> Stream:
        """Connect to `port` of the machine whose link has this address. Raises OSError or TimeoutError."""
        holder = await self._holder(address)
        try:
            return await self._by(holder, address, port)
        except OSError:
            moved_to = await self._holder(address)
            if moved_to == holder:
                raise
        return await self._by(moved_to, address, port)

    async def _by(self, holder: str, address: str, port: int) -> Stream:
        if holder == self._roster.name:
            return await self._directly(address, port)
        where = self._roster.live.get(holder)
        if not where or self._identity is None:
            raise OSError(errno.EHOSTUNREACH, f"gateway {holder}, which holds the link of {address}, cannot be reached")
        host, _, gateway_port = where.rpartition(":")
        return await through_host((host.strip("[]"), int(gateway_port)), self._identity, address, port, here=True)

    async def here(self, address: str, port: int) -> Stream:
        """The same for another gateway, which asks no third one. Raises OSError or TimeoutError."""
        holder = await self._holder(address)
        if holder != self._roster.name:
            raise OSError(errno.EHOSTUNREACH, f"the link of {address} is not held by {self._roster.name} any more")
        return await self._directly(address, port)

    async def _directly(self, address: str, port: int) -> Stream:
        known = self._directory.at(address)
        if known is not None and known.machine_id is not None and known.link.transport == "agent":
            return await self._agents.dial(known.machine_id, port)
        return await self._engine.dial(address, port)

    async def _holder(self, address: str) -> str:
        """The gateway that holds the link; this one where nobody else is known to."""
        known = self._directory.at(address)
        if known is not None:
            return known.gateway
        others = await in_thread(lambda: lookups.gateways(address)) if self._identity else []
        return next((name for name, _, holds in others if holds), self._roster.name)
