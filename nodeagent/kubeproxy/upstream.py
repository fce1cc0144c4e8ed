"""Connections to the API servers of clusters: opened over machines' links, kept for the next request."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterable
from functools import lru_cache

import h11

from nodeagent.dial import Dial
from nodeagent.kubeproxy.status import Failure
from nodeagent.kubeproxy.wire import Wire
from nodeagent.tls import CHUNK, Credentials, TlsStream, load_identity

log = logging.getLogger(__name__)

API_SERVER_PORT = 6443

SERVER_NAME = "kubernetes.default.svc"
"""In the certificate of every API server, and in that of nothing else which the cluster's authority signs."""

CONNECT_TIMEOUT = 15.0
"""Seconds for all control planes together."""

IDLE_SECONDS = 30.0
"""How long a connection waits for the next request. API servers wait longer, so they rarely close one that is used."""
IDLE_LIMIT = 16
"""Connections that wait for each control plane."""

Key = tuple[Credentials, str]


@lru_cache(maxsize=256)
def _context(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_verify_locations(cadata=credentials.ca.decode())
    load_identity(context, credentials.client)
    return context


class Upstream:
    """One connection to an API server. `used`: it has answered before, and may have been closed since."""

    def __init__(self, key: Key, stream: TlsStream) -> None:
        self.key, self.used = key, False
        self.wire = Wire(stream, h11.CLIENT)
        self.waiting: asyncio.Task[None] | None = None


class Pool:
    """Connections by administrator and address."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._idle: dict[Key, list[Upstream]] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    def idle(self, credentials: Credentials, addresses: Iterable[str]) -> Upstream | None:
        """One that waits, of the first address that has any."""
        for address in addresses:
            if waiting := self._idle.get((credentials, address)):
                upstream = waiting.pop()
                assert upstream.waiting is not None
                upstream.waiting.cancel()
                return upstream
        return None

    async def connect(self, cluster: str, credentials: Credentials, addresses: tuple[str, ...]) -> Upstream:
        """A new one to the first address that takes it. Raises Failure (502, 503, 504)."""
        if not addresses:
            raise Failure(503, f"cluster {cluster} has no control plane that is connected; see its machines")
        began, problem, late = asyncio.get_running_loop().time(), "", True
        for count, address in enumerate(addresses, 1):
            try:
                async with asyncio.timeout_at(began + CONNECT_TIMEOUT * count / len(addresses)):
                    return await self._open(credentials, address)
            except TimeoutError:
                problem = problem or "it does not answer"
            except (OSError, ValueError) as error:  # TLS that fails included; ValueError: credentials that are none
                problem, late = _sentence(error), False
            log.debug("control plane %s of cluster %s: %s", address, cluster, problem)
        text = f"no control plane of cluster {cluster} could be reached: {problem}; see what its machines say"
        raise Failure(504 if late else 502, text)

    async def _open(self, credentials: Credentials, address: str) -> Upstream:
        reader, writer = await self._dial(address, API_SERVER_PORT)
        try:
            stream = TlsStream(reader, writer, _context(credentials), server_hostname=SERVER_NAME, piece=CHUNK)
            await stream.handshake()
        except BaseException:
            writer.close()
            raise
        return Upstream((credentials, address), stream)

    def keep(self, upstream: Upstream) -> None:
        """Take it back after an answer, for the next request if it can be."""
        waiting = self._idle.get(upstream.key, [])
        if len(waiting) >= IDLE_LIMIT or not upstream.wire.next_cycle():
            upstream.wire.stream.close()
            return
        upstream.used = True
        self._idle.setdefault(upstream.key, waiting).append(upstream)
        task = upstream.waiting = asyncio.create_task(self._wait(upstream))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _wait(self, upstream: Upstream) -> None:
        """Drop a waiting connection when it says anything, or after a while."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await upstream.wire.stream.read()
        waiting = self._idle[upstream.key]
        waiting.remove(upstream)
        if not waiting:
            del self._idle[upstream.key]  # clusters come and go
        upstream.wire.stream.close()

    async def close(self) -> None:
        """Close all that wait."""
        for waiting in self._idle.values():
            for upstream in waiting:
                upstream.wire.stream.close()
        self._idle.clear()
        for task in list(self._waiting):
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)


def _sentence(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"it shows a certificate that is not of this cluster ({error.verify_message})"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
