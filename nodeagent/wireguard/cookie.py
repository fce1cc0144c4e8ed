"""The two macs at the end of each handshake message, and the cookies that shift work to the sender under load.

mac1 proves that the sender knows our public key. mac2 proves that it receives at the address it sends from: it is
keyed with a cookie that we gave to that address, and is asked for only under load.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from nodeagent.wireguard.noise import InvalidMessage, hash_of

COOKIE_LIFE = 120.0
"""Seconds a cookie is good for, and between changes of the secret it is made of."""
COOKIE_REPLY = 3
COOKIE_REPLY_SIZE = 64

_MAC_SIZE = 16
_NO_MAC = bytes(_MAC_SIZE)
_NONCE_SIZE = 24
_WORD = 0xFFFFFFFF
_CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")
# Columns, then diagonals, of the 4 x 4 state.
_QUARTERS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip


def mac(key: bytes, data: bytes) -> bytes:
    """Keyed BLAKE2s with 16 bytes of output."""
    return blake2s(data, key=key, digest_size=_MAC_SIZE).digest()


def mac1_key(receiver: bytes) -> bytes:
    """Key of mac1 in messages to the holder of public key `receiver`."""
    return hash_of(b"mac1----", receiver)


def sign(message: bytes, receiver: bytes, cookie: bytes | None) -> bytes:
    """The message with both macs; mac2 is zero without a cookie."""
    message += mac(mac1_key(receiver), message)
    return message + (mac(cookie, message) if cookie else _NO_MAC)


def mac1_of(signed: bytes) -> bytes:
    """The mac1 that a signed message carries; a cookie reply is bound to it."""
    return signed[-2 * _MAC_SIZE : -_MAC_SIZE]


def has_valid_mac1(signed: bytes, key: bytes) -> bool:
    return hmac.compare_digest(mac(key, signed[: -2 * _MAC_SIZE]), mac1_of(signed))


def has_valid_mac2(signed: bytes, cookie: bytes) -> bool:
    return hmac.compare_digest(mac(cookie, signed[:-_MAC_SIZE]), signed[-_MAC_SIZE:])


class CookieJar:
    """Makes cookies for addresses, as the side under load."""

    __slots__ = ("_changed_at", "_key", "_random", "_secret")

    def __init__(self, public: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._key = hash_of(b"cookie--", public)
        self._random = random_bytes
        self._secret = b""
        self._changed_at = 0.0

    def cookie(self, now: float, source: bytes) -> bytes:
        """The cookie of an address at this time."""
        if not self._secret or now - self._changed_at >= COOKIE_LIFE:
            self._secret = self._random(32)
            self._changed_at = now
        return mac(self._secret, source)

    def reply(self, signed: bytes, cookie: bytes) -> bytes:
        """Cookie reply to a handshake message."""
        return create_cookie_reply(self._key, signed[4:8], self._random(_NONCE_SIZE), cookie, mac1_of(signed))


def create_cookie_reply(key: bytes, receiver_index: bytes, nonce: bytes, cookie: bytes, answered_mac1: bytes) -> bytes:
    """The message that hands out a cookie; `receiver_index` as 4 bytes from the message answered."""
    sealed = _xchacha(key, nonce).encrypt(_inner_nonce(nonce), cookie, answered_mac1)
    return struct.pack("<I", COOKIE_REPLY) + receiver_index + nonce + sealed


def open_cookie_reply(message: bytes, sender: bytes, sent_mac1: bytes) -> bytes:
    """The cookie in a reply from the holder of `sender` to our message that carried `sent_mac1`."""
    nonce = message[8:32]
    try:
        return _xchacha(hash_of(b"cookie--", sender), nonce).decrypt(_inner_nonce(nonce), message[32:], sent_mac1)
    except InvalidTag:
        raise InvalidMessage from None


def _inner_nonce(nonce: bytes) -> bytes:
    return bytes(4) + nonce[16:]


def _xchacha(key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    """XChaCha20-Poly1305 is ChaCha20-Poly1305 under a key made of the key and 16 bytes of nonce (HChaCha20)."""
    state = [*_CONSTANTS, *struct.unpack("<8I", key), *struct.unpack("<4I", nonce[:16])]
    for _ in range(10):
        for a, b, c, d in _QUARTERS:
            for left, mixed, turn, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                state[left] = (state[left] + state[mixed]) & _WORD
                word = state[turn] ^ state[left]
                state[turn] = (word << by | word >> (32 - by)) & _WORD
    return ChaCha20Poly1305(struct.pack("<8I", *state[0:4], *state[12:16]))
