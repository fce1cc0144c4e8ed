"""One request on its way to a cluster, and the answer back: streamed, until it is over or its ticket is withdrawn."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import h11

from nodeagent.kubeproxy import headers
from nodeagent.kubeproxy.headers import Address, Head
from nodeagent.kubeproxy.ports import Passage
from nodeagent.kubeproxy.status import Failure
from nodeagent.kubeproxy.upstream import Pool, Upstream
from nodeagent.kubeproxy.wire import Left, Wire, copy, what

CLIENT_LEFT = 499
"""Outcome of a request that nobody waits for any more; no client sees it."""

_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Broken(Exception):
    """The answer has begun and will not be complete: the client's connection has to show it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Withdrawn(Broken):
    """The same, because the ticket was withdrawn: nothing more may reach the client."""


class _ClientLeft(Exception):
    pass


class _Stale(Exception):
    """A connection that was kept had been closed when it was used again."""


class Exchange:
    """One admitted request of a client. `caller` is the address it came from."""

    def __init__(
        self, client: Wire, request: h11.Request, address: Address, head: Head, passage: Passage, caller: str
    ) -> None:
        self._client, self._address, self._upgrade, self._passage = client, address, head.upgrade, passage
        self._withdrawn = passage.ticket.withdrawn
        self._status = 0  # what the client was told; 0 while it was told nothing
        said = headers.to_cluster(head, passage.user, passage.groups, caller)
        self._request = h11.Request(method=request.method, target=address.target.encode(), headers=said)

    async def run(self, pool: Pool) -> int:
        """Carry it, and say with what status it ended.

        Raises Failure while the client was told nothing, and Broken afterwards.
        """
        try:
            while True:
                upstream = await self._upstream(pool)
                try:
                    await self._carry(upstream)
                except _Stale:
                    upstream.wire.stream.abort()
                except BaseException:
                    upstream.wire.stream.abort()
                    raise
                else:
                    pool.keep(upstream)
                    return self._status
        except _ClientLeft:
            return self._status or CLIENT_LEFT

    async def _upstream(self, pool: Pool) -> Upstream:
        """Raises Failure."""
        credentials, addresses = self._passage.credentials, self._passage.control_planes
        if upstream := pool.idle(credentials, addresses):
            return upstream
        opened = await self._first(pool.connect(self._address.cluster, credentials, addresses))
        upstream = opened.result()
        assert isinstance(upstream, Upstream)
        return upstream

    async def _carry(self, upstream: Upstream) -> None:
        answered = await self._first(self._answer(upstream.wire, fresh=not upstream.used), self._send(upstream.wire))
        if answered.result():
            await self._first(copy(upstream.wire, self._client), copy(self._client, upstream.wire))

    async def _first(self, *work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """What ends first; the others are cancelled. Raises Failure or Withdrawn when the ticket is before that."""
        tasks = [asyncio.create_task(one) for one in work]
        try:
            await asyncio.wait((*tasks, self._withdrawn), return_when=asyncio.FIRST_COMPLETED)
            ended = next((task for task in tasks if task.done()), None)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if ended is None:
            reason = self._withdrawn.result()
            raise Withdrawn(403, reason) if self._status else Failure(403, reason)
        return ended

    async def _send(self, cluster: Wire) -> None:
        """The request and its body; then wait for the client to leave. Raises _ClientLeft, Failure, Broken."""
        client = self._client
        try:
            events = [self._request, *client.ready()]
            if client.http.their_state is not h11.SEND_BODY and not isinstance(events[-1], h11.EndOfMessage):
                events.append(h11.EndOfMessage())  # it was read for a connection that proved stale
            if client.http.they_are_waiting_for_100_continue:
                await client.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            while events:
                try:
                    await cluster.send(*events)
                except (OSError, h11.LocalProtocolError):
                    break  # it may have answered before it closed
                events = []
                if client.http.their_state is h11.SEND_BODY:
                    events = [await client.receive(), *client.ready()]
            await client.left()
        except h11.RemoteProtocolError as error:
            text = f"the request's body is malformed: {what(error)}"
            raise (Broken(400, text) if self._status else Failure(400, text)) from None
        except OSError:
            pass
        raise _ClientLeft

    async def _answer(self, cluster: Wire, *, fresh: bool) -> bool:
        """Whether both ends switched to another protocol. Raises Failure, _Stale, Broken, _ClientLeft."""
        name = self._address.cluster
        try:
            answer = await cluster.receive()
            while isinstance(answer, h11.InformationalResponse) and answer.status_code != 101:
                answer = await cluster.receive()
            events = [self._told(answer), *cluster.ready()]
        except (OSError, h11.RemoteProtocolError) as error:
            if not fresh and self._request.method in _REPEATABLE and not self._has_body():
                raise _Stale from None
            text = (
                f"cluster {name} closed the connection before it answered" if isinstance(error, Left) else what(error)
            )
            raise Failure(502, f"{text}; try again, and see what the machines of cluster {name} say") from None
        try:
            while True:
                await self._tell(events)
                events = []  # a watch may be idle for days
                if cluster.http.their_state is not h11.SEND_BODY:
                    return self._status == 101
                events = [await cluster.receive(), *cluster.ready()]
        except (OSError, h11.RemoteProtocolError) as error:
            raise Broken(502, f"the answer of cluster {name} broke off: {what(error)}") from None

    def _has_body(self) -> bool:
        names = {name for name, _ in self._request.headers}
        return bool(names & {b"content-length", b"transfer-encoding"})

    def _told(self, answer: h11.Event) -> h11.Event:
        """An answer's head as the client gets it."""
        assert isinstance(answer, h11.Response | h11.InformationalResponse)
        kept = headers.to_client(answer.headers.raw_items(), self._address.prefix)
        if answer.status_code != 101:
            return h11.Response(status_code=answer.status_code, headers=kept, reason=answer.reason)
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", self._upgrade)]
        return h11.InformationalResponse(status_code=101, headers=kept, reason=answer.reason)

    async def _tell(self, events: list[h11.Event]) -> None:
        if isinstance(events[0], h11.Response | h11.InformationalResponse):
            self._status = events[0].status_code
        try:
            await self._client.send(*(_without_trailers(event) for event in events))
        except OSError:
            raise _ClientLeft from None


def _without_trailers(event: h11.Event) -> h11.Event:
    return h11.EndOfMessage() if isinstance(event, h11.EndOfMessage) else event
