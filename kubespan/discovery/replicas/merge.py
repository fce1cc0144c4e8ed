"""What two processes make of an affiliate that each of them knew by itself.

Every part of an affiliate lives until a time. Of data the later one counts, endpoints are united, each with its later
time, and a deletion ends all that would not have outlived what was deleted. So the order in which copies are merged
does not matter, nor how often.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from math import inf

from kubespan.discovery import entries
from kubespan.discovery.limits import ENDPOINTS
from kubespan.discovery.records import Record
from kubespan.discovery.state import Affiliate


@dataclass(frozen=True, slots=True)
class Known:
    """What a process knows of an affiliate: when it ends and when its data does, its endpoints with the end of each,
    and until when a deletion counts. What never was ended long ago."""

    expires: float = -inf
    data: bytes = b""
    data_ends: float = -inf
    endpoints: tuple[tuple[bytes, float], ...] = ()
    dead: float = -inf

    @property
    def lives(self) -> bool:
        """Whether there is anything left of it."""
        return self.expires > -inf

    @property
    def content(self) -> tuple[bool, bytes, frozenset[bytes]]:
        """What matters to those who watch."""
        return self.lives, self.data, frozenset(endpoint for endpoint, _ in self.endpoints)

    @staticmethod
    def here(affiliate: Affiliate | None, now: float, dead: float) -> Known:
        """What the state has, without what has expired."""
        if affiliate is None or affiliate.expires < now:
            return Known(dead=dead)
        data, endpoints = entries.decode(affiliate.entry)
        living = [(one, end) for one, end in zip(endpoints, affiliate.ends, strict=True) if end > now]
        return Known(affiliate.expires, data, affiliate.expires if data else -inf, tuple(living), dead)

    @staticmethod
    def heard(record: Record, now: float, counts: float) -> Known:
        """What another process says; of a deletion, for how many seconds it counts."""
        if record.ttl is None:
            return Known(dead=now + counts)
        living = tuple((endpoint, now + left) for endpoint, left in record.endpoints if left > 0)
        expires = now + record.ttl
        return Known(expires, record.data, expires if record.data else -inf, living)

    def record(self, cluster_id: str, affiliate_id: str, now: float) -> Record:
        """It as a record, with no more endpoints than there may be."""
        if not self.lives:
            return Record(cluster_id, affiliate_id)
        left = tuple((endpoint, end - now) for endpoint, end in self.endpoints[:ENDPOINTS])
        return Record(cluster_id, affiliate_id, self.data, left, self.expires - now)


def merge(one: Known, other: Known) -> Known:
    """What both know together, with the endpoints of the first one first."""
    dead = max(one.dead, other.dead)
    expires = max(one.expires, other.expires)
    data_ends, data = max((one.data_ends, one.data), (other.data_ends, other.data))
    ends = dict(one.endpoints)
    for endpoint, end in other.endpoints:
        ends[endpoint] = max(end, ends.get(endpoint, -inf))
    if dead > -inf:
        expires = expires if expires > dead else -inf
        data_ends, data = (data_ends, data) if data_ends > dead else (-inf, b"")
        ends = {endpoint: end for endpoint, end in ends.items() if end > dead}
    return Known(expires, data, data_ends, tuple(ends.items()), dead)


def form(entry: bytes) -> int:
    """A number for what is seen of an affiliate, by which two processes know whether they have the same; 0 for none."""
    return zlib.crc32(entry) or 1 if entry else 0
