"""Keys of rows: UUID version 7, so that an index grows at its end and an id tells its age."""

import os
import threading
import time
from uuid import UUID

_TICK = 245
"""Nanoseconds after which an id is another one in its fraction of a millisecond."""

_last = 0
_one_at_a_time = threading.Lock()


def uuid7() -> UUID:
    """A new id that sorts behind those made before it in this process, and behind older ones of others.

    RFC 9562, sections 5.7 and 6.2 (method 3): 48 bits of Unix milliseconds, 12 of their fraction, 62 random bits. When
    the clock is set back, the time of the last id goes on until the clock has passed it.
    """
    global _last
    with _one_at_a_time:
        _last = now = max(time.time_ns(), _last + _TICK)
    milliseconds, rest = divmod(now, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8), "big") >> 2
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random)
