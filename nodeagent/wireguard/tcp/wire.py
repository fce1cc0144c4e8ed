"""Sequence numbers and options of TCP."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MODULUS = 1 << 32
MASK = MODULUS - 1
WINDOW_SCALE = 5
"""The shift we offer: windows up to 2 MiB in steps of 32 bytes."""
SACK_BLOCKS = 3

_END, _NOP, _MSS, _SCALE, _SACK_PERMITTED, _SACK = range(6)
_LARGEST_SCALE = 14
_pack_block = struct.Struct("!II").pack
_unpack_block = struct.Struct("!II").unpack_from


def unwrap(wire: int, near: int) -> int:
    """The unbounded sequence number closest to `near` that reads `wire` on the wire.

    Inside, sequence numbers grow without bound, which makes them comparable.
    """
    distance = (wire - near) & MASK
    return near + distance if distance < MODULUS // 2 else near + distance - MODULUS


@dataclass(frozen=True, slots=True)
class SynOptions:
    """What a SYN offers; None where the peer did not say."""

    segment_size: int | None
    scale: int | None
    sack_permitted: bool

    def encode(self) -> bytes:
        options = b""
        if self.segment_size is not None:
            options += struct.pack("!BBH", _MSS, 4, self.segment_size)
        if self.sack_permitted:
            options += bytes((_SACK_PERMITTED, 2))
        if self.scale is not None:
            options += bytes((_SCALE, 3, self.scale))
        return options + bytes((_NOP,)) * (-len(options) % 4)


def _each(options: bytes) -> list[tuple[int, bytes]]:
    """Kind and value of each option, as far as the bytes make sense."""
    found = []
    at = 0
    while at < len(options) and options[at] != _END:
        if options[at] == _NOP:
            at += 1
            continue
        size = options[at + 1] if at + 1 < len(options) else 0
        if size < 2 or at + size > len(options):
            break
        found.append((options[at], options[at + 2 : at + size]))
        at += size
    return found


def decode_syn(options: bytes) -> SynOptions:
    segment_size = scale = None
    sack_permitted = False
    for kind, value in _each(options):
        if kind == _MSS and len(value) == 2:
            segment_size = int.from_bytes(value, "big")
        elif kind == _SCALE and len(value) == 1:
            scale = min(value[0], _LARGEST_SCALE)
        elif kind == _SACK_PERMITTED:
            sack_permitted = True
    return SynOptions(segment_size, scale, sack_permitted)


def decode_sack(options: bytes) -> list[tuple[int, int]]:
    """Blocks as numbers on the wire: first byte, and one past the last."""
    for kind, value in _each(options):
        if kind == _SACK:
            return [_unpack_block(value, at) for at in range(0, len(value) - 7, 8)]
    return []


def encode_sack(blocks: list[tuple[int, int]]) -> bytes:
    """Option with at most SACK_BLOCKS blocks of unbounded numbers."""
    body = b"".join(_pack_block(start & MASK, end & MASK) for start, end in blocks[:SACK_BLOCKS])
    return bytes((_NOP, _NOP, _SACK, 2 + len(body))) + body
