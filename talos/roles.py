"""Roles of the Talos API: the organisations of a client certificate."""

from collections.abc import Iterable

ADMIN = "os:admin"
OPERATOR = "os:operator"
READER = "os:reader"
ETCD_BACKUP = "os:etcd:backup"
IMAGE_VERIFIER = "os:image:verifier"
META_WRITER = "os:meta:writer"
#: May name the roles of a forwarded call; nodes give it to themselves.
IMPERSONATOR = "os:impersonator"

ALL = frozenset({ADMIN, OPERATOR, READER, ETCD_BACKUP, IMAGE_VERIFIER, META_WRITER, IMPERSONATOR})


def parse(names: Iterable[str]) -> tuple[frozenset[str], list[str]]:
    """Return the roles among `names`, and those of them that no known Talos version gives a meaning to.

    Unknown roles stay in the set, as a newer Talos may know them. Surrounding space and empty names are dropped.
    """
    stripped = [name.strip() for name in names]
    roles = [name for name in stripped if name]
    return frozenset(roles), [name for name in roles if name not in ALL]
