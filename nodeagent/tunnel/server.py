"""The server's half of the tunnel: agents that are connected, and connections through them.

A `Control` call is one agent's session. `dial` asks on it for a connection under a random id that only this agent
learns; the agent connects to the machine and starts a `Carry` call under that id. HTTP/2 does the flow control, for
each connection by itself. What an agent may cost is bounded: see the limits here and in `protocol.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc

from nodeagent.caller import caller_of
from nodeagent.dial import Stream
from nodeagent.ports import AgentHello, AgentRefused, AgentRegistry
from nodeagent.quiet import Quiet
from nodeagent.siderolink.turns import Turns, origin
from nodeagent.tunnel.carried import Carried, open_carried
from nodeagent.tunnel.protocol import (
    ADDRESS_LIMIT,
    CONNECTION_KEY,
    CONNECTION_LIMIT,
    MESSAGE_LIMIT,
    InvalidHello,
    Scope,
    plain,
    read_hello,
)
from talos.gen.omni import agent_pb2_grpc
from talos.gen.omni.agent_pb2 import Abort, FromAgent, Heartbeat, Open, Piece, ToAgent, Welcome

HEARTBEAT = 15.0
"""Seconds in which each end says something. Silence of three heartbeats is an end."""

HELLO_TIMEOUT = 10.0
DIAL_TIMEOUT = 15.0
"""Seconds until an agent has connected to a machine, or said that it cannot."""

OPENING_LIMIT = 128
"""Connections that one agent is asked for and has not answered yet."""

AT_ONCE = 64
"""Agents that are let in at the same time; the others wait their turn, and sources take turns."""

PACE, PAUSE = 64, 0.05
"""So many messages of one agent are taken, then it waits so many seconds: a flood costs its sender alone."""

log = logging.getLogger(__name__)

_Status = tuple[grpc.StatusCode, str]


class TooLarge(ConnectionResetError):
    """An agent sent more at once than agents do."""


class _Session:
    """One agent while it is connected."""

    def __init__(self, agent_id: str, hello: AgentHello, scope: Scope, heartbeat: float) -> None:
        self.agent_id, self.hello, self.scope = agent_id, hello, scope
        self.heartbeat, self.patience = heartbeat, 3 * heartbeat
        self.silence: asyncio.Timeout | None = None  # runs out when nothing is heard
        self.ended: asyncio.Future[_Status] = asyncio.get_running_loop().create_future()
        self.offered: set[str] = set()
        self.opening: dict[bytes, _Opening] = {}
        self.carried: set[Carried] = set()
        self._orders: deque[ToAgent] = deque()
        self._ordered = asyncio.Event()

    @property
    def name(self) -> str:
        return f"agent {self.hello.name!r}"

    def order(self, message: ToAgent) -> None:
        """Have a message sent. Raises OSError when the agent does not take what it was sent before."""
        if len(self._orders) >= 2 * OPENING_LIMIT:
            raise OSError(f"{self.name} does not take what it is sent")
        self._orders.append(message)
        self._ordered.set()

    async def orders(self) -> ToAgent:
        """The next message to send: a heartbeat when there is nothing else for so long."""
        while not self._orders:
            self._ordered.clear()
            try:
                async with asyncio.timeout(self.heartbeat):
                    await self._ordered.wait()
            except TimeoutError:
                return ToAgent(heartbeat=Heartbeat())
        return self._orders.popleft()

    def heard(self) -> None:
        """A sign of life."""
        if self.silence is not None:
            self.silence.reschedule(asyncio.get_running_loop().time() + self.patience)

    def end(self, code: grpc.StatusCode, text: str) -> None:
        if not self.ended.done():
            self.ended.set_result((code, text))

    def break_all(self, reason: str) -> None:
        """Nothing gets through any more."""
        error = f"{self.name}: {reason}"
        for opening in self.opening.values():
            opening.refuse(ConnectionAbortedError(error))
        for carried in list(self.carried):
            carried.end(ConnectionAbortedError(error))


@dataclass(frozen=True)
class _Opening:
    """A connection that an agent was asked for; `answer` is done when its `Carry` call comes, or the refusal."""

    connection: bytes
    session: _Session
    carried: Carried
    answer: asyncio.Future[None]

    def refuse(self, error: OSError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class AgentServer(agent_pb2_grpc.AgentServiceServicer):
    """All agents that are connected to this process."""

    def __init__(self, registry: AgentRegistry, heartbeat: float = HEARTBEAT) -> None:
        """`heartbeat` is what agents are told, seconds."""
        self._registry, self._heartbeat = registry, heartbeat
        self._sessions: dict[str, _Session] = {}
        self._opening: dict[bytes, _Opening] = {}
        self._asking: list[dict[str, str]] = []  # for each agent being let in: those dropped meanwhile
        self._turns = Turns(AT_ONCE)
        self._refusals = Quiet()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer agents on this gRPC server."""
        agent_pb2_grpc.add_AgentServiceServicer_to_server(self, server)

    def is_connected(self, agent_id: str) -> bool:
        """Whether this agent can be dialled through."""
        return agent_id in self._sessions

    async def dial(self, agent_id: str, address: str, port: int, timeout: float = DIAL_TIMEOUT) -> Stream:
        """Connect to a host through an agent. Raises OSError with a reason for people, TimeoutError among them."""
        session = self._sessions.get(agent_id)
        if session is None:
            raise ConnectionRefusedError("its agent is not connected")
        if len(session.opening) >= OPENING_LIMIT:
            raise OSError(f"{session.name} is still connecting to {OPENING_LIMIT} others")
        if len(session.opening) + len(session.carried) >= CONNECTION_LIMIT:
            raise OSError(f"{session.name} carries {CONNECTION_LIMIT:,} connections already")
        connection = secrets.token_bytes(16)
        carried, stream = open_carried(address, port)
        opening = _Opening(connection, session, carried, asyncio.get_running_loop().create_future())
        self._opening[connection] = session.opening[connection] = opening
        try:
            session.order(ToAgent(open=Open(connection=connection, address=address, port=port)))
            async with asyncio.timeout(timeout):
                await opening.answer
        except BaseException as error:
            carried.abort()
            if isinstance(error, TimeoutError):
                text = f"{session.name} did not reach {address}:{port} within {timeout:g} s"
                raise TimeoutError(text) from None
            raise
        finally:
            session.opening.pop(connection, None)
            self._opening.pop(connection, None)
        return stream

    def drop(self, agent_id: str, reason: str) -> None:
        """Turn an agent away at once, with everything it carries; it is told the reason."""
        for dropped in self._asking:
            dropped[agent_id] = reason
        session = self._sessions.get(agent_id)
        if session is not None:
            self._forget(session, grpc.StatusCode.PERMISSION_DENIED, reason)

    def close(self) -> None:
        """End everything; agents come again."""
        for session in list(self._sessions.values()):
            self._forget(session, grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    def _forget(self, session: _Session, code: grpc.StatusCode, text: str) -> None:
        """End a session, unless it has ended; with it goes what it carries."""
        session.end(code, text)
        reason = session.ended.result()[1]
        session.break_all(reason)
        if self._sessions.get(session.agent_id) is session:
            del self._sessions[session.agent_id]
            log.info("%s is disconnected: %s", session.name, reason)
            self._registry.disconnected(session.agent_id, reason)

    # -- Control -------------------------------------------------------------------------------------------------------

    async def Control(self, request_iterator: AsyncIterator[FromAgent], context: Any) -> None:
        """One agent, for as long as it is connected."""
        session = await self._admit(request_iterator, context)
        tasks: list[asyncio.Future[Any]] = []
        try:
            await context.send_initial_metadata(())  # apart: else the first message, cut off, would spoil the status
            tasks.append(asyncio.ensure_future(self._listen(session, request_iterator)))
            tasks.append(asyncio.ensure_future(self._order(session, context)))
            async with asyncio.timeout(session.patience) as session.silence:
                await asyncio.wait({*tasks, session.ended}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            session.end(grpc.StatusCode.UNAVAILABLE, f"nothing was heard of it for {session.patience:g} s")
        finally:
            self._forget(session, grpc.StatusCode.OK, "the connection to it was lost")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        code, text = session.ended.result()
        if code is not grpc.StatusCode.OK:
            await _end(context, code, text)

    async def _admit(self, messages: AsyncIterator[FromAgent], context: Any) -> _Session:
        """The session of an agent that is let in, or an end of the call."""
        caller = caller_of(context.peer())
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                first = await anext(aiter(messages))
            hello, scope = read_hello(first, caller.address if caller else "")
        except (TimeoutError, StopAsyncIteration):
            await _refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, "no hello came")
        except InvalidHello as error:
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        dropped: dict[str, str] = {}
        self._asking.append(dropped)
        try:
            async with self._turns.of(origin(hello.source)):
                agent_id = await self._registry.enrol(hello)
            if agent_id in dropped:
                raise AgentRefused("PERMISSION_DENIED", dropped[agent_id])
        except AgentRefused as refusal:
            if self._refusals.left_out(f"{origin(hello.source)} {refusal.text}") is not None:
                log.info("agent %r from %s refused: %s", hello.name, hello.source, refusal.text)
            await _refuse(context, grpc.StatusCode[refusal.code], refusal.text)
        except Exception:
            log.exception("letting agent %r in failed", hello.name)
            await _refuse(context, grpc.StatusCode.UNAVAILABLE, "the server could not look the agent up")
        finally:
            self._asking.remove(dropped)
        return self._welcome(agent_id, hello, scope)

    def _welcome(self, agent_id: str, hello: AgentHello, scope: Scope) -> _Session:
        session = _Session(agent_id, hello, scope, self._heartbeat)
        older, self._sessions[agent_id] = self._sessions.get(agent_id), session
        if older is not None:
            text = f"the same agent connected again, from {hello.source or 'elsewhere'}; this was its older connection"
            older.end(grpc.StatusCode.ABORTED, text)
            older.break_all("it connected again")
        session.order(ToAgent(welcome=Welcome(agent_id=agent_id, heartbeat_seconds=self._heartbeat)))
        log.info("%s is connected from %s", session.name, hello.source)
        self._registry.connected(agent_id, hello)
        return session

    async def _order(self, session: _Session, context: Any) -> None:
        while True:
            await context.write(await session.orders())

    async def _listen(self, session: _Session, messages: AsyncIterator[FromAgent]) -> None:
        count = 0
        async for message in messages:
            session.heard()
            if message.ByteSize() > MESSAGE_LIMIT:
                session.end(grpc.StatusCode.RESOURCE_EXHAUSTED, f"a message has more than {MESSAGE_LIMIT:,} bytes")
            if session.ended.done():
                return
            self._heard(session, message)
            count += 1
            if count % PACE == 0:
                await asyncio.sleep(PAUSE)

    def _heard(self, session: _Session, message: FromAgent) -> None:
        match message.WhichOneof("message"):
            case "found":
                self._found(session, message.found.address)
            case "lost":
                address = message.lost.address
                if address in session.offered or address in session.scope.nodes:
                    session.offered.discard(address)
                    self._registry.lost(session.agent_id, address, plain(message.lost.reason))
            case "refused":
                if (opening := session.opening.get(message.refused.connection)) is not None:
                    reason = plain(message.refused.reason)
                    opening.refuse(ConnectionRefusedError(f"{session.name}: {reason}"))
            case "goodbye":
                session.end(grpc.StatusCode.OK, "it was stopped")

    def _found(self, session: _Session, address: str) -> None:
        if address in session.offered:
            return
        if len(session.offered) >= ADDRESS_LIMIT or address not in session.scope:
            text = f"{address[:80]!r} is not one of the hosts that it said it looks at"
            session.end(grpc.StatusCode.INVALID_ARGUMENT, text)
            return
        session.offered.add(address)
        self._registry.found(session.agent_id, address)

    # -- Carry ---------------------------------------------------------------------------------------------------------

    async def Carry(self, request_iterator: AsyncIterator[Piece], context: Any) -> None:
        """One carried connection, until both sides are through or it breaks."""
        opening = await self._expected(context)
        session, carried = opening.session, opening.carried
        session.carried.add(carried)
        tasks: list[asyncio.Future[Any]] = []
        try:
            await context.send_initial_metadata(())  # apart: see Control
            tasks.append(asyncio.ensure_future(_receive(carried, request_iterator)))
            tasks.append(asyncio.ensure_future(_send(carried, context)))
            await asyncio.wait({carried.over})
        finally:
            carried.end(ConnectionResetError(f"{session.name}: the connection to it was lost"))
            session.carried.discard(carried)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        error = carried.over.result()
        if error is not None:
            with contextlib.suppress(OSError):
                session.order(ToAgent(abort=Abort(connection=opening.connection)))
            too_large = isinstance(error, TooLarge)
            code = grpc.StatusCode.RESOURCE_EXHAUSTED if too_large else grpc.StatusCode.ABORTED
            await _end(context, code, str(error))

    async def _expected(self, context: Any) -> _Opening:
        ids = [value for key, value in context.invocation_metadata() if key == CONNECTION_KEY]
        try:
            opening = self._opening.pop(bytes.fromhex(ids[0]))
        except (IndexError, ValueError, TypeError, KeyError):
            await _refuse(context, grpc.StatusCode.NOT_FOUND, "no connection is awaited under this id")
        if opening.answer.done():
            await _refuse(context, grpc.StatusCode.NOT_FOUND, "the connection is not wanted any more")
        opening.answer.set_result(None)
        return opening


async def _receive(carried: Carried, pieces: AsyncIterator[Piece]) -> None:
    try:
        async for piece in pieces:
            if len(piece.data) > MESSAGE_LIMIT:
                carried.end(TooLarge(f"a message has more than {MESSAGE_LIMIT:,} bytes"))
                return
            await carried.incoming(piece)
    finally:
        carried.hang_up()


async def _send(carried: Carried, context: Any) -> None:
    try:
        while (piece := await carried.outgoing()) is not None:
            await context.write(piece)
            carried.sent()
    except BaseException:
        carried.end(ConnectionResetError("the connection to the agent was lost"))
        raise


async def _end(context: Any, code: grpc.StatusCode, text: str) -> None:
    with contextlib.suppress(grpc.aio.InternalError):  # the call has ended meanwhile
        await context.abort(code, text)


async def _refuse(context: Any, code: grpc.StatusCode, text: str) -> NoReturn:
    await context.abort(code, text)
    raise AssertionError("abort does not return")
