"""Which machine may do what at the discovery service, for those that come over SideroLink.

Their address proves which machine calls. A cluster of ours is open to its own members: each may say what it is under
the node id that it says to us, and where it sees others. Clusters that are not ours are nobody's business here.

Only what may be is remembered, and only for moments, except while the database does not answer: then machines that were
let in before are let in again, and others wait. Nobody is let in on the ground that we do not know.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from django.db import Error as DatabaseError

from apps.clusters.credentials import discovery_hash
from apps.tenants import lookups
from apps.tenants.threads import in_thread
from kubespan.ports import Act

FRESH = 5.0
"""Seconds for which leave is given again without asking the database."""

KEPT = 50_000
"""Leaves that are kept for when the database does not answer; the oldest go."""

PATIENCE = 20.0
"""Seconds that a node's update waits for what would allow it: refused, the node would not try again for minutes."""

RETRY = 1.0
"""Seconds between questions meanwhile."""

AT_ONCE = 4
"""Questions to the database at once: others need its threads, too."""

_SPEAKS_AS = (Act.PUBLISH, Act.DELETE)
"""Acts that a machine does in the name of a node. All others need a member of the cluster only."""

_BEGINS = (Act.HELLO, Act.LIST, Act.WATCH)
"""Acts that are tried again soon when they are refused."""

NOT_A_MEMBER = "this machine is no member of that cluster"
NOT_ITS_NODE = "that node id is not this machine's"
NO_ANSWER = "it cannot be looked up now whether this machine is a member of that cluster; try again"

log = logging.getLogger(__name__)

_Key = tuple[str, bytes, str]


@dataclass(frozen=True, slots=True)
class _Leave:
    """That a machine may, and until when that need not be looked up again."""

    cluster: UUID
    until: float


class MachineGate:
    """`kubespan.ports.Gate` for the overlay."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._given: dict[_Key, _Leave] = {}
        self._waiting: set[str] = set()
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def refusal(
        self, source: IPv4Address | IPv6Address | None, cluster_id: str, affiliate_id: str, act: Act
    ) -> str | None:
        """Why not; None when it may be."""
        address = str(source or "::")
        key = (address, discovery_hash(cluster_id), affiliate_id if act in _SPEAKS_AS else "")
        given = self._given.get(key)
        if given is not None and given.until > time.monotonic():
            return None
        refusal = await self._ask(key)
        if refusal in (None, NOT_A_MEMBER) or act in _BEGINS or address in self._waiting:
            return refusal
        self._waiting.add(address)
        try:
            return await self._wait(key)
        finally:
            self._waiting.discard(address)

    def changed(self, cluster: UUID) -> None:
        """Members of a cluster may be others now."""
        for key in [key for key, leave in self._given.items() if leave.cluster == cluster]:
            self._given[key] = _Leave(cluster, 0)

    def missed(self) -> None:
        """Those of any cluster may be."""
        self._given = {key: _Leave(leave.cluster, 0) for key, leave in self._given.items()}

    async def _wait(self, key: _Key) -> str | None:
        """Ask again for a while: a machine that was installed anew says its node id soon, or the database is back."""
        end = time.monotonic() + self._patience
        while True:
            await asyncio.sleep(RETRY)
            refusal = await self._ask(key)
            if refusal in (None, NOT_A_MEMBER) or time.monotonic() >= end:
                return refusal

    async def _ask(self, key: _Key) -> str | None:
        address, cluster, node_id = key
        try:
            async with self._turns:
                found = await in_thread(lambda: lookups.discovery_clusters(cluster, address, node_id))
        except (DatabaseError, OSError) as error:
            if key in self._given:
                return None
            log.warning("members of clusters cannot be looked up: %s", error)
            return NO_ANSWER
        self._given.pop(key, None)
        if not found:
            return None
        standing = next((one for one in found if one.machine is not None), None)
        if standing is None:
            return NOT_A_MEMBER
        if node_id and not standing.says_node and (standing.said_by_other or not standing.says_none):
            return NOT_ITS_NODE
        while len(self._given) >= KEPT:
            del self._given[next(iter(self._given))]
        self._given[key] = _Leave(standing.cluster, time.monotonic() + FRESH)
        return None
