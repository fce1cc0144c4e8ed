"""Asking the nodes of a cluster what they say of their peers: a few at a time, for so long, over their links."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.machines import nodes
from apps.mesh.reading import Announced, announced, clock_of, peers_of
from kubespan.mesh import Peers
from nodeagent import errors
from nodeagent.client import NodeClient
from nodeagent.identity import WrongMachine, once, require
from nodeagent.tls import Credentials
from talos.resources import types

AT_ONCE = 16
"""Nodes that are read at a time."""

PATIENCE = 10.0
"""Seconds that one node may take."""

BUDGET = 20.0
"""Seconds in which readings are begun; nodes of a large mesh take turns over several runs."""


@dataclass(frozen=True)
class Target:
    """A node to be read: the machine that it has to be, its address on the overlay, the id it had when last heard."""

    uuid: str
    address: str
    node_id: str
    credentials: Credentials


@dataclass(frozen=True)
class Reading:
    """What a node said at `at` (seconds since 1970), or in a clause why nothing was read.

    `me` is None for a node that announces nothing; `others` were only asked of one.
    """

    at: float = 0.0
    me: Announced | None = None
    peers: Peers | None = None
    clock: float | None = None
    others: tuple[Announced, ...] = ()
    problem: str = ""


@dataclass
class _Round:
    """One round over the targets. The first node that answers is asked for all that it knows of others, too."""

    words: dict[str, str] = field(default_factory=dict)
    introduced: bool = False

    async def read(self, target: Target) -> Reading:
        try:
            async with asyncio.timeout(PATIENCE):
                dial = once(lambda: nodes.dial(target.address, nodes.API_PORT))
                async with NodeClient(dial, target.credentials) as client:
                    await require(client, target.uuid)
                    return await self._read(client, target)
        except WrongMachine:
            return Reading(problem="is not the machine that answers there")
        except (TimeoutError, errors.TimedOut):
            return Reading(problem="did not answer in time")
        except errors.WrongTrust:
            return Reading(problem="does not have the cluster's certificates")
        except (errors.Unreachable, OSError):
            return Reading(problem="could not be reached over its link")
        except errors.NodeError as error:
            return Reading(problem=f"did not answer ({error.detail[:120] or error.meaning})")

    async def _read(self, client: NodeClient, target: Target) -> Reading:
        node_id = target.node_id or await _node_id(client)
        me, others = await self._introduced(client, node_id)
        statuses = await client.list(types.KUBESPAN_PEER_STATUS)
        now = time.time()
        return Reading(now, me, peers_of(statuses, self.words), clock_of(statuses, now), others)

    async def _introduced(self, client: NodeClient, node_id: str) -> tuple[Announced | None, tuple[Announced, ...]]:
        """How a node announces itself, and, of the first one, all the others that it knows."""
        if self.introduced:
            try:
                return announced((await client.get(types.AFFILIATE, node_id)).spec or {}) if node_id else None, ()
            except errors.NotFound:
                return None, ()
        self.introduced = True
        try:
            known = [announced(item.spec) for item in await client.list(types.AFFILIATE) if item.spec]
        except BaseException:
            self.introduced = False
            raise
        others = tuple(item for item in known if item.node_id != node_id)
        return next((item for item in known if item.node_id == node_id), None), others


async def _node_id(client: NodeClient) -> str:
    try:
        return str(((await client.get(types.IDENTITY)).spec or {}).get("nodeId") or "")
    except errors.NotFound:
        return ""


def read(targets: Sequence[Target]) -> list[Reading | None]:
    """Read nodes in this order, as many as `BUDGET` lets begin: for each what it said; None where it was not asked."""
    if not targets:
        return []
    return nodes.run(_read_all(targets), BUDGET + 2 * PATIENCE)


async def _read_all(targets: Sequence[Target]) -> list[Reading | None]:
    one_round, ends = _Round(), time.monotonic() + BUDGET
    found: list[Reading | None] = [None] * len(targets)
    turns = iter(enumerate(targets))

    async def worker() -> None:
        for turn, target in turns:
            if time.monotonic() > ends:
                return
            found[turn] = await one_round.read(target)

    await asyncio.gather(*(worker() for _ in range(min(AT_ONCE, len(targets)))))
    return found
