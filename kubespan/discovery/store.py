"""What the service knows, on disk: a snapshot now and then, and a journal of every change since.

The snapshot is in the format of Sidero's service (`records.py`), so either reads what the other wrote. A change is in
the journal before its caller has an answer. It is not forced to the disk: what was acknowledged outlives the process,
not the loss of power. Beside the snapshot `PATH` there are

    PATH.journal.N      changes, in the order of N; all that are there are read after the snapshot
    PATH.tmp            the next snapshot, while it is written
    PATH.damaged, PATH.journal.damaged      the last files of which a part could not be read
    PATH.lock           held by the process that uses them

A new journal is begun before a snapshot is taken, and older ones go when the snapshot is in its place. So at any moment
the files together hold every change.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from kubespan.discovery import records
from kubespan.discovery.records import Damaged, Record
from kubespan.discovery.state import State

INTERVAL = 600.0
"""Seconds between snapshots."""

RETRY = 30.0
"""Seconds until what could not be written is tried again."""

LAST = 10.0
"""Seconds that the last snapshot may take; without it the journal is there."""

JOURNAL_BYTES = 64 * 1024 * 1024
"""A journal that is longer, and longer than two snapshots, has a snapshot taken early."""

GATHER_SECONDS = 0.001
"""Between writes of the journal: one costs as much as all else that is done for a change."""

RECORD_BYTES = 64 * 1024
"""Of a message of a journal; the largest affiliate has about 6,000."""

SLICE_SECONDS = 0.005
_CHUNK = 1024 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """A load or a save, as metrics show it."""

    clusters: int
    affiliates: int
    endpoints: int
    seconds: float
    size: int


class Store:
    """The files of one service. `done` and `operations` are for metrics: the last ones, and how they ended so far."""

    def __init__(self, path: Path, interval: float = INTERVAL) -> None:
        self._path, self._interval = path, interval
        self._lock: IO[bytes] | None = None
        self._journal: int | None = None  # file descriptor; none while changes cannot be kept
        self._number = 0
        self._length = 0
        self._gathered: list[bytes] = []
        self._gather_until = 0.0
        self._waiting: list[asyncio.Future[None]] = []
        self._snapshot_bytes = 0
        self._due = asyncio.Event()
        self._saving = asyncio.Lock()
        self.done: dict[str, Done] = {}
        self.operations: Counter[tuple[str, str]] = Counter()

    # Starting.

    async def load(self, put: Callable[[Record], object]) -> None:
        """Give everything that was kept, and begin to keep changes. What is damaged is used as far as it is whole.

        Raises OSError when files cannot be read or written, or another process uses them.
        """
        began = time.perf_counter()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._with(".lock"))
        self._with(".tmp").unlink(missing_ok=True)
        count = Counter[str]()
        clusters = set[str]()

        async def read(path: Path, aside: str, most: int) -> None:
            with path.open("rb") as file:
                async for record in _records(file, path, lambda: _keep(path, self._with(aside)), most):
                    put(record)
                    clusters.add(record.cluster_id)
                    count["affiliates"] += 1
                    count["endpoints"] += len(record.endpoints)
                count["bytes"] += file.tell()

        try:
            if self._path.exists():
                await read(self._path, ".damaged", records.CLUSTER_BYTES)
                self._snapshot_bytes = count["bytes"]
            journals = self._journals()
            for number in journals:
                await read(self._journal_path(number), ".journal.damaged", RECORD_BYTES)
            self._number = max(journals, default=0) + 1
            self._journal = _appended(self._journal_path(self._number))
        except BaseException:
            self.operations["load", "error"] += 1
            self.let_go()
            raise
        if journals:  # they were not ended by a snapshot
            self._due.set()
        seconds = time.perf_counter() - began
        self.operations["load", "success"] += 1
        self.done["load"] = Done(len(clusters), count["affiliates"], count["endpoints"], seconds, count["bytes"])
        log.info("loaded %d records of %d clusters in %.2f s", count["affiliates"], len(clusters), seconds)

    # Running.

    def append(self, record: bytes) -> None:
        """Keep a change, at once or soon: `kept` says when. Those that follow closely are written together."""
        if self._journal is None:
            return
        if not self._gathered:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._gather_until:
                self._gather_until = loop.time() + GATHER_SECONDS
                self._keep(self._journal, record)
                return
            loop.call_at(self._gather_until, self.flush)
        self._gathered.append(record)

    async def kept(self) -> None:
        """Return when all changes so far outlive this process, or cannot be kept."""
        if self._gathered:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    def flush(self) -> None:
        """Write the changes that were gathered. When they cannot be kept, the log says so, and a snapshot is tried."""
        gathered, self._gathered = b"".join(self._gathered), []
        if gathered and self._journal is not None:
            self._gather_until = asyncio.get_running_loop().time() + GATHER_SECONDS
            self._keep(self._journal, gathered)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def _keep(self, journal: int, changes: bytes) -> None:
        try:
            written = os.write(journal, changes)
            if written < len(changes):
                raise OSError(f"{written} of {len(changes)} bytes were written")
        except OSError as error:
            log.error("%s cannot be written; until it can, a crash loses changes: %s", self._path, error)
            with contextlib.suppress(OSError):
                os.ftruncate(journal, self._length)
            self._end_journal()
            self._due.set()
            return
        self._length += len(changes)
        if self._length > max(JOURNAL_BYTES, 2 * self._snapshot_bytes):
            self._due.set()

    async def run(self, state: State, clock: Callable[[], float]) -> None:
        """Save at each interval, and when there is reason to, until cancelled."""
        pause = self._interval
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), pause)
            self._due.clear()
            try:
                await self.save(state, clock)
                pause = self._interval
            except Exception as error:
                known = isinstance(error, OSError)  # else it is a mistake of ours, and its place is wanted
                log.error("no snapshot was saved, another attempt follows: %s", error, exc_info=not known)
                pause = min(RETRY, self._interval)

    async def close(self, state: State, clock: Callable[[], float]) -> None:
        """Save once more, and let go of the files."""
        if self._lock is None:  # nothing was loaded: what is there is not ours to replace
            return
        try:
            await asyncio.wait_for(self.save(state, clock), LAST)
            self.flush()
            if not self._length:
                self._end_journal()
                self._journal_path(self._number).unlink(missing_ok=True)
        except (OSError, TimeoutError) as error:
            log.error("no last snapshot could be saved; the journal has what is missing: %s", error or "it took long")
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Close the files as they are."""
        self.flush()
        self._end_journal()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def save(self, state: State, clock: Callable[[], float]) -> None:
        """Write a snapshot, in slices between which others have their turn. Raises OSError; then all is as before."""
        async with self._saving:
            began = time.perf_counter()
            try:
                size = await self._write(state.snapshot(clock()))
            except BaseException:
                self.operations["save", "error"] += 1
                raise
            self._snapshot_bytes = size
            self.operations["save", "success"] += 1
            seconds = time.perf_counter() - began
            self.done["save"] = Done(state.clusters, state.affiliates, state.endpoints, seconds, size)

    async def _write(self, messages: Iterable[bytes]) -> int:
        self._rotate()
        temporary, size = self._with(".tmp"), 0
        with os.fdopen(_private(temporary, os.O_TRUNC), "wb") as file:
            async for chunk in _chunks(messages):
                await asyncio.to_thread(file.write, chunk)
                size += len(chunk)
            await asyncio.to_thread(_sync, file)
        temporary.replace(self._path)
        await asyncio.to_thread(_sync_folder, self._path.parent)
        for number in self._journals():
            if number < self._number:
                self._journal_path(number).unlink()
        return size

    # Files.

    def _with(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)

    def _journal_path(self, number: int) -> Path:
        return self._with(f".journal.{number}")

    def _journals(self) -> list[int]:
        """Numbers of the journals that there are."""
        prefix = self._path.name + ".journal."
        names = (path.name.removeprefix(prefix) for path in self._path.parent.iterdir() if path.name.startswith(prefix))
        return sorted(int(name) for name in names if name.isdecimal())

    def _rotate(self) -> None:
        """From now on changes go to a journal of their own, unless the one there is has none yet."""
        self.flush()
        if self._journal is not None and not self._length:
            return
        following = _appended(self._journal_path(self._number + 1))
        self._end_journal()
        self._journal, self._number, self._length = following, self._number + 1, 0

    def _end_journal(self) -> None:
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None


def _locked(path: Path) -> IO[bytes]:
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise OSError(
            error.errno, "another discovery service uses this file; give each one its own", str(path)
        ) from None
    return file


def _appended(path: Path) -> int:
    return _private(path, os.O_APPEND)


def _private(path: Path, flag: int) -> int:
    """A file to write, for its owner alone: who knows a cluster's id may delete what its nodes have published."""
    return os.open(path, flag | os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep(path: Path, aside: Path) -> None:
    """Leave a damaged file under another name, too."""
    aside.unlink(missing_ok=True)
    os.link(path, aside)


async def _records(file: BinaryIO, path: Path, damaged: Callable[[], None], most: int) -> AsyncIterator[Record]:
    """What is whole of a file, in slices of time."""
    until = time.perf_counter() + SLICE_SECONDS
    unread = 0
    try:
        for message in records.messages(file, most=most):
            try:
                for record in records.decode(message):
                    yield record
                    if time.perf_counter() > until:
                        await asyncio.sleep(0)
                        until = time.perf_counter() + SLICE_SECONDS
            except ValueError:
                unread += 1
    except Damaged as damage:
        damaged()
        log.error("%s is damaged: %s; what is whole of it is used, and the file is kept aside", path, damage)
    if unread:
        damaged()
        log.error(
            "%s is damaged: %d of its parts cannot be read; the rest is used, the file is kept aside", path, unread
        )


async def _chunks(messages: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Messages in pieces to be written, made in slices of time."""
    pieces, size = list[bytes](), 0
    until = time.perf_counter() + SLICE_SECONDS
    for message in messages:
        if message:
            pieces.append(message)
            size += len(message)
        if size >= _CHUNK:
            yield b"".join(pieces)
            pieces, size = [], 0
            until = time.perf_counter() + SLICE_SECONDS
        elif time.perf_counter() > until:
            await asyncio.sleep(0)
            until = time.perf_counter() + SLICE_SECONDS
    yield b"".join(pieces)
