"""The kernel log of one boot, and the client that sends it as JSON lines."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

log = logging.getLogger(__name__)

KEPT = 2000
"""Lines in the kernel's ring buffer."""
RETRY = 1.0
"""Seconds before a failed connection is tried again."""
SEND_TIMEOUT = 5.0

_LEVELS = {"emerg": "error", "alert": "error", "crit": "error", "err": "error", "warning": "warn", "debug": "debug"}


@dataclass(frozen=True, slots=True)
class KernelMessage:
    """One record of /dev/kmsg. `clock` is microseconds since boot, `at` nanoseconds since 1970."""

    sequence: int
    clock: int
    at: int
    facility: str
    priority: str
    text: str

    @property
    def timestamp(self) -> str:
        """RFC 3339 in UTC, to the nanosecond, without trailing zeroes."""
        moment = datetime.fromtimestamp(self.at // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        fraction = f"{self.at % 1_000_000_000:09d}".rstrip("0")
        return f"{moment}.{fraction}Z" if fraction else f"{moment}Z"

    def json_line(self) -> bytes:
        """As the kernel log receiver gets it: one compact object with sorted keys, and a line end."""
        record = {
            "clock": self.clock,
            "facility": self.facility,
            "msg": self.text + "\n",
            "priority": self.priority,
            "seq": self.sequence,
            "talos-level": _LEVELS.get(self.priority, "info"),
            "talos-time": self.timestamp,
        }
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        for character in "<>&\u2028\u2029":  # Go's encoder escapes these
            text = text.replace(character, f"\\u{ord(character):04x}")
        return text.encode() + b"\n"

    def dmesg_line(self) -> bytes:
        """As the Dmesg call shows it."""
        return f"{self.facility}: {self.priority:>7}: [{self.timestamp}]: {self.text}\n".encode()


class KernelLog:
    """The ring buffer, from this boot's first message on."""

    def __init__(self) -> None:
        self._ring: deque[KernelMessage] = deque(maxlen=KEPT)
        self._next = 0
        self._boot = time.monotonic_ns()
        self._changed = asyncio.Event()

    @property
    def next_sequence(self) -> int:
        return self._next

    def write(self, text: str, *, priority: str = "info", facility: str = "kern") -> None:
        clock = (time.monotonic_ns() - self._boot) // 1000
        self._ring.append(KernelMessage(self._next, clock, time.time_ns(), facility, priority, text))
        self._next += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def talos(self, text: str, *, priority: str = "warning") -> None:
        """A line that Talos itself logs into the kernel log."""
        self.write(f"[talos] {text}", priority=priority, facility="user")

    async def read(self, sequence: int = 0, *, follow: bool = True) -> AsyncIterator[KernelMessage]:
        """Messages from `sequence` on, then new ones."""
        while True:
            while sequence < self._next:
                for message in [message for message in self._ring if message.sequence >= sequence]:
                    yield message
                    sequence = message.sequence + 1
            if not follow:
                return
            await self._changed.wait()


Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Sender:
    """Sends lines over one connection, each until it is written; remembers how far it came."""

    def __init__(self, kernel_log: KernelLog) -> None:
        self._kernel_log = kernel_log
        self._next = 0

    async def run(self, dial: Dial) -> None:
        """Ends only by cancellation."""
        writer: asyncio.StreamWriter | None = None
        try:
            async for message in self._kernel_log.read(self._next):
                while self._next <= message.sequence:
                    try:
                        if writer is None:
                            _, writer = await dial()
                        writer.write(message.json_line())
                        async with asyncio.timeout(SEND_TIMEOUT):
                            await writer.drain()
                        self._next = message.sequence + 1
                    except OSError as error:
                        log.debug("kernel log receiver: %s", error)
                        if writer:
                            writer.close()
                        writer = None
                        await asyncio.sleep(RETRY)
        finally:
            if writer:
                writer.close()
