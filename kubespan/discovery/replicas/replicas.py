"""Several processes that serve the same clusters: each has a copy of everything, one of them orders a cluster's writes.

**Order.** A write goes to the owner of its cluster (`owners.py`), which applies it, sends everybody the affiliate as it
then is, and answers when all who serve have it. So what was acknowledged is known to each of them, and watchers are
told the same in the same order wherever they are. Reading is local.

**Who owns is not agreed upon.** For a moment, or while the network is split, two processes may order writes of one
cluster. So a record says what it follows. One that follows what is here takes its place; any other is merged with it
(`merge.py`), and if more came out than was received, everybody is told. Nothing is lost in either case.

**Coming and going.** Two processes that find each other exchange copies of what they have, and merge them. One that
starts makes the copy of those that serve its own, and serves afterwards. When one is gone, its clusters have other
owners at once, and requests that it left unanswered are ordered again, which does no harm. All that can keep a write
waiting is a process that hangs, until it counts as gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import TypeVar

from google.protobuf.message import DecodeError

from kubespan.discovery import entries, records
from kubespan.discovery.core import Discovery
from kubespan.discovery.limits import Refused
from kubespan.discovery.records import Record
from kubespan.discovery.replicas.frames import (
    CONFIRM,
    MERGED,
    NUMBER,
    RECORD_HEAD,
    REQUEST_HEAD,
    TELL,
    TIME,
    Kind,
    ProtocolError,
    frame,
)
from kubespan.discovery.replicas.link import Link, Spread
from kubespan.discovery.replicas.meeting import Meeting
from kubespan.discovery.replicas.merge import Known, form, merge
from kubespan.discovery.replicas.owners import owner
from kubespan.discovery.replicas.places import Neighbours
from kubespan.discovery.state import Affiliate, Change
from talos.gen.sidero import discovery_pb2 as pb

LOOK_FOR_OWNER_SECONDS = 12.0
"""That a write is given to others. Each takes at most twice `meeting.SILENCE`, so that all is done within 25 s."""

SETTLE_SECONDS = 120.0
"""That a start waits for copies."""

GRAVE_SLACK = 1.0
"""Seconds by which two processes may differ in when one affiliate ends."""

SLICE = 64
"""Affiliates of a copy that are sent in one go."""

Request = pb.AffiliateUpdateRequest | pb.AffiliateDeleteRequest
Key = tuple[str, str]
"""Ids of a cluster and of an affiliate."""

Item = TypeVar("Item")


class Replicas:
    """This process among the others: the `Orderer` of its `Discovery`."""

    def __init__(self, core: Discovery, name: str, neighbours: Neighbours) -> None:
        """`name` is for people. To be made before `core` starts, and set as its `orderer`."""
        self.meeting = Meeting(name, neighbours, self)
        self.merged = 0
        self._core = core
        self._number = 0
        self._change: tuple[bytes, Change] | None = None
        self._graves: dict[Key, float] = {}  # until when a deletion counts
        self._taken: set[Key] | None = set()  # while starting: what those that serve have told of
        self._taught = False
        core.listeners.append(self._changed)

    async def start(self) -> None:
        """Find the others, and take over what they have. Raises OSError when nothing can be listened on."""
        await self.meeting.open()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self.meeting.look()
                while waits := [link for link in self.meeting.links.values() if not link.copied]:
                    await waits[0].settled.wait()
                    if not waits[0].copied:
                        await self.meeting.look()
        self._taught = any(link.teaches and link.copied for link in self.meeting.links.values())
        if self._taught:
            await self._forget_what_is_gone()
        self._taken = None
        self.meeting.serve()

    async def update(self, request: pb.AffiliateUpdateRequest) -> None:
        """Have the owner of the cluster order an update. Raises Refused."""
        await self._order(request)

    async def delete(self, request: pb.AffiliateDeleteRequest) -> None:
        """The same for a deletion."""
        await self._order(request)

    async def stop(self) -> None:
        """Leave the others."""
        await self.meeting.close()

    # Writes.

    async def _order(self, request: Request) -> None:
        began = time.monotonic()
        deletes = isinstance(request, pb.AffiliateDeleteRequest)
        while time.monotonic() - began < LOOK_FOR_OWNER_SECONDS:
            link = self.meeting.links.get(self._owner(request.cluster_id))
            if link is None:
                break
            if await link.ask(deletes, request.SerializeToString()):
                return
        spread: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._write(request, None, lambda: None if spread.done() else spread.set_result(None))
        await spread

    def _owner(self, cluster_id: str) -> int:
        return owner(cluster_id, [self.meeting.id, *[one.id for one in self.meeting.links.values() if one.serving]])

    def _write(self, request: Request, asker: Link | None, done: Callable[[], object]) -> None:
        """Apply a request; `done` is called when all who serve have what came of it, but for the one that asked.

        Raises Refused; what was taken of the request is told none the less.
        """
        key, now, self._change = (request.cluster_id, request.affiliate_id), self._core.clock(), None
        affiliate = self._affiliate(key)
        follows, expires = (form(affiliate.entry), affiliate.expires) if affiliate else (0, now)
        counts = 0.0
        spread = Spread(self._number + 1, done)
        try:
            if isinstance(request, pb.AffiliateUpdateRequest):
                self._graves.pop(key, None)
                self._core.update(request)
            elif self._core.delete(request) is Change.DELETED:
                counts = max(0.0, expires - now) + GRAVE_SLACK
                self._bury(key, now + counts)
        finally:
            if self._change is not None:
                record, change = self._change
                flags = 0 if change is Change.REFRESHED else TELL
                self._number += 1
                frames: dict[int, bytes] = {}
                for link in self.meeting.links.values():
                    waits = link.serving and link is not asker
                    bits = flags | CONFIRM if waits else flags
                    if bits not in frames:
                        frames[bits] = self._frame(now, follows, bits, counts, record)
                    link.send(frames[bits])
                    if waits:
                        link.spread(spread)
        spread.confirmed()

    def _changed(self, cluster_id: str, affiliate_id: str, record: bytes, change: Change) -> None:
        self._change = record, change

    def _frame(self, now: float, follows: int, flags: int, counts: float, record: bytes) -> bytes:
        return frame(Kind.RECORD, RECORD_HEAD.pack(now, self._number, follows, flags, counts), record)

    # What others say (`meeting.Host`).

    async def linked(self, link: Link) -> None:
        """Send what is here, unless the other one knows better."""
        with contextlib.suppress(OSError):
            await link.send_copy(() if link.teaches else self._copy())

    def hear(self, link: Link, kind: Kind, payload: bytes) -> None:
        """Raises ValueError when it is not what was agreed upon."""
        match kind:
            case Kind.RECORD:
                self._ordered(link, payload)
            case Kind.HAVE:
                link.confirmed(*NUMBER.unpack(payload))
            case Kind.REQUEST:
                self._requested(link, payload)
            case Kind.ANSWER:
                link.answered(NUMBER.unpack_from(payload)[0], payload[NUMBER.size :].decode())
            case Kind.COPY:
                at = self._when(link, *TIME.unpack_from(payload))
                for record in _records(payload[TIME.size :]):
                    self._copied(link, at, record, 0.0)
            case Kind.GRAVES:
                at = self._when(link, *TIME.unpack_from(payload))
                for record in _records(payload[TIME.size :]):
                    self._copied(link, at, Record(record.cluster_id, record.affiliate_id), record.ttl or 0.0)
            case Kind.ALIVE:
                self._when(link, *TIME.unpack(payload))
            case Kind.COPIED:
                link.copied = True
                link.settled.set()
            case Kind.SERVING:
                link.serving = True

    def alive(self) -> bytes:
        """It says what time it is here."""
        return frame(Kind.ALIVE, TIME.pack(self._core.clock()))

    def _when(self, link: Link, said: float) -> float:
        return link.when(said, self._core.clock())

    def _requested(self, link: Link, payload: bytes) -> None:
        number, deletes = REQUEST_HEAD.unpack_from(payload)
        request: Request = pb.AffiliateDeleteRequest() if deletes else pb.AffiliateUpdateRequest()
        try:
            request.ParseFromString(payload[REQUEST_HEAD.size :])
        except DecodeError as error:
            raise ProtocolError("it passes on what is no request") from error
        answer = NUMBER.pack(number)
        try:
            self._write(request, link, lambda: link.send(frame(Kind.ANSWER, answer)))
        except Refused as refused:
            link.send(frame(Kind.ANSWER, answer, f"{refused.code} {refused.text}".encode()))

    def _ordered(self, link: Link, payload: bytes) -> None:
        said, number, follows, flags, counts = RECORD_HEAD.unpack_from(payload)
        at = self._when(link, said)
        for record in _records(payload[RECORD_HEAD.size :]):
            affiliate = self._affiliate((record.cluster_id, record.affiliate_id))
            if self._is_first(record) or follows == (form(affiliate.entry) if affiliate else 0):
                self._put(at, record, counts, tell=bool(flags & TELL))
            elif self._merge(at, record, counts) and self._taken is None and not flags & MERGED:
                self._tell_merged(record)
        if flags & CONFIRM:
            link.have(number)

    def _tell_merged(self, heard: Record) -> None:
        """Tell everybody what came of a record and of what was here, which was more."""
        key, now = (heard.cluster_id, heard.affiliate_id), self._core.clock()
        endpoints = [endpoint for endpoint, _ in heard.endpoints]
        follows = 0 if heard.ttl is None else form(entries.encode(heard.affiliate_id, heard.data, endpoints))
        counts = max(0.0, self._graves.get(key, 0.0) - now)
        self._number += 1
        self.meeting.send(self._frame(now, follows, TELL | MERGED, counts, self._core.state.record(now, *key)))

    def _copied(self, link: Link, at: float, record: Record, counts: float) -> None:
        """Another process has this. What one says that serves takes the place of files, of ours and of others'."""
        if link.teaches and self._is_first(record):
            self._put(at, record, counts)
        elif not (link.starts and self._is_taught(record)):
            self._merge(at, record, counts)

    def _is_taught(self, record: Record) -> bool:
        """Whether an affiliate, or its absence, is known here from one that served when this process started."""
        return self._taught if self._taken is None else (record.cluster_id, record.affiliate_id) in self._taken

    def _is_first(self, record: Record) -> bool:
        """Whether this process starts, and hears of an affiliate for the first time from one that serves."""
        key = (record.cluster_id, record.affiliate_id)
        if self._taken is None or key in self._taken:
            return False
        self._taken.add(key)
        return True

    def _put(self, at: float, record: Record, counts: float, *, tell: bool = False) -> None:
        self._bury((record.cluster_id, record.affiliate_id), at + counts if counts > 0 else -inf)
        self._core.state.put(at, record, tell=tell)

    def _merge(self, at: float, record: Record, counts: float) -> bool:
        """Make one of what is here and what was heard. Returns whether that is more than was heard."""
        self.merged += 1
        key, now = (record.cluster_id, record.affiliate_id), self._core.clock()
        heard = Known.heard(record, at, counts)
        both = merge(heard, Known.here(self._affiliate(key), now, self._graves.get(key, -inf)))
        self._bury(key, both.dead)
        self._core.state.put(now, both.record(*key, now))
        return both.content != heard.content

    # Everything.

    def _copy(self) -> Iterator[tuple[Kind, bytes]]:
        for graves in _slices(list(self._graves.items())):
            now = self._core.clock()
            gone = b"".join(records.encode(Record(*key, ttl=until - now)) for key, until in graves)
            yield Kind.GRAVES, TIME.pack(now) + gone
        now, parts, count = self._core.clock(), list[bytes](), 0
        for cluster_id in self._core.state.cluster_ids():
            cluster = self._core.state.cluster(cluster_id)
            for affiliates in _slices(list(cluster.affiliates.values()) if cluster else []):
                parts.append(records.cluster(cluster_id, [affiliate.record(now) for affiliate in affiliates]))
                count += len(affiliates)
                if count >= SLICE:
                    yield Kind.COPY, TIME.pack(now) + b"".join(parts)
                    now, parts, count = self._core.clock(), [], 0
        yield Kind.COPY, TIME.pack(now) + b"".join(parts)

    async def _forget_what_is_gone(self) -> None:
        """Drop what came from our files and nobody who serves has told of."""
        assert self._taken is not None, "this process starts"
        for cluster_id in self._core.state.cluster_ids():
            cluster = self._core.state.cluster(cluster_id)
            for affiliate_id in list(cluster.affiliates if cluster else []):
                if (cluster_id, affiliate_id) not in self._taken:
                    self._core.put(Record(cluster_id, affiliate_id))
            await asyncio.sleep(0)

    def _bury(self, key: Key, until: float) -> None:
        """Remember until when a deletion counts, and forget those that do not any more."""
        now = self._core.clock()
        self._graves.pop(key, None)
        if until > now:
            self._graves[key] = until
        while self._graves and (oldest := next(iter(self._graves.items())))[1] < now:
            del self._graves[oldest[0]]

    def _affiliate(self, key: Key) -> Affiliate | None:
        cluster = self._core.state.cluster(key[0])
        return cluster.affiliates.get(key[1]) if cluster else None


def _records(stream: bytes) -> Iterator[Record]:
    """Of what another process sent. Raises ValueError."""
    try:
        for message in records.messages(io.BytesIO(stream)):
            yield from records.decode(message)
    except records.Damaged as damaged:
        raise ProtocolError(f"it sends records that are damaged: {damaged}") from damaged


def _slices(items: list[Item]) -> Iterable[list[Item]]:
    return (items[at : at + SLICE] for at in range(0, len(items), SLICE))
