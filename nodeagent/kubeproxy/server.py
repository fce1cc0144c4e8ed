"""kubectl's way to clusters: an HTTP/1.1 server in front of their control planes, each request asked for at a gate."""

import asyncio
import contextlib
import logging
from pathlib import Path

import h11

from nodeagent.caller import Caller, caller_of
from nodeagent.dial import Dial
from nodeagent.kubeproxy import headers, status
from nodeagent.kubeproxy.exchange import Broken, Exchange, Withdrawn
from nodeagent.kubeproxy.ports import Gate, Passage, Refused, Request
from nodeagent.kubeproxy.status import Failure
from nodeagent.kubeproxy.upstream import Pool
from nodeagent.kubeproxy.wire import Plain, Wire, what

log = logging.getLogger(__name__)

IDLE_SECONDS = 120.0
"""How long a client may take for the head of its next request."""

LINGER_SECONDS = 2.0
"""How long a client that was refused may go on with its body before the connection is closed."""

METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})


class KubernetesProxy:
    """Serves `/k8s/ORGANISATION/CLUSTER/...` on a unix socket, for callers named by the socket that connects."""

    def __init__(self, gate: Gate, dial: Dial) -> None:
        self._gate, self._pool = gate, Pool(dial)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None] | None] = set()

    async def start(self, socket: Path) -> None:
        """Listen on this path. Raises OSError."""
        socket.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path=str(socket))

    async def close(self) -> None:
        """Stop listening and end every request."""
        if self._server is not None:
            self._server.close()
        connections = [task for task in self._connections if task is not None]
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await self._pool.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connections.add(task)
        client = Wire(Plain(reader, writer), h11.SERVER)
        try:
            await self._requests(client, caller_of(writer.get_extra_info("peername")) or Caller("http", "", 0))
        except (OSError, TimeoutError):
            pass  # the client left
        except asyncio.CancelledError:
            client.stream.abort()  # we are stopping; asyncio would log this as an error of the handler
        finally:
            self._connections.discard(task)
            client.stream.close()

    async def _requests(self, client: Wire, caller: Caller) -> None:
        """One after another, while the connection can be used again."""
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    request = await client.receive()
            except h11.RemoteProtocolError as error:
                failure = Failure(error.error_status_hint, f"this is no HTTP request: {what(error)}")
                await client.send(*status.answer(failure, b"", last=True))
                return
            assert isinstance(request, h11.Request)
            await self._respond(client, caller, request)
            if not client.next_cycle():
                await _linger(client)
                return

    async def _respond(self, client: Wire, caller: Caller, request: h11.Request) -> None:
        try:
            address, head = _understood(request)
            passage = await self._admit(caller, request, address, head)
        except Failure as failure:
            await _fail(client, request, failure)
            return
        outcome = 500
        try:
            exchange = Exchange(client, request, address, head, passage, caller.address)
            outcome = await exchange.run(self._pool)
        except Failure as failure:
            outcome = failure.status
            await _fail(client, request, failure)
        except Broken as broken:
            outcome = broken.status
            log.info("%s %s: %s", request.method.decode(), address.cluster, broken)
            if isinstance(broken, Withdrawn):
                client.stream.abort()
        except Exception:
            log.exception("a request to cluster %s failed", address.cluster)
            client.stream.abort()
        finally:
            passage.ticket.over(str(outcome))

    async def _admit(
        self, caller: Caller, request: h11.Request, address: headers.Address, head: headers.Head
    ) -> Passage:
        """Raises Failure."""
        asked = Request(
            organisation=address.organisation,
            cluster=address.cluster,
            method=request.method.decode(),
            target=address.target,
            token=head.token,
            command=head.command,
            upgrade=bool(head.upgrade),
            caller=caller,
        )
        try:
            return await self._gate.admit(asked)
        except Refused as refused:
            raise Failure(refused.status, str(refused)) from None
        except Exception:
            log.exception("a request to cluster %s was not decided about", address.cluster)
            raise Failure(500, "the server failed to decide about this request; its log says more") from None


def _understood(request: h11.Request) -> tuple[headers.Address, headers.Head]:
    """Raises Failure."""
    if request.method not in METHODS:
        raise Failure(405, "clusters are not asked this way")
    try:
        return headers.address(request.target), headers.understand(request.headers.raw_items())
    except headers.Elsewhere as error:
        raise Failure(421, str(error)) from None
    except headers.Ambiguous as error:
        raise Failure(400, str(error)) from None


async def _fail(client: Wire, request: h11.Request, failure: Failure) -> None:
    """Tell it. Whoever is misdirected, not understood, or has more of a body to send needs another connection."""
    with contextlib.suppress(h11.RemoteProtocolError):
        client.ready()
    last = failure.status in (400, 405, 421) or client.http.their_state is not h11.DONE
    await client.send(*status.answer(failure, request.method, last=last))


async def _linger(client: Wire) -> None:
    """Let a client read its answer that has not sent all of its request: closing the socket now would take it back."""
    if client.http.their_state is h11.SEND_BODY:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while await client.stream.read():
                    pass
