"""Keys of rows: UUID version 7, so that an index grows at its end and an id tells its age."""

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """A new id that sorts behind those made before it in this process, and behind older ones of others.

    RFC 9562, sections 5.7 and 6.2 (method 3): 48 bits of Unix milliseconds, 12 of their fraction, 62 random bits.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8), "big") >> 2
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random)
