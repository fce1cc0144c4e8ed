"""Overlay addresses as they are written and as 16 bytes."""

import socket


def packed(address: str) -> bytes:
    """The bytes of an IPv6 address. Raises ValueError."""
    try:
        return socket.inet_pton(socket.AF_INET6, address)
    except OSError:
        raise ValueError(f"{address!r} is no IPv6 address") from None


def text(address: bytes) -> str:
    """An address in its one canonical form."""
    return socket.inet_ntop(socket.AF_INET6, address)
