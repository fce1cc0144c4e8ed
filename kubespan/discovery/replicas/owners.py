"""Who orders the writes of a cluster."""

from collections.abc import Collection
from hashlib import blake2b


def owner(cluster_id: str, living: Collection[int]) -> int:
    """One of those that live, the same wherever the same are known; when one comes or goes, few clusters move."""
    if len(living) == 1:
        return next(iter(living))
    name = cluster_id.encode()
    return max(living, key=lambda who: blake2b(name, digest_size=8, key=who.to_bytes(8, "big")).digest())
