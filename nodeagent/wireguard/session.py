"""One WireGuard session: the keys of a finished handshake in use."""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from nodeagent.wireguard.noise import SessionKeys

DATA = 4
DATA_HEADER_SIZE = 16
REKEY_AFTER_MESSAGES = 1 << 60
REJECT_AFTER_MESSAGES = (1 << 64) - (1 << 13) - 1
REKEY_AFTER_TIME = 120.0
REJECT_AFTER_TIME = 180.0
REPLAY_WINDOW = 8128
"""How many counters behind the highest one a packet may arrive."""

_WINDOW_MASK = (1 << REPLAY_WINDOW) - 1
_PADDING = [bytes(-size % 16) for size in range(16)]
_pack_header = struct.Struct("<IIQ").pack
_pack_nonce = struct.Struct("<4xQ").pack


class Session:
    """Seals and opens data messages; lives for at most REJECT_AFTER_TIME seconds."""

    __slots__ = (
        "_highest", "_open", "_seal", "_seen", "created_at", "is_initiator", "local_index", "remote_index", "sent",
    )  # fmt: skip

    def __init__(self, keys: SessionKeys, now: float) -> None:
        self._seal = ChaCha20Poly1305(keys.send).encrypt
        self._open = ChaCha20Poly1305(keys.receive).decrypt
        self.local_index = keys.local_index
        self.remote_index = keys.remote_index
        self.is_initiator = keys.is_initiator
        self.created_at = now
        self.sent = 0
        self._highest = -1
        self._seen = 0  # bit n: counter `highest - n` was seen

    def is_expired(self, now: float) -> bool:
        return now - self.created_at >= REJECT_AFTER_TIME or self.sent >= REJECT_AFTER_MESSAGES

    def seal(self, packet: bytes) -> bytes:
        """The data message that carries `packet`; empty for a keepalive."""
        counter = self.sent
        self.sent = counter + 1
        plaintext = packet + _PADDING[len(packet) & 15]
        return _pack_header(DATA, self.remote_index, counter) + self._seal(_pack_nonce(counter), plaintext, None)

    def open(self, message: bytes) -> bytes | None:
        """The padded packet inside a data message; None when it is not authentic."""
        try:
            return self._open(b"\0\0\0\0" + message[8:16], message[DATA_HEADER_SIZE:], None)
        except InvalidTag:
            return None

    def is_replay(self, counter: int) -> bool:
        """Whether an authentic counter was seen before, or is too old to tell; notes it as seen."""
        if counter >= REJECT_AFTER_MESSAGES:
            return True
        ahead = counter - self._highest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & _WINDOW_MASK if ahead < REPLAY_WINDOW else 1
            self._highest = counter
            return False
        if ahead <= -REPLAY_WINDOW:
            return True
        bit = 1 << -ahead
        if self._seen & bit:
            return True
        self._seen |= bit
        return False
