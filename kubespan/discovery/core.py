"""One discovery service of this process, by whatever ways its clients come (`service.Face`).

Its life: made, with faces added to servers; `start` loads the files, then calls are answered; `drain` sends clients
away gently; `close` writes the files. A process that is killed instead loses nothing that it has acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Protocol

from kubespan.discovery.counting import Calls
from kubespan.discovery.limits import Refused
from kubespan.discovery.records import Record
from kubespan.discovery.state import Affiliate, Change, State
from kubespan.discovery.watching import Room, Watch
from talos.gen.sidero import discovery_pb2 as pb

COLLECT_SECONDS = 60.0
"""Between looks for what has expired."""

SLICE_SECONDS = 0.005
"""That work on everything may take before calls have their turn."""

WAIT_SECONDS = 25.0
"""That a call waits for the service to be ready; nodes give an update 30 seconds."""

SETTLE_SECONDS, HOLD_SECONDS = 0.3, 0.5
"""How long no write has to come before servers are stopped, and how long answers of writes are then held back.

A call that reaches a grpcio server in the moment in which it is stopped is lost, and would stop a node's watching. So
in that moment whoever writes has an answer to wait for. It arrives after the server's goodbye.
"""

log = logging.getLogger(__name__)


class Orderer(Protocol):
    """Who brings writes into one order. A service alone does it by itself (`Alone`); several agree on who does.

    It applies a write with `Discovery.update` or `Discovery.delete`, or hears of what came of it elsewhere and does
    `Discovery.put`. In each case the service's listeners have been told when that returns.
    """

    async def start(self) -> None:
        """The files are loaded, and nothing is served until this returns."""

    async def update(self, request: pb.AffiliateUpdateRequest) -> None:
        """Have a request, which was checked, take its effect. When it returns, the effect is seen here.

        Raises Refused. For what may be better in a moment it waits instead: an update that fails stops a node's
        watching for up to 15 minutes.
        """

    async def delete(self, request: pb.AffiliateDeleteRequest) -> None:
        """The same for a deletion."""

    async def stop(self) -> None:
        """No call is under way any more, nor will be."""


Told = Callable[[str, str, bytes, Change], None]
"""Hears of each change, refreshed ones too, in their order and before who made it has an answer.

Called with the ids of cluster and affiliate, the affiliate's record as it is now (a message of a stream of records,
`records.py`), and what happened. It returns soon and changes nothing.
"""


class Files(Protocol):
    """Where what is known survives the process (`store.Store`)."""

    def append(self, record: bytes) -> None:
        """Keep a change, soon."""

    async def kept(self) -> None:
        """Return when all changes so far outlive this process."""

    async def load(self, put: Callable[[Record], object]) -> None:
        """Give everything that was kept, in order; a record takes the place of an earlier one of its affiliate."""

    async def run(self, state: State, clock: Callable[[], float]) -> None:
        """Write snapshots until cancelled."""

    async def close(self, state: State, clock: Callable[[], float]) -> None:
        """Write the last snapshot, if they were loaded, and let go of them."""

    def let_go(self) -> None:
        """Leave them as they are, to be loaded again."""


class Discovery:
    """The service. `orderer` may be replaced, and `listeners` be added to, before `start`.

    `clock` gives seconds and only runs forward: what the world's clock does has no effect on what expires.
    """

    def __init__(
        self,
        files: Files | None = None,
        *,
        collect_every: float = COLLECT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.state = State(self._changed)
        self.orderer: Orderer = Alone(self)
        self.listeners: list[Told] = []
        self.calls = Calls()
        self.room = Room()
        self.collections = 0
        self._files = files
        self._keeping: Files | None = None  # once they are loaded
        self._collect_every = collect_every
        self._ready = asyncio.Event()
        self._draining = False
        self._writes = self._written = 0
        self._quiet = asyncio.Event()
        self._answering = asyncio.Event()
        self._answering.set()
        self._watches: set[Watch] = set()
        self._tasks: list[asyncio.Task[None]] = []

    # Its life.

    @property
    def ready(self) -> bool:
        """Whether clients that come are served."""
        return self._ready.is_set() and not self._draining

    async def start(self) -> None:
        """Load what was kept, then serve. Raises OSError when files cannot be used, and what the orderer raises.

        It may be tried again then.
        """
        try:
            if self._files is not None:
                await self._files.load(lambda record: self.state.put(self.clock(), record))
                self._keeping = self._files
            await self.orderer.start()
            await self.collect()
        except BaseException:
            if self._keeping is not None:
                self._keeping.let_go()
                self._keeping = None
            raise
        self._ready.set()
        self._tasks.append(asyncio.create_task(self._collect_always(), name="discovery: collect"))
        if self._files is not None:
            self._tasks.append(asyncio.create_task(self._files.run(self.state, self.clock), name="discovery: save"))

    async def drain(self, seconds: float = 10.0) -> None:
        """Have clients go elsewhere, as gently as it can be done.

        New ones are turned away where they try again soon, updates under way have so many seconds, then watches end.
        Right afterwards the servers that faces were added to are stopped, with `grace` for the answers that are held
        back: `HOLD_SECONDS` and more. What carries their connections has to last as long.
        """
        self._draining = True
        if self._writes:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), seconds)
        for watch in self._watches:
            watch.end()
        self._answering.clear()
        for _ in range(10):
            written = self._written
            await asyncio.sleep(SETTLE_SECONDS)
            if written == self._written:
                break
        asyncio.get_running_loop().call_later(HOLD_SECONDS, self._answering.set)

    async def close(self) -> None:
        """Stop, with everything written. Servers have stopped by now."""
        self._draining = True
        self._ready.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.orderer.stop()
        if self._keeping is not None:
            await self._keeping.close(self.state, self.clock)
            self._keeping = None

    # What faces ask for. Requests were checked.

    async def admit(self, *, begins: bool) -> None:
        """Wait until calls are answered. One that `begins` a client's stay is refused where it had better go elsewhere.

        Raises Refused.
        """
        if begins and not self.ready:
            raise Refused("UNAVAILABLE", "the discovery service is starting or stopping; try again")
        if not self._ready.is_set():
            try:
                await asyncio.wait_for(self._ready.wait(), WAIT_SECONDS)
            except TimeoutError:
                raise Refused("UNAVAILABLE", "the discovery service is not ready; try again") from None

    async def write(self, request: pb.AffiliateUpdateRequest | pb.AffiliateDeleteRequest) -> None:
        """Have a write take its effect, wherever it is ordered. Raises Refused."""
        self._writes += 1
        self._written += 1
        try:
            if isinstance(request, pb.AffiliateUpdateRequest):
                await self.orderer.update(request)
            else:
                await self.orderer.delete(request)
            if self._keeping is not None:
                await self._keeping.kept()
        finally:
            self._writes -= 1
            if not self._writes:
                self._quiet.set()
                self._quiet.clear()
        if self._draining:
            await self._answering.wait()

    def watch(self, cluster_id: str) -> tuple[Watch, bytes]:
        """Begin to watch a cluster: gives what there is now, and who hears of the rest. `unwatch` ends it."""
        watch = Watch()
        self._watches.add(watch)
        return watch, self.state.subscribe(cluster_id, watch)

    def unwatch(self, cluster_id: str, watch: Watch) -> None:
        """End a watch."""
        self._watches.discard(watch)
        self.state.unsubscribe(cluster_id, watch)

    # Effects. Listeners have been told of them when these return.

    def update(self, request: pb.AffiliateUpdateRequest) -> Change:
        """Apply an update here and now. Raises Refused, maybe after it has partly taken effect (`State.update`)."""
        ttl = request.ttl.seconds + request.ttl.nanos / 1e9
        return self.state.update(
            self.clock(),
            request.cluster_id,
            request.affiliate_id,
            request.affiliate_data,
            request.affiliate_endpoints,
            ttl,
        )

    def delete(self, request: pb.AffiliateDeleteRequest) -> Change:
        """Apply a deletion here and now; NONE when there was nothing to delete, of which no listener hears."""
        return self.state.delete(request.cluster_id, request.affiliate_id)

    def put(self, record: Record, *, tell: bool = False) -> Change:
        """Make an affiliate what it became elsewhere (`State.put`)."""
        return self.state.put(self.clock(), record, tell=tell)

    async def collect(self) -> None:
        """Drop what has expired, in slices."""
        until = time.perf_counter() + SLICE_SECONDS
        for _ in self.state.collect(self.clock()):
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + SLICE_SECONDS
        self.collections += 1

    async def _collect_always(self) -> None:
        while True:
            await asyncio.sleep(self._collect_every)
            try:
                await self.collect()
            except Exception:
                log.exception("looking for what has expired failed, and is tried again")

    def _changed(self, cluster_id: str, affiliate: Affiliate, change: Change) -> None:
        if self._keeping is None and not self.listeners:
            return
        record = self.state.record(self.clock(), cluster_id, affiliate.id)
        if self._keeping is not None:
            self._keeping.append(record)
        for listener in self.listeners:
            listener(cluster_id, affiliate.id, record, change)


class Alone:
    """Orders the writes of a service that knows of no other."""

    def __init__(self, core: Discovery) -> None:
        self._core = core

    async def start(self) -> None:
        """There is nobody to ask."""

    async def update(self, request: pb.AffiliateUpdateRequest) -> None:
        """Apply it. Raises Refused."""
        self._core.update(request)

    async def delete(self, request: pb.AffiliateDeleteRequest) -> None:
        """Apply it."""
        self._core.delete(request)

    async def stop(self) -> None:
        """There is nobody to tell."""
