"""A byte stream to any machine, whichever way leads there: the one `dial` of the gateway."""

from apps.gateways.agents import Agents
from apps.gateways.directory import Directory
from nodeagent.dial import Stream
from nodeagent.wireguard.engine import Engine


class Dialing:
    """Chooses the way by the link that the address belongs to."""

    def __init__(self, engine: Engine, agents: Agents, directory: Directory) -> None:
        self._engine, self._agents, self._directory = engine, agents, directory

    async def dial(self, address: str, port: int) -> Stream:
        """Connect to `port` of the machine whose link has this address. Raises OSError or TimeoutError."""
        known = self._directory.at(address)
        if known is not None and known.machine_id is not None and known.link.transport == "agent":
            return await self._agents.dial(known.machine_id, port)
        return await self._engine.dial(address, port)
