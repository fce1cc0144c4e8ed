"""What the service knows: clusters, their affiliates, and who watches them. Pure: no I/O, and the time is given.

Times are seconds of a clock that only runs forward. Of an affiliate its wire form is kept (`entries.py`) and when it
and its endpoints expire, which is all that there is. Expired ones are seen until `collect` has looked.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Protocol

from kubespan.discovery import entries, records
from kubespan.discovery.limits import AFFILIATES, ENDPOINTS, TooManyAffiliates, TooManyEndpoints
from kubespan.discovery.records import Record


class Change(enum.Enum):
    """What happened to an affiliate."""

    NONE = "none"
    REFRESHED = "refreshed"  # it lives longer; watchers are not told
    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"


class Subscriber(Protocol):
    """Who watches a cluster. Told of each change, in their order; it must return soon and change nothing."""

    def tell(self, affiliate_id: str, event: bytes, change: Change) -> None:
        """`event` is the `WatchResponse`. All who watch are given the same object. Nobody is told of a refresh."""


class Affiliate:
    """One affiliate. `entry` is its wire form, `ends` when each endpoint expires, in their order."""

    __slots__ = ("ends", "entry", "expires", "id")

    def __init__(self, affiliate_id: str, entry: bytes, expires: float, ends: tuple[float, ...]) -> None:
        self.id, self.entry, self.expires, self.ends = affiliate_id, entry, expires, ends

    def soonest(self) -> float:
        """When the first thing of it expires."""
        return min(self.expires, *self.ends) if self.ends else self.expires

    def record(self, now: float) -> bytes:
        """It as an `AffiliateSnapshot`."""
        data, endpoints = entries.decode(self.entry)
        left = zip(endpoints, [end - now for end in self.ends], strict=True)
        return records.affiliate(self.id, data, left, self.expires - now)


class Cluster:
    """One cluster. Nothing of it expires before `soonest`."""

    __slots__ = ("affiliates", "id", "soonest", "subscribers")

    def __init__(self, cluster_id: str) -> None:
        self.id = cluster_id
        self.affiliates: dict[str, Affiliate] = {}
        self.subscribers: set[Subscriber] = set()
        self.soonest = inf

    def listing(self) -> bytes:
        """All affiliates as a `ListResponse`, and as the first `WatchResponse`."""
        return b"".join([affiliate.entry for affiliate in self.affiliates.values()])


Listener = Callable[[str, Affiliate, Change], None]
"""Called with the cluster's id after each change, refreshed ones too, in their order; it must change nothing."""


class State:
    """All clusters. `listener` is told of every change before the call that made it returns."""

    def __init__(self, listener: Listener = lambda cluster_id, affiliate, change: None) -> None:
        self._clusters: dict[str, Cluster] = {}
        self._listener = listener
        self.affiliates = self.endpoints = self.subscriptions = 0
        self.collected_clusters = self.collected_affiliates = 0

    @property
    def clusters(self) -> int:
        return len(self._clusters)

    def cluster(self, cluster_id: str) -> Cluster | None:
        return self._clusters.get(cluster_id)

    def cluster_ids(self) -> list[str]:
        return list(self._clusters)

    # What clients ask for.

    def update(
        self, now: float, cluster_id: str, affiliate_id: str, data: bytes, endpoints: Sequence[bytes], ttl: float
    ) -> Change:
        """Take what a node says of an affiliate; empty `data` leaves what is there, endpoints are added.

        Raises TooManyAffiliates, with nothing changed; TooManyEndpoints, with all taken that came before the one too
        many. What fits is not taken back, nor does the affiliate itself then live longer, as with Sidero's service.
        """
        cluster = self._clusters.get(cluster_id) or self._add_cluster(cluster_id)
        affiliate = cluster.affiliates.get(affiliate_id)
        known_data, known, ends = b"", list[bytes](), list[float]()
        new = affiliate is None
        if affiliate is None:
            if len(cluster.affiliates) >= AFFILIATES:
                raise TooManyAffiliates
            affiliate = Affiliate(affiliate_id, b"", -inf, ())
        else:
            known_data, known = entries.decode(affiliate.entry)
            ends = list(affiliate.ends)
        until = now + ttl
        changed = new
        if data:
            known_data, affiliate.expires, changed = data, until, True
        fits = True
        for endpoint in endpoints:
            if endpoint in known:
                at = known.index(endpoint)
                ends[at] = max(ends[at], until)
            elif len(known) >= ENDPOINTS:
                fits = False
                break
            else:
                known.append(endpoint)
                ends.append(until)
                changed = True
        if fits and until > affiliate.expires:
            affiliate.expires = until
        self.endpoints += len(ends) - len(affiliate.ends)
        affiliate.ends = _shared(ends, affiliate.expires)
        if changed:
            entry = entries.encode(affiliate_id, known_data, known)
            if entry != affiliate.entry:
                affiliate.entry = entry
        if new:
            cluster.affiliates[affiliate_id] = affiliate
            self.affiliates += 1
        cluster.soonest = min(cluster.soonest, affiliate.soonest())
        change = Change.ADDED if new else Change.CHANGED if changed else Change.REFRESHED
        self._tell(cluster, affiliate, change)
        if not fits:
            raise TooManyEndpoints
        return change

    def delete(self, cluster_id: str, affiliate_id: str) -> Change:
        """Forget an affiliate; one that is not there is none the less gone."""
        cluster = self._clusters.get(cluster_id)
        affiliate = cluster.affiliates.get(affiliate_id) if cluster else None
        if cluster is None or affiliate is None:
            return Change.NONE
        self._remove(cluster, affiliate)
        return Change.DELETED

    def listing(self, cluster_id: str) -> bytes:
        """A cluster's affiliates as a `ListResponse`; none when the cluster is not known."""
        cluster = self._clusters.get(cluster_id)
        return cluster.listing() if cluster else b""

    def size(self, cluster_id: str) -> int:
        """Bytes of `listing`."""
        cluster = self._clusters.get(cluster_id)
        return sum([len(affiliate.entry) for affiliate in cluster.affiliates.values()]) if cluster else 0

    def subscribe(self, cluster_id: str, subscriber: Subscriber) -> bytes:
        """Tell of each change from now on. Gives what there is now, as `listing`."""
        cluster = self._clusters.get(cluster_id) or self._add_cluster(cluster_id)
        cluster.subscribers.add(subscriber)
        self.subscriptions += 1
        return cluster.listing()

    def unsubscribe(self, cluster_id: str, subscriber: Subscriber) -> None:
        """Of one who has subscribed."""
        self._clusters[cluster_id].subscribers.remove(subscriber)
        self.subscriptions -= 1

    # Records, of files and of other processes.

    def put(self, now: float, record: Record, *, tell: bool = False) -> Change:
        """Make an affiliate what the record says, whatever it was; twice is as once.

        Watchers are told when what they see is another; with `tell` in any case, for one who heard of it as a change.
        Limits of a cluster were kept by whoever made the record.
        """
        if record.ttl is None:
            return self.delete(record.cluster_id, record.affiliate_id)
        cluster = self._clusters.get(record.cluster_id) or self._add_cluster(record.cluster_id)
        affiliate = cluster.affiliates.get(record.affiliate_id)
        entry = entries.encode(record.affiliate_id, record.data, [endpoint for endpoint, _ in record.endpoints])
        change = Change.CHANGED if tell else Change.REFRESHED
        if affiliate is None:
            affiliate = cluster.affiliates[record.affiliate_id] = Affiliate(record.affiliate_id, entry, -inf, ())
            self.affiliates += 1
            change = Change.ADDED
        elif affiliate.entry != entry:
            affiliate.entry = entry
            change = Change.CHANGED
        affiliate.expires = now + record.ttl
        self.endpoints += len(record.endpoints) - len(affiliate.ends)
        affiliate.ends = _shared([now + left for _, left in record.endpoints], affiliate.expires)
        cluster.soonest = min(cluster.soonest, affiliate.soonest())
        self._tell(cluster, affiliate, change)
        return change

    def record(self, now: float, cluster_id: str, affiliate_id: str) -> bytes:
        """One affiliate as a message of a stream of records; as deleted when it is not there."""
        cluster = self._clusters.get(cluster_id)
        affiliate = cluster.affiliates.get(affiliate_id) if cluster else None
        one = records.affiliate(affiliate_id, b"", (), None) if affiliate is None else affiliate.record(now)
        return records.cluster(cluster_id, [one])

    def snapshot(self, now: float) -> Iterator[bytes]:
        """All clusters that have affiliates, each as one message of a stream of records.

        Nothing is given in between, so that who asks can pause and let others work. What changes while it is read may
        be in it or not; the changes themselves, kept since before the first message, complete it.
        """
        for cluster_id in list(self._clusters):
            cluster = self._clusters.get(cluster_id)
            if cluster is None or not cluster.affiliates:
                continue
            written = []
            for affiliate in list(cluster.affiliates.values()):
                written.append(affiliate.record(now))
                yield b""
            yield records.cluster(cluster_id, written)

    # What time does.

    def collect(self, now: float) -> Iterator[None]:
        """Drop what has expired, and clusters with neither affiliates nor watchers. Pauses after each cluster.

        An affiliate that has lost endpoints only is told as changed, not as deleted.
        """
        for cluster_id in list(self._clusters):
            cluster = self._clusters.get(cluster_id)
            if cluster is None:
                continue
            if cluster.soonest <= now:
                self._collect(cluster, now)
            if not cluster.affiliates and not cluster.subscribers:
                del self._clusters[cluster_id]
                self.collected_clusters += 1
            yield

    def _collect(self, cluster: Cluster, now: float) -> None:
        soonest = inf
        for affiliate in list(cluster.affiliates.values()):
            if affiliate.expires < now:
                self._remove(cluster, affiliate)
                self.collected_affiliates += 1
                continue
            if affiliate.ends and min(affiliate.ends) <= now:
                data, endpoints = entries.decode(affiliate.entry)
                living = [(one, end) for one, end in zip(endpoints, affiliate.ends, strict=True) if end > now]
                affiliate.entry = entries.encode(affiliate.id, data, [one for one, _ in living])
                self.endpoints += len(living) - len(affiliate.ends)
                affiliate.ends = tuple(end for _, end in living)
                self._tell(cluster, affiliate, Change.CHANGED)
            soonest = min(soonest, affiliate.soonest())
        cluster.soonest = soonest

    def _add_cluster(self, cluster_id: str) -> Cluster:
        cluster = self._clusters[cluster_id] = Cluster(cluster_id)
        return cluster

    def _remove(self, cluster: Cluster, affiliate: Affiliate) -> None:
        del cluster.affiliates[affiliate.id]
        self.affiliates -= 1
        self.endpoints -= len(affiliate.ends)
        self._tell(cluster, affiliate, Change.DELETED)

    def _tell(self, cluster: Cluster, affiliate: Affiliate, change: Change) -> None:
        if cluster.subscribers and change is not Change.REFRESHED:
            event = entries.deletion(affiliate.id) if change is Change.DELETED else affiliate.entry
            for subscriber in cluster.subscribers:
                subscriber.tell(affiliate.id, event, change)
        self._listener(cluster.id, affiliate, change)


def _shared(ends: list[float], expires: float) -> tuple[float, ...]:
    """With one object for times that are the affiliate's own, as most are."""
    return tuple([expires if end == expires else end for end in ends])
