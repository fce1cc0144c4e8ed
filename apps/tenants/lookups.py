"""The only questions that may be asked before a tenant is known, typed. The functions behind them are in `rls.py`."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.tenants.rls import ask

Found = tuple[UUID, UUID]
"""(organisation, object)."""


@dataclass(frozen=True)
class Standing:
    """What a machine is to a cluster, and whose a node id is there. `machine` is None for one that is no member."""

    organisation: UUID
    cluster: UUID
    machine: UUID | None
    says_node: bool  # the machine says the node id
    says_none: bool  # the machine has not said any yet
    said_by_other: bool  # another member says it


def organisations() -> list[UUID]:
    """Ids of all organisations, for programs that serve all of them (gateway, sweeps)."""
    return [row[0] for row in ask("list_organisations")]


def access_key(fingerprint: str) -> Found | None:
    """The access key of a fingerprint, a revoked or expired one too."""
    return _one("find_access_key", fingerprint)


def authorities() -> list[bytes]:
    """PEM certificates of all organisations' own authorities."""
    return [bytes(row[1]) for row in ask("list_authorities")]


def join_token(token_hash: bytes) -> Found | None:
    """Of a plain join token, revoked and expired ones too."""
    return _one("find_join_token", token_hash)


def default_join_tokens() -> list[Found]:
    """Every organisation's default join token: a signed token does not say whose it is."""
    return [(row[0], row[1]) for row in ask("list_default_join_tokens")]


def agent(credential_hash: bytes) -> Found | None:
    """The agent of a credential, a removed one too."""
    return _one("find_agent", credential_hash)


def link_by_public_key(public_key: str) -> Found | None:
    """The link of a WireGuard public key."""
    return _one("find_link_by_key", public_key)


def link_by_unique_token(token_hash: bytes) -> Found | None:
    """The link that holds a node unique token; a registered machine's before a pending one's."""
    return _one("find_link_by_unique_token", token_hash)


def links() -> list[Found]:
    """All links of all organisations."""
    return [(row[0], row[1]) for row in ask("list_links")]


def link_by_address(address: str) -> Found | None:
    """The link of an overlay address."""
    return _one("find_link_by_address", address)


def link_by_virtual_address(address: str) -> Found | None:
    """The link of a tunnel's name."""
    return _one("find_link_by_virtual_address", address)


def gateways(address: str) -> list[tuple[str, str, bool]]:
    """(name, HOST:PORT, whether it holds the link of this overlay address) of running gateways, the holder first."""
    return [(row[0], row[1], row[2]) for row in ask("find_gateways", address)]


def discovery_clusters(discovery_hash: bytes, address: str, node_id: str) -> list[Standing]:
    """Clusters that discovery services know by an id with this hash, as the machine at an overlay address sees them."""
    return [Standing(*row) for row in ask("find_discovery_clusters", discovery_hash, address, node_id)]


def taken_balancer_ports() -> set[int]:
    """Balancer ports of all clusters."""
    return {row[2] for row in ask("list_balancer_ports")}


def _one(lookup: str, *arguments: Any) -> Found | None:
    rows = ask(lookup, *arguments)
    return (rows[0][0], rows[0][1]) if rows else None
