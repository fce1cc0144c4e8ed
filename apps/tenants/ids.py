"""Keys of rows: UUID version 7, so that an index grows at its end and an id tells its age."""

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """A new time-ordered id (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)
