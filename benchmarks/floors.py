"""The least that things cost, measured in this process with the libraries that everything here stands on.

A floor has no protocol state, no checks, no database: only what nobody can leave out. Seconds of processor, bytes.
"""

from __future__ import annotations

import gc
import os
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from benchmarks import processes
from nodeagent.tls import client_context, server_context
from nodeagent.wireguard.engine import MTU
from talos import certificates

HANDSHAKES = 2
"""TLS handshakes with a machine that joins: one to give it its identity, one to follow it."""

KEEPALIVE = 25.0
"""Seconds between the packets of an idle link, each way."""


def cpu_of(work: Callable[[], object], times: int) -> float:
    """Seconds of processor that one run of the work takes."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


@cache
def join() -> float:
    """One WireGuard handshake as the responder, and two TLS handshakes as the client."""
    return wireguard_handshake() + HANDSHAKES * tls_handshake()


@cache
def wireguard_handshake() -> float:
    """Five X25519 operations and three AEAD ones."""
    ours, theirs, seal = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key(), ChaCha20Poly1305

    def handshake() -> None:
        X25519PrivateKey.generate().public_key()
        for _ in range(4):
            ours.exchange(theirs)
        for _ in range(3):
            seal(bytes(32)).encrypt(bytes(12), bytes(32), bytes(32))

    return cpu_of(handshake, 500)


@cache
def tls_handshake() -> float:
    """Our half of a TLS 1.3 handshake with an Ed25519 certificate, in memory."""
    return cpu_of(lambda: _Tls().shake_hands(), 200) / 2


@cache
def tls_memory() -> float:
    """Bytes of one idle TLS connection as the client, taken as half of both ends."""
    gc.collect()
    before, count = processes.memory(os.getpid()), 500
    connections = [_Tls() for _ in range(count)]
    for connection in connections:
        connection.shake_hands()
    return (processes.memory(os.getpid()) - before) / count / 2


@cache
def idle_link() -> float:
    """Seconds of processor a second: one keepalive received and opened, one sealed and sent, every 25 seconds."""
    one, other = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    cipher = ChaCha20Poly1305(bytes(32))

    def exchange() -> None:
        other.sendto(cipher.encrypt(bytes(12), b"", None), one.getsockname())
        cipher.decrypt(bytes(12), one.recvfrom(2048)[0], None)

    return cpu_of(exchange, 2000) / KEEPALIVE


@cache
def gigabyte() -> float:
    """Seconds of processor to seal a gigabyte in packets of the link's MTU; opening takes the same at the other end."""
    cipher, nonce, packet = ChaCha20Poly1305(bytes(32)), bytes(12), bytes(MTU)
    return cpu_of(lambda: cipher.encrypt(nonce, packet, None), 20_000) * 1e9 / MTU


class _Tls:
    """Both ends of a connection."""

    def __init__(self) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._client = client_context(None, False).wrap_bio(self._in, self._out)
        self._server = _server().wrap_bio(self._out, self._in, server_side=True)

    def shake_hands(self) -> None:
        ends = [self._client, self._server]
        while ends:
            for end in list(ends):
                try:
                    end.do_handshake()
                    ends.remove(end)
                except ssl.SSLWantReadError:
                    pass


@cache
def _server() -> ssl.SSLContext:
    now = datetime.now(UTC)
    day = timedelta(days=1)
    ca = certificates.self_signed_ca([], Ed25519PrivateKey.generate(), now, now + day)
    identity = certificates.issue(
        ca,
        common_name="machine",
        usages=[certificates.SERVER_AUTH],
        addresses=[],
        dns_names=[],
        not_before=now,
        not_after=now + day,
    )
    return server_context(identity)
