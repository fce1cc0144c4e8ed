"""Connections to the machines that calls go to: each proved to be to the right one, shared, and closed when unused."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable

import grpc

from nodeagent import errors, identity
from nodeagent.client import API_PORT, NodeClient
from nodeagent.dial import Dial
from nodeagent.proxy.ports import Target
from nodeagent.proxy.upstream import MESSAGE_LIMIT, ROOM, ROOM_OF_ONE, Held, NodeCall, Unanswered
from nodeagent.rpc import Channel, Limits, Metadata, Method, RpcError
from nodeagent.tls import CHUNK, to_machine
from talos.roles import READER

CONNECT_TIMEOUT = 15.0
"""Seconds for a connection, TLS, and reading which machine it is."""

IDLE = 300.0
"""Seconds that a connection is kept for the next call."""

FRESH, SIGN_OF_LIFE = 10.0, 3.0
"""Seconds of silence after which a kept connection is asked whether anybody is there, and those for the answer."""

LIMIT = 1024
"""Connections at once."""

_LIMITS = Limits(MESSAGE_LIMIT, window=1024 * 1024)
"""A large window: a stream through it should not be slower than without us, over links of long ways, too."""

_AS_READER = [(b"talos-role", READER.encode())]


class _Connection:
    """To one machine. `ready` is done when it is open and proved."""

    def __init__(self, target: Target, dial: Dial, held: Held) -> None:
        self.target = target
        self.held = Held(ROOM_OF_ONE, held)
        self.users = 0
        self.unused_since = 0.0
        self.idle: asyncio.TimerHandle | None = None
        self.retired = False
        """New calls get another one; it ends with the last call on it."""
        connect = identity.once(lambda: dial(target.address, API_PORT))
        self.channel = Channel(
            to_machine(connect, target.credentials, piece=CHUNK), "it", limits=_LIMITS, metadata=_AS_READER
        )
        self.ready = asyncio.ensure_future(self._prove())
        self.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # who asked may have left

    def leads_to(self, target: Target) -> bool:
        """It is a connection to this target, and new calls can use it."""
        mine, proved = self.target, self.ready.done()
        if proved and (self.ready.cancelled() or self.ready.exception() is not None or self.channel.broken):
            return False
        return (mine.address, mine.credentials, mine.fingerprint) == (
            target.address,
            target.credentials,
            target.fingerprint,
        )

    async def close(self) -> None:
        if self.idle is not None:
            self.idle.cancel()
        self.ready.cancel()
        await asyncio.gather(self.ready, return_exceptions=True)
        await self.channel.close()

    async def _prove(self) -> None:
        """Raises _Unproved unless the machine that is meant answers."""
        target = self.target
        client = NodeClient.over(self.channel, target.name)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await identity.require(client, target.uuid, target.fingerprint)
        except identity.WrongMachine as error:
            raise _Unproved(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"was not called: {error}. Its address may have passed to another machine; try again when the node has "
                "connected anew",
            ) from None
        except TimeoutError:
            raise _unreached(f"no answer in {CONNECT_TIMEOUT:g} s") from None
        except errors.WrongTrust as error:
            raise _unreached(f"{error.detail}; it may just be changing its mode or its certificates") from None
        except errors.Unreachable as error:
            raise _unreached(error.detail) from None
        except errors.NodeError as error:
            raise _Unproved(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"was not called: which machine answers cannot be told: {error.detail or error.code.name}",
            ) from None


class _Unproved(Exception):
    """Why there is no connection; the text goes on after a node's name, as each caller has its own for it."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text

    def of(self, target: Target) -> Unanswered:
        return Unanswered(self.code, f"node {target.name} {self.text}")


class Machines:
    """All connections of a proxy. `dial` opens a stream to (address, port)."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self.held = Held(ROOM)
        """What all calls hold together."""
        self._current: OrderedDict[str, _Connection] = OrderedDict()  # by UUID, the one used last at the end
        self._all: set[_Connection] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def call(
        self, target: Target, method: Method, metadata: Metadata, time_left: Callable[[], float | None]
    ) -> AsyncGenerator[NodeCall]:
        """A call to a machine, begun; leaving the block cancels what has not ended.

        Raises Unanswered when the machine cannot be reached, or is another.
        """
        if target.away:
            raise Unanswered(grpc.StatusCode.UNAVAILABLE, target.away)
        connection = await self._proved(target)
        try:
            try:
                call = await connection.channel.start(
                    lambda link: NodeCall(link, method, connection.held), time_left(), metadata
                )
            except RpcError as error:
                raise _unreached(error.details).of(target) from None
            try:
                yield call
            finally:
                call.close()
        finally:
            self._left(connection)

    async def close(self) -> None:
        """Close all connections; calls on them end."""
        for connection in list(self._all):
            self._end(connection)
        await asyncio.gather(*self._closing)

    async def _proved(self, target: Target, again: bool = False) -> _Connection:
        """A connection that is open, with one user more. One that nobody answers on any more is made anew, once.

        Raises Unanswered.
        """
        connection = self._connection(target)
        connection.users += 1
        try:
            if not connection.ready.done():
                await asyncio.wait([connection.ready])
            try:
                connection.ready.result()
            except _Unproved as unproved:
                raise unproved.of(target) from None
            if again or await connection.channel.alive(FRESH, SIGN_OF_LIFE):
                return connection
        except BaseException:
            self._left(connection)
            raise
        self._retire(connection)
        self._left(connection)
        return await self._proved(target, again=True)

    def _connection(self, target: Target) -> _Connection:
        known = self._current.get(target.uuid)
        if known is not None:
            if known.leads_to(target):
                self._current.move_to_end(target.uuid)
                return known
            self._retire(known)
        if len(self._all) >= LIMIT:
            self._make_room(target)
        made = self._current[target.uuid] = _Connection(target, self._dial, self.held)
        self._all.add(made)
        self._wait_for_idle(made, IDLE)
        return made

    def _make_room(self, target: Target) -> None:
        unused = next((connection for connection in self._current.values() if not connection.users), None)
        if unused is None:
            raise Unanswered(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"node {target.name} was not called: calls to {LIMIT:,} other machines are under way; try again later",
            )
        self._retire(unused)

    def _left(self, connection: _Connection) -> None:
        """A call on the connection is over."""
        connection.users -= 1
        if connection.users:
            return
        connection.unused_since = asyncio.get_running_loop().time()
        if connection.retired:
            self._end(connection)
        elif not connection.leads_to(connection.target):
            self._retire(connection)

    def _retire(self, connection: _Connection) -> None:
        if self._current.get(connection.target.uuid) is connection:
            del self._current[connection.target.uuid]
        connection.retired = True
        if not connection.users:
            self._end(connection)

    def _wait_for_idle(self, connection: _Connection, seconds: float) -> None:
        loop = asyncio.get_running_loop()

        def look() -> None:
            unused = 0.0 if connection.users else loop.time() - connection.unused_since
            if unused >= IDLE:
                self._retire(connection)
            else:
                self._wait_for_idle(connection, IDLE - unused)

        connection.idle = loop.call_later(seconds, look)

    def _end(self, connection: _Connection) -> None:
        if connection in self._all:
            self._all.discard(connection)
            self._retire(connection)
            task = asyncio.ensure_future(connection.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _unreached(reason: str) -> _Unproved:
    return _Unproved(
        grpc.StatusCode.UNAVAILABLE,
        f"cannot be reached: {reason}. See whether it runs and is connected, then try again",
    )
