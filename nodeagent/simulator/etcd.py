"""etcd as far as the machine API shows it: who is a member, who leads. There is no data but the Kubernetes objects.

Members find each other by their authority, as real ones find each other by discovery and trust each other by it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, field

from nodeagent.simulator import bolt
from nodeagent.simulator.objects import KubernetesObjects

VERSION = "3.6.6"
STORAGE_VERSION = "3.6.0"
_PAGES = 64
DATABASE = _PAGES * bolt.PAGE
"""Bytes of a member's database."""


class EtcdError(Exception):
    """etcd refuses; the text is etcd's."""


class MemberNotFound(EtcdError):
    """No member has this id."""


@dataclass
class Member:
    """One member. `running` tells whether its machine is up."""

    id: int
    name: str
    address: str
    running: bool = False

    @property
    def url_host(self) -> str:
        return f"[{self.address}]" if ":" in self.address else self.address


@dataclass
class EtcdCluster:
    """The members of one cluster, and what Kubernetes keeps in it."""

    fingerprint: str
    members: dict[int, Member] = field(default_factory=dict)
    leader: int = 0
    term: int = 1
    index: int = 100
    objects: KubernetesObjects = field(default_factory=KubernetesObjects)
    elections: dict[str, int] = field(default_factory=dict)
    """Who won each election that members hold through their etcd, by its key: a lease, which a quorum keeps alive."""

    @property
    def has_quorum(self) -> bool:
        running = sum(member.running for member in self.members.values())
        return running > len(self.members) // 2

    def elect(self, candidate: int | None = None) -> None:
        """See that a running member leads; `candidate` if given."""
        present = self.members.get(self.leader)
        if candidate is None and present is not None and present.running:
            return
        running = [id for id, member in self.members.items() if member.running]
        self.leader = candidate if candidate in running else min(running, default=0)
        self.term += 1

    def expire_leases(self) -> None:
        """Elections are lost with the winner, and all of them with the quorum."""
        running = {id for id, member in self.members.items() if member.running} if self.has_quorum else set()
        self.elections = {key: id for key, id in self.elections.items() if id in running}

    def wins(self, key: str, id: int) -> bool:
        """Whether a member holds an election, which it wins as soon as nobody does."""
        member = self.members.get(id)
        if member is None or not member.running or not self.has_quorum:
            return False
        return self.elections.setdefault(key, id) == id

    def require_quorum(self) -> None:
        if not self.has_quorum:
            raise EtcdError("etcdserver: no leader")


def database(cluster: EtcdCluster) -> bytes:
    """A member's data as a file that etcd's tools read: who is a member, and no keys."""
    members = {
        f"{member.id:x}".encode(): json.dumps(
            {
                "id": member.id,
                "peerURLs": [f"https://{member.url_host}:2380"],
                "name": member.name,
                "clientURLs": [f"https://{member.url_host}:2379"],
            }
        ).encode()
        for member in cluster.members.values()
    }
    meta = {
        b"consistent_index": cluster.index.to_bytes(8, "big"),
        b"storageVersion": STORAGE_VERSION.encode(),
        b"term": cluster.term.to_bytes(8, "big"),
    }
    empty = ("alarm", "auth", "authRoles", "authUsers", "cluster", "key", "lease", "members_removed")
    return bolt.database({**{name: {} for name in empty}, "members": members, "meta": meta}, _PAGES)


class EtcdRegistry:
    """All etcd clusters among the machines of this process, by their authority's fingerprint."""

    def __init__(self) -> None:
        self._clusters: dict[str, EtcdCluster] = {}
        self._changed = asyncio.Condition()

    def cluster(self, fingerprint: str) -> EtcdCluster | None:
        return self._clusters.get(fingerprint)

    def restore(self, fingerprint: str, member: Member) -> None:
        """A data directory found on a disk, before its machine is switched on."""
        cluster = self._clusters.setdefault(fingerprint, EtcdCluster(fingerprint))
        cluster.members.setdefault(member.id, member)

    async def bootstrap(self, fingerprint: str, name: str, address: str) -> Member:
        """Begin a cluster of one. A cluster that another member still holds stays, and is then a second one, lost:
        real machines that are bootstrapped twice do the same."""
        cluster = self._clusters[fingerprint] = EtcdCluster(fingerprint)
        return await self._add(cluster, name, address)

    async def join(self, fingerprint: str, name: str, address: str) -> Member:
        """Wait for a cluster that can take a new member, and become one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._can_take(fingerprint, name))
        cluster = self._clusters[fingerprint]
        for stale in [member.id for member in cluster.members.values() if member.name == name]:
            del cluster.members[stale]  # an earlier life of this machine that left without saying so
        return await self._add(cluster, name, address)

    async def start(self, fingerprint: str, id: int) -> Member:
        """A member's machine came up. Raises EtcdError when it was removed meanwhile."""
        cluster = self._clusters.get(fingerprint)
        member = cluster.members.get(id) if cluster else None
        if cluster is None or member is None:
            raise EtcdError("the member has been permanently removed from the cluster")
        await self._set_running(cluster, member, True)
        return member

    async def stop(self, fingerprint: str, id: int) -> None:
        """A member's machine went down."""
        cluster = self._clusters.get(fingerprint)
        if cluster and (member := cluster.members.get(id)):
            await self._set_running(cluster, member, False)

    async def remove(self, fingerprint: str, id: int) -> None:
        """By any member, for itself too. Raises EtcdError."""
        cluster = self._clusters[fingerprint]
        cluster.require_quorum()
        if id not in cluster.members:
            raise MemberNotFound("etcdserver: member not found")
        del cluster.members[id]
        cluster.elect()
        await self._notify(cluster)

    async def forget(self, fingerprint: str, id: int) -> None:
        """A data directory was wiped without leaving: the member stays, silent, until somebody removes it. A cluster
        with no data directory left is gone."""
        await self.stop(fingerprint, id)
        cluster = self._clusters.get(fingerprint)
        if cluster and not any(member.running for member in cluster.members.values()) and len(cluster.members) == 1:
            del self._clusters[fingerprint]

    def forfeit(self, fingerprint: str, id: int) -> str:
        """Give leadership away; the new leader's name, or nothing when this member does not lead. Raises EtcdError."""
        cluster = self._clusters[fingerprint]
        if len(cluster.members) == 1:
            raise EtcdError("cannot forfeit leadership, only one member")
        if cluster.leader != id:
            return ""
        others = [member.id for member in cluster.members.values() if member.running and member.id != id]
        if not others:
            raise EtcdError("etcdserver: no healthy member to lead")
        cluster.elect(secrets.choice(others))
        return cluster.members[cluster.leader].name

    async def elected(self, fingerprint: str, key: str, id: int) -> None:
        """Wait until a member holds an election."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._wins(fingerprint, key, id))

    async def deposed(self, fingerprint: str, key: str, id: int) -> None:
        """Wait until a member that held an election no longer does."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._wins(fingerprint, key, id))

    async def resign(self, fingerprint: str, key: str, id: int) -> None:
        """Give up an election, if the member holds it."""
        cluster = self._clusters.get(fingerprint)
        if cluster and cluster.elections.get(key) == id:
            del cluster.elections[key]
            await self._notify(cluster)

    def _wins(self, fingerprint: str, key: str, id: int) -> bool:
        cluster = self._clusters.get(fingerprint)
        return cluster is not None and cluster.wins(key, id)

    def _can_take(self, fingerprint: str, name: str) -> bool:
        cluster = self._clusters.get(fingerprint)
        return cluster is not None and cluster.has_quorum

    async def _add(self, cluster: EtcdCluster, name: str, address: str) -> Member:
        member = Member(secrets.randbits(64) or 1, name, address, running=True)
        cluster.members[member.id] = member
        await self._notify(cluster)
        return member

    async def _set_running(self, cluster: EtcdCluster, member: Member, running: bool) -> None:
        member.running = running
        await self._notify(cluster)

    async def _notify(self, cluster: EtcdCluster) -> None:
        cluster.index += 1
        cluster.elect()
        cluster.expire_leases()
        if not cluster.members:
            self._clusters.pop(cluster.fingerprint, None)
        async with self._changed:
            self._changed.notify_all()
