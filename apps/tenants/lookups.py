"""The only questions that may be asked before a tenant is known. Each is a SECURITY DEFINER function of `rls.py`."""

from typing import Any
from uuid import UUID

from django.db import connection


def _rows(function: str, *arguments: Any) -> list[tuple[Any, ...]]:
    places = ", ".join(["%s"] * len(arguments))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {function}({places})", arguments)  # noqa: S608  a constant of this file
        return cursor.fetchall()


def _one(function: str, *arguments: Any) -> tuple[UUID, UUID] | None:
    rows = _rows(function, *arguments)
    return (rows[0][0], rows[0][1]) if rows else None


def organisations() -> list[UUID]:
    """Ids of all organisations, for programs that serve all of them (gateway, sweeps)."""
    return [row[0] for row in _rows("omni_organisations")]


def join_token(token_hash: bytes) -> tuple[UUID, UUID] | None:
    """(organisation, join token) of a plain join token, revoked and expired ones too."""
    return _one("omni_join_token", token_hash)


def default_join_tokens() -> list[tuple[UUID, UUID, bytes]]:
    """(organisation, join token, sealed token) of every organisation's default join token."""
    return [(row[0], row[1], bytes(row[2])) for row in _rows("omni_default_join_tokens")]


def link_by_public_key(public_key: str) -> tuple[UUID, UUID] | None:
    """(organisation, link) of a WireGuard public key."""
    return _one("omni_link_by_public_key", public_key)


def link_by_unique_token(token_hash: bytes) -> tuple[UUID, UUID] | None:
    """(organisation, link) that holds a node unique token."""
    return _one("omni_link_by_unique_token", token_hash)


def link_by_address(address: str) -> tuple[UUID, UUID] | None:
    """(organisation, link) of an overlay address."""
    return _one("omni_link_by_address", address)


def taken_balancer_ports() -> set[int]:
    """Balancer ports of all clusters."""
    return {row[0] for row in _rows("omni_balancer_ports")}
