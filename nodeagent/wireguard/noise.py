"""WireGuard's handshake messages: Noise_IKpsk2 over Curve25519, ChaCha20-Poly1305 and BLAKE2s.

Pure functions of keys and bytes, for both roles. Messages are built and read without their last 32 bytes, the two
macs, which belong to `cookie.py`. Names follow the WireGuard paper: i initiator, r responder, e ephemeral, s static.
Everything that fails to authenticate raises `InvalidMessage`.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEY_SIZE = 32
MACS_SIZE = 32
INITIATION_SIZE = 148
RESPONSE_SIZE = 92

INITIATION = 1
RESPONSE = 2

_NONCE = bytes(12)
_NO_PRESHARED_KEY = bytes(KEY_SIZE)
_HEADER = struct.Struct("<II")
_RESPONSE_HEADER = struct.Struct("<III")


class InvalidMessage(Exception):
    """A handshake message that its supposed sender did not make."""


def hash_of(*parts: bytes) -> bytes:
    """BLAKE2s-256 of the parts in a row."""
    digest = blake2s()
    for part in parts:
        digest.update(part)
    return digest.digest()


_CHAIN_START = hash_of(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
_HASH_START = hash_of(_CHAIN_START, b"WireGuard v1 zx2c4 Jason@zx2c4.com")


def derive(count: int, chain: bytes, material: bytes) -> list[bytes]:
    """HKDF over HMAC-BLAKE2s: `count` keys of 32 bytes."""
    root = hmac.new(chain, material, blake2s).digest()
    keys: list[bytes] = []
    last = b""
    for index in range(1, count + 1):
        last = hmac.new(root, last + bytes((index,)), blake2s).digest()
        keys.append(last)
    return keys


def public_of(private: X25519PrivateKey) -> bytes:
    """The public half, 32 bytes."""
    return private.public_key().public_bytes_raw()


class Identity:
    """Our own static key pair."""

    __slots__ = ("private", "public")

    def __init__(self, private_key: bytes) -> None:
        if len(private_key) != KEY_SIZE:
            raise ValueError(f"a WireGuard private key has {KEY_SIZE} bytes, got {len(private_key)}")
        self.private = X25519PrivateKey.from_private_bytes(private_key)
        self.public = public_of(self.private)

    def shared_with(self, public: bytes) -> bytes:
        """The static-static secret. Raises ValueError for a key that cannot be one."""
        return _exchange(self.private, public)


def _exchange(private: X25519PrivateKey, public: bytes) -> bytes:
    return private.exchange(X25519PublicKey.from_public_bytes(public))


def _seal(key: bytes, plaintext: bytes, transcript: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(_NONCE, plaintext, transcript)


def _open(key: bytes, ciphertext: bytes, transcript: bytes) -> bytes:
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, ciphertext, transcript)
    except InvalidTag:
        raise InvalidMessage from None


def timestamp(unix_nanoseconds: int) -> bytes:
    """TAI64N label, 12 bytes, with the low 24 bits of the nanoseconds cleared so that it tells little of our clock."""
    seconds, nanoseconds = divmod(unix_nanoseconds, 10**9)
    return struct.pack(">QI", (1 << 62) + 10 + seconds, nanoseconds & ~0xFFFFFF)


@dataclass(slots=True)
class SentInitiation:
    """What an initiator keeps until the response comes."""

    index: int
    ephemeral: X25519PrivateKey
    chain: bytes
    transcript: bytes


@dataclass(slots=True)
class ReceivedInitiation:
    """What a responder has read of an initiation; `authenticate` reads the rest."""

    index: int
    ephemeral: bytes
    static: bytes
    """Public key the sender claims; proved only by `authenticate`."""
    chain: bytes
    transcript: bytes
    sealed_timestamp: bytes

    def authenticate(self, shared: bytes) -> bytes:
        """Prove that the sender holds its static key, given the static-static secret; returns its timestamp."""
        self.chain, key = derive(2, self.chain, shared)
        label = _open(key, self.sealed_timestamp, self.transcript)
        self.transcript = hash_of(self.transcript, self.sealed_timestamp)
        return label


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Keys of a finished handshake, seen from one side."""

    send: bytes
    receive: bytes
    local_index: int
    remote_index: int
    is_initiator: bool


def create_initiation(
    identity: Identity, remote: bytes, shared: bytes, index: int, label: bytes, ephemeral: X25519PrivateKey
) -> tuple[bytes, SentInitiation]:
    """The first message, to the holder of `remote`; `label` comes from `timestamp`."""
    ephemeral_public = public_of(ephemeral)
    (chain,) = derive(1, _CHAIN_START, ephemeral_public)
    transcript = hash_of(hash_of(_HASH_START, remote), ephemeral_public)
    chain, key = derive(2, chain, _exchange(ephemeral, remote))
    sealed_static = _seal(key, identity.public, transcript)
    transcript = hash_of(transcript, sealed_static)
    chain, key = derive(2, chain, shared)
    sealed_label = _seal(key, label, transcript)
    transcript = hash_of(transcript, sealed_label)
    message = _HEADER.pack(INITIATION, index) + ephemeral_public + sealed_static + sealed_label
    return message, SentInitiation(index, ephemeral, chain, transcript)


def read_initiation(identity: Identity, message: bytes) -> ReceivedInitiation:
    """Open the part of an initiation that says who sent it."""
    _, index = _HEADER.unpack_from(message)
    ephemeral, sealed_static, sealed_label = message[8:40], message[40:88], message[88:116]
    (chain,) = derive(1, _CHAIN_START, ephemeral)
    transcript = hash_of(hash_of(_HASH_START, identity.public), ephemeral)
    try:
        secret = _exchange(identity.private, ephemeral)
    except ValueError:
        raise InvalidMessage from None
    chain, key = derive(2, chain, secret)
    static = _open(key, sealed_static, transcript)
    return ReceivedInitiation(index, ephemeral, static, chain, hash_of(transcript, sealed_static), sealed_label)


def create_response(
    initiation: ReceivedInitiation, index: int, ephemeral: X25519PrivateKey, preshared: bytes = _NO_PRESHARED_KEY
) -> tuple[bytes, SessionKeys]:
    """The answer to an authenticated initiation, and the session it opens."""
    ephemeral_public = public_of(ephemeral)
    (chain,) = derive(1, initiation.chain, ephemeral_public)
    transcript = hash_of(initiation.transcript, ephemeral_public)
    (chain,) = derive(1, chain, _exchange(ephemeral, initiation.ephemeral))
    (chain,) = derive(1, chain, _exchange(ephemeral, initiation.static))
    chain, mixed, key = derive(3, chain, preshared)
    transcript = hash_of(transcript, mixed)
    message = _RESPONSE_HEADER.pack(RESPONSE, index, initiation.index) + ephemeral_public + _seal(key, b"", transcript)
    to_responder, to_initiator = derive(2, chain, b"")
    return message, SessionKeys(to_initiator, to_responder, index, initiation.index, False)


def read_response(
    identity: Identity, sent: SentInitiation, message: bytes, preshared: bytes = _NO_PRESHARED_KEY
) -> SessionKeys:
    """Check the answer to our initiation; returns the session it opens."""
    _, remote_index, _ = _RESPONSE_HEADER.unpack_from(message)
    ephemeral, sealed_nothing = message[12:44], message[44:60]
    (chain,) = derive(1, sent.chain, ephemeral)
    transcript = hash_of(sent.transcript, ephemeral)
    try:
        (chain,) = derive(1, chain, _exchange(sent.ephemeral, ephemeral))
        (chain,) = derive(1, chain, _exchange(identity.private, ephemeral))
    except ValueError:
        raise InvalidMessage from None
    chain, mixed, key = derive(3, chain, preshared)
    _open(key, sealed_nothing, hash_of(transcript, mixed))
    to_responder, to_initiator = derive(2, chain, b"")
    return SessionKeys(to_responder, to_initiator, sent.index, remote_index, True)
