"""What a machine says that cannot call us: its events and kernel log, read through its API.

Both are told from where the last connection broke off. What Talos does not offer to our role is no error: nothing is
told then (maintenance mode up to 1.12).
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from nodeagent import errors
from nodeagent.client import NodeClient
from talos.gen.machine import machine_pb2

Events = Callable[[machine_pb2.Event], Awaitable[None]]
Lines = Callable[[list[bytes]], Awaitable[None]]

LINE_LIMIT = 16 * 1024
"""Bytes of a line that are kept, as of one that a machine sends by itself."""

_LINE = re.compile(rb"(\w+):\s*(\w+): \[([^\]]{20,40})\]: ?(.*)", re.DOTALL)
_LEVELS = {"emerg": "error", "alert": "error", "crit": "error", "err": "error", "warning": "warn", "debug": "debug"}

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Overhearing:
    """One machine over many connections. `new` tells whether nothing that it said is known yet: if so, it is heard from
    its boot on. `last_line` is the machine's time of the last log line that is known."""

    def __init__(self, new: bool, last_line: datetime | None = None) -> None:
        self._new = new
        self._last_event = ""  # ids sort by time
        self._last_line = last_line or _LONG_AGO

    async def events(self, client: NodeClient, take: Events) -> None:
        """Follow events until the connection breaks. Raises `errors.NodeError`."""
        behind = self._last_event
        tail = -1 if self._new or behind else 0
        async with aclosing(_offered(client.events(tail=tail))) as events:
            async for event in events:
                if event.id > behind:
                    self._last_event = event.id
                    await take(event)

    async def log(self, client: NodeClient, take: Lines) -> None:
        """Follow the kernel log until the connection breaks; lines are told as machines send them by themselves, as
        JSON. Raises `errors.NodeError`."""
        behind = self._last_line
        async with aclosing(_offered(client.dmesg(follow=True))) as lines:
            async for line in lines:
                at, told = as_json(line)
                if at is None or at > behind:
                    self._last_line = at or self._last_line
                    await take([told])


async def _offered(stream: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
    """A stream that never ends without an error, and says nothing where the machine does not offer it."""
    try:
        async with aclosing(stream):
            async for item in stream:
                yield item
    except (errors.Denied, errors.Unsupported):
        pass
    await asyncio.Event().wait()


def as_json(line: bytes) -> tuple[datetime | None, bytes]:
    """The time of a line of Dmesg (`kern:   info: [2026-01-02T03:04:05.678Z]: text`), and the line as JSON with what it
    says. A line of another form is told as it is; of a long one its beginning, and always one line."""
    line = line.rstrip(b"\n")[:LINE_LIMIT].replace(b"\n", b" ")
    match = _LINE.fullmatch(line)
    if match is None:
        return None, line
    facility, priority, stamp, text = (part.decode(errors="replace") for part in match.groups())
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return None, line
    fields = {
        "facility": facility,
        "msg": text,
        "priority": priority,
        "talos-level": _LEVELS.get(priority, "info"),
        "talos-time": stamp,
    }
    return at if at.tzinfo else at.replace(tzinfo=UTC), json.dumps(fields, ensure_ascii=False).encode()
