"""Streams to all other processes: found, greeted, one to each, kept while there are signs of life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Coroutine
from typing import Any, Protocol

from kubespan.discovery.replicas.frames import Greeting, Kind, frame
from kubespan.discovery.replicas.link import GREETING_SECONDS, Link, Stream, choose, chosen, greet
from kubespan.discovery.replicas.places import Neighbours

BEAT = 1.0
"""Seconds between signs of life, and between looks for processes that were not there."""

SILENCE = 6.0
"""Seconds after which a process that says nothing, or confirms nothing, counts as gone."""

CLOSE_SECONDS = 2.0

log = logging.getLogger(__name__)


class Host(Protocol):
    """Who talks over the streams."""

    async def linked(self, link: Link) -> None:
        """A process was found. What is sent to everybody is sent to it from now on."""

    def alive(self) -> bytes:
        """The frame that is a sign of life."""

    def hear(self, link: Link, kind: Kind, payload: bytes) -> None:
        """It says something. Raises ValueError to end the stream."""


class Meeting:
    """The processes that this one is linked with, by the id of each."""

    def __init__(self, name: str, neighbours: Neighbours, host: Host) -> None:
        self.id, self.name = secrets.randbits(63) + 1, name
        self.links: dict[int, Link] = {}
        self.serving = False
        self._neighbours, self._host = neighbours, host
        self._found: dict[str, int] = {}  # who was where, when it was last looked
        self._dialling: set[str] = set()
        self._came = asyncio.Event()  # wakes those who wait for a link
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Let others find this process. Raises OSError."""
        await self._neighbours.listen(self._accept)
        self._spawn(self._beat())

    async def look(self) -> None:
        """Open streams to those who are not linked. Returns when each was greeted, or was not there."""
        greeted = []
        for place in await self._neighbours.places():
            if place not in self._dialling and not self._knows(self._found.get(place, 0)):
                self._dialling.add(place)
                done = asyncio.Event()
                self._spawn(self._dial(place, done))
                greeted.append(done.wait())
        await asyncio.gather(*greeted)

    def serve(self) -> None:
        """Say that clients are served here now, and keep the circle closed from now on."""
        self.serving = True
        self.send(frame(Kind.SERVING))
        self._spawn(self._look_always())

    def send(self, data: bytes) -> None:
        """Send everybody a frame."""
        for link in self.links.values():
            link.send(data)

    async def close(self) -> None:
        """Leave: the others take over at once."""
        self.serving = False
        await self._neighbours.close()
        await asyncio.gather(*(link.close(CLOSE_SECONDS) for link in self.links.values()))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _knows(self, who: int) -> bool:
        return who == self.id or who in self.links

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Returns when the stream has ended."""
        task = asyncio.ensure_future(self._talk((reader, writer), str(writer.get_extra_info("peername")), None))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait([task])

    async def _dial(self, place: str, greeted: asyncio.Event) -> None:
        try:
            stream = await self._neighbours.connect(place)
            await self._talk(stream, place, greeted)
        except (OSError, ValueError) as error:
            log.debug("%s is not there: %s", place, error)
        finally:
            self._dialling.discard(place)
            greeted.set()

    async def _talk(self, stream: Stream, where: str, greeted: asyncio.Event | None) -> None:
        """Until the stream ends. `greeted` is of a stream that this process has opened."""
        mine = Greeting(self.id, self.name, self.serving)
        link: Link | None = None
        try:
            theirs = await greet(stream, mine)
            if greeted:
                self._found[where] = theirs.id
                self._dialling.discard(where)
            if await self._chosen(stream, theirs.id):
                link = self._link(Link(stream, theirs, mine))
                link.send(self._host.alive())
                if self.serving and not mine.serving:
                    link.send(frame(Kind.SERVING))
                self._spawn(self._host.linked(link))
            if greeted:
                await self._until_linked(theirs.id)
                greeted.set()
            if link is not None:
                await link.run(self._host.hear)
        except (OSError, ValueError) as error:
            log.warning("the stream with %s is over: %s", link.name if link else where, str(error) or "it is silent")
        finally:
            stream[1].transport.abort()
            if link is not None:
                self._unlink(link)

    async def _chosen(self, stream: Stream, who: int) -> bool:
        """Whether a stream is used: it is not one to this process itself, and not one too many.

        Both ends may have opened one at the same time, so one of them chooses: that with the lesser id.
        """
        if self.id > who:
            return await chosen(stream)
        other = self.links.get(who)
        if self.id == who or (other is not None and time.monotonic() - other.heard_at < 3 * BEAT):
            return False
        choose(stream)
        return True

    async def _until_linked(self, who: int) -> None:
        """Where another stream was chosen, that one may take a moment longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GREETING_SECONDS):
                while not self._knows(who):
                    await self._came.wait()

    def _link(self, link: Link) -> Link:
        if link.id in self.links:
            self._unlink(self.links[link.id])
        self.links[link.id] = link
        self._came.set()
        self._came.clear()
        log.info("linked with discovery service %s", link.name)
        return link

    def _unlink(self, link: Link) -> None:
        if self.links.get(link.id) is link:
            del self.links[link.id]
            log.info("discovery service %s is gone", link.name)
        link.end()

    async def _beat(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(BEAT)
            now = time.monotonic()
            away, last = now - last > 2 * BEAT, now
            for link in list(self.links.values()):
                link.drift()
                link.send(self._host.alive())
                if away:
                    link.heard_at = now  # it was this process that was not there
                elif now - min(link.heard_at, link.unconfirmed_since(now)) > SILENCE:
                    log.warning("discovery service %s has not answered for %.0f s", link.name, SILENCE)
                    self._unlink(link)

    async def _look_always(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            with contextlib.suppress(OSError):
                await self.look()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
