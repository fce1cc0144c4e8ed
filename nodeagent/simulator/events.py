"""Events of one boot: the ring that the Events call reads, and the client that pushes it to the event sink."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from nodeagent.simulator.unarygrpc import CallError, UnaryChannel
from talos.gen.sidero import events_pb2

log = logging.getLogger(__name__)

KEPT = 990
"""Events a machine keeps: a ring of 1000 with a safety gap of 10."""

SINK_URL_PREFIX = "type.googleapis.com/"
API_URL_PREFIX = "talos/runtime/"
PUBLISH = "/events.EventSinkService/Publish"

_BASE32HEX = "0123456789abcdefghijklmnopqrstuv"


class _IdentitySource:
    """xids: 4 bytes of Unix seconds, 5 that name the process, 3 that count; 20 characters that sort by time."""

    def __init__(self) -> None:
        self._process = os.urandom(5)
        self._count = secrets.randbelow(1 << 24)
        self._lock = threading.Lock()

    def next(self) -> str:
        with self._lock:
            self._count = (self._count + 1) % (1 << 24)
            raw = int(time.time()).to_bytes(4, "big") + self._process + self._count.to_bytes(3, "big")
        number = int.from_bytes(raw, "big") << 4
        return "".join(_BASE32HEX[number >> shift & 31] for shift in range(95, -1, -5))


_identities = _IdentitySource()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `number` counts from 1 in this boot; `at` is Unix seconds."""

    number: int
    id: str
    actor_id: str
    payload: Message
    at: float

    def packed(self, url_prefix: str) -> Any:
        return Any(type_url=url_prefix + self.payload.DESCRIPTOR.full_name, value=self.payload.SerializeToString())


class EventLog:
    """The ring."""

    def __init__(self) -> None:
        self._ring: deque[Event] = deque(maxlen=KEPT)
        self._last = 0
        self._changed = asyncio.Event()

    @property
    def last(self) -> int:
        """Number of the newest event, 0 before the first."""
        return self._last

    def publish(self, payload: Message, actor_id: str = "") -> None:
        self._last += 1
        self._ring.append(Event(self._last, _identities.next(), actor_id, payload, time.time()))
        self._changed.set()
        self._changed = asyncio.Event()

    def stored(self) -> list[Event]:
        """Oldest first."""
        return list(self._ring)

    async def after(self, number: int) -> list[Event]:
        """Events behind `number`, at least one; those that the ring lost are missing."""
        while number >= self._last:
            await self._changed.wait()
        return [event for event in self._ring if event.number > number]


Connect = Callable[[], Awaitable[UnaryChannel]]


class Pusher:
    """Pushes the events of a log to a sink, in order, each until it is acknowledged; remembers how far it came.

    `backoff` gives the seconds to wait after so many failures in a row.
    """

    def __init__(self, events: EventLog, backoff: Callable[[int], float]) -> None:
        self._events, self._backoff = events, backoff
        self._sent = 0

    async def run(self, connect: Connect) -> None:
        """Ends only by cancellation."""
        channel: UnaryChannel | None = None
        failures = 0
        try:
            while True:
                event = (await self._events.after(self._sent))[0]
                try:
                    channel = channel or await connect()
                    request = events_pb2.EventRequest(
                        data=event.packed(SINK_URL_PREFIX), id=event.id, actor_id=event.actor_id
                    )
                    await channel.call(PUBLISH, request, events_pb2.EventResponse)
                except (CallError, OSError) as error:
                    log.debug("event sink: %s", error)
                    if channel:
                        channel.close()
                    channel = None
                    failures += 1
                    await asyncio.sleep(self._backoff(failures))
                else:
                    failures = 0
                    self._sent = event.number
        finally:
            if channel:
                channel.close()
