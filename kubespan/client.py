"""A client of a discovery service, as Talos' is: publishes one node and follows the others of its cluster.

Say hello, watch, publish; publish again each half of the time to live and when something changed; when the connection
is lost, start over after a pause that grows. Talos' own client also stops watching for up to 15 minutes after an update
that failed. This one goes on watching and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from google.protobuf.duration_pb2 import Duration

from kubespan.affiliates import Address, Affiliate, Endpoint
from kubespan.crypto import ClusterKey
from kubespan.known import Discovered, Known
from talos.gen.sidero import discovery_pb2 as pb
from talos.gen.sidero import discovery_pb2_grpc as pb_grpc

TTL = 1800.0
"""Seconds that a service keeps what Talos publishes."""
HELLO_TIMEOUT = 10.0
REFRESH_TIMEOUT = 30.0
"""Seconds for all updates of one refresh together."""
KEEPALIVE_TIMEOUT = 20.0
MAX_MESSAGE = 8 << 20
"""Bytes: more than the largest cluster that a service holds."""

FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.5, 60.0, 1.5
"""Seconds before an attempt, give or take half, and how they grow until a refresh succeeds."""

Connect = Callable[[str], grpc.aio.Channel]
"""Makes a channel to a target of gRPC, HOST:PORT."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Where a service is: a target of gRPC, and whether it speaks TLS."""

    target: str
    tls: bool

    @classmethod
    def parse(cls, url: str) -> ServiceAddress:
        """From a URL as in a machine's configuration; raises ValueError with what is wrong with it."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "grpc") or not parts.hostname:
            raise ValueError(f"{url!r} is no discovery service; write https://HOST[:PORT]/, or http:// without TLS")
        tls = parts.scheme != "http"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(f"{host}:{parts.port or (443 if tls else 80)}", tls)


def channel(
    target: str, *, tls: bool, roots: bytes | None = None, ttl: float = TTL, authority: str = ""
) -> grpc.aio.Channel:
    """A channel with a connection of its own. `roots` are certificates (PEM) that count beside the system's,
    `authority` is the HOST:PORT that is meant where the target is a socket that leads there.
    """
    options: list[tuple[str, int | str]] = [
        ("grpc.keepalive_time_ms", int(max(10.0, ttl / 10) * 1000)),
        ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT * 1000)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.use_local_subchannel_pool", 1),  # else clients of one process would share a connection and its streams
    ]
    if authority:
        options.append(("grpc.default_authority", authority))
    if not tls:
        return grpc.aio.insecure_channel(target, options)
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(_with_system_roots(roots)), options)


def _with_system_roots(roots: bytes | None) -> bytes | None:
    if not roots:
        return None
    system = ssl.create_default_context().get_ca_certs(binary_form=True)
    return roots.rstrip() + b"\n" + "".join(map(ssl.DER_cert_to_PEM_cert, system)).encode()


@dataclass(frozen=True, slots=True)
class Publication:
    """What a node publishes, sealed: its description, its endpoints, and endpoints at which it sees others."""

    data: bytes
    endpoints: tuple[bytes, ...]
    others: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)

    @classmethod
    def seal(
        cls,
        key: ClusterKey,
        affiliate: Affiliate,
        endpoints: Sequence[Endpoint],
        others: Mapping[str, Sequence[Endpoint]],
        nonce: bytes | None = None,
    ) -> Publication:
        """Seal it, with a new nonce unless one is given."""
        return cls(
            key.seal(affiliate, nonce),
            tuple(map(key.seal_endpoint, endpoints)),
            {id: tuple(map(key.seal_endpoint, seen)) for id, seen in others.items()},
        )

    def updates(self, cluster_id: str, node_id: str, ttl: float) -> Iterator[pb.AffiliateUpdateRequest]:
        """The calls of one refresh, in order."""
        lifetime = Duration()
        lifetime.FromNanoseconds(round(ttl * 1_000_000_000))
        yield pb.AffiliateUpdateRequest(
            cluster_id=cluster_id,
            affiliate_id=node_id,
            affiliate_data=self.data,
            affiliate_endpoints=self.endpoints,
            ttl=lifetime,
        )
        for id, endpoints in self.others.items():
            if endpoints:
                yield pb.AffiliateUpdateRequest(
                    cluster_id=cluster_id, affiliate_id=id, affiliate_endpoints=endpoints, ttl=lifetime
                )


class DiscoveryClient:
    """One node's client of one service.

    `affiliates` are the others, by the id under which the service has them (their own `node_id` is inside, and is what
    counts), `public_address` is where the service sees this node, once it said so. `changed` is called after either
    changed. Clients of one cluster in one process had best share a `key`.
    """

    def __init__(
        self,
        endpoint: str,
        cluster_id: str,
        key: ClusterKey,
        node_id: str,
        *,
        changed: Callable[[], None] = lambda: None,
        version: str = "",
        ttl: float = TTL,
        roots: Path | None = None,
        connect: Connect | None = None,
    ) -> None:
        """`endpoint` is a URL; `roots` a file of certificates that count beside the system's, read at each connection;
        `connect` makes the channels where something else has to carry them. Raises ValueError for a bad URL."""
        address = ServiceAddress.parse(endpoint)
        self._target = address.target
        self._connect = connect or (
            lambda target: channel(target, tls=address.tls, roots=roots.read_bytes() if roots else None, ttl=ttl)
        )
        self._cluster_id, self._key, self._node_id = cluster_id, key, node_id
        self._changed, self._version, self._ttl = changed, version, ttl
        self._known = Known(key, node_id)
        self._publish: tuple[Affiliate, tuple[Endpoint, ...], dict[str, tuple[Endpoint, ...]]] | None = None
        self._publication: Publication | None = None
        self._due = asyncio.Event()
        self._leaving = asyncio.Event()
        self._moved = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ended = asyncio.Event()
        self._pause = FIRST_PAUSE
        self.public_address: Address | None = None

    @property
    def affiliates(self) -> Mapping[str, Discovered]:
        return self._known.affiliates

    def publish(
        self,
        affiliate: Affiliate,
        endpoints: Sequence[Endpoint],
        others: Mapping[str, Sequence[Endpoint]] | None = None,
    ) -> None:
        """What to publish from now on; what is the same as before is not published again.

        `others` are endpoints at which this node sees other nodes, by their node ids.
        """
        wanted = (affiliate, tuple(endpoints), {id: tuple(seen) for id, seen in (others or {}).items()})
        if wanted != self._publish:
            self._publish = wanted
            self._publication = Publication.seal(self._key, *wanted)
            self._due.set()

    def reconnect(self) -> None:
        """Go on with a new connection at once: the network of this host changed, and the old one may be dead."""
        self._pause = FIRST_PAUSE
        self._moved.set()
        self._hurry.set()

    async def leave(self, timeout: float = HELLO_TIMEOUT) -> None:
        """Have the service forget this node, and end `run`, which has to be running.

        Raises TimeoutError when the service cannot be told; then the record expires by itself.
        """
        self._leaving.set()
        self._due.set()
        self._hurry.set()
        async with asyncio.timeout(timeout):
            await self._ended.wait()

    async def run(self) -> None:
        """Until `leave`, or until cancelled."""
        while True:
            await _wait(self._hurry, self._next_pause())
            self._hurry.clear()
            self._moved.clear()
            try:
                async with self._stub() as stub:
                    if self._leaving.is_set() or await self._session(stub):
                        await self._delete(stub)
                        self._ended.set()
                        return
                log.debug("the discovery service ended the watch of %s", self._node_id)
            except grpc.RpcError as error:
                log.warning("discovery service %s: %s", self._target, _words(error))
            except OSError as error:
                log.warning("discovery service %s: %s", self._target, error)

    @contextlib.asynccontextmanager
    async def _stub(self) -> AsyncIterator[pb_grpc.ClusterStub]:
        connection = self._connect(self._target)
        try:
            yield pb_grpc.ClusterStub(connection)
        finally:
            await connection.close(None)

    async def _session(self, stub: pb_grpc.ClusterStub) -> bool:
        """One connection: whether it ended because this node leaves. Raises RpcError when it is lost."""
        if not await self._hello(stub):
            return False
        following = asyncio.create_task(self._follow(stub))
        refreshing = asyncio.create_task(self._refresh(stub))
        moving = asyncio.create_task(self._moved.wait())
        tasks = following, refreshing, moving
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
            return refreshing.done() and refreshing.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hello(self, stub: pb_grpc.ClusterStub) -> bool:
        """Whether this is the service to talk to; else the next connection goes to the other one."""
        request = pb.HelloRequest(cluster_id=self._cluster_id, client_version=self._version)
        answer = await stub.Hello(request, timeout=HELLO_TIMEOUT)
        if len(answer.client_ip) in (4, 16) and (seen := ip_address(answer.client_ip)) != self.public_address:
            self.public_address = seen
            self._changed()
        if answer.HasField("redirect") and answer.redirect.endpoint:
            log.info("discovery service %s redirects to %s", self._target, answer.redirect.endpoint)
            self._target = answer.redirect.endpoint
            return False
        return True

    async def _follow(self, stub: pb_grpc.ClusterStub) -> None:
        """Take over what the service says until it ends the stream."""
        first = True
        async for response in stub.Watch(pb.WatchRequest(cluster_id=self._cluster_id)):
            if self._known.apply(response, first=first):
                self._changed()
            first = False

    async def _refresh(self, stub: pb_grpc.ClusterStub) -> bool:
        """Publish whenever it is due, until this node leaves."""
        while not self._leaving.is_set():
            self._due.clear()
            try:
                await self._update(stub)
                self._pause = FIRST_PAUSE
                wait = self._ttl / 2
            except grpc.RpcError as error:
                wait = self._next_pause()
                log.warning("node %s cannot publish at %s: %s", self._node_id, self._target, _words(error))
            await _wait(self._due, wait)
        return True

    async def _update(self, stub: pb_grpc.ClusterStub) -> None:
        if self._publication is None:
            return
        now = asyncio.get_running_loop().time
        end = now() + REFRESH_TIMEOUT
        for request in self._publication.updates(self._cluster_id, self._node_id, self._ttl):
            await stub.AffiliateUpdate(request, timeout=end - now())

    async def _delete(self, stub: pb_grpc.ClusterStub) -> None:
        request = pb.AffiliateDeleteRequest(cluster_id=self._cluster_id, affiliate_id=self._node_id)
        await stub.AffiliateDelete(request, timeout=REFRESH_TIMEOUT)

    def _next_pause(self) -> float:
        """Seconds to wait now; the next time it is more."""
        pause = self._pause * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        self._pause = min(self._pause * GROWTH, LONGEST_PAUSE)
        return pause


async def _wait(event: asyncio.Event, timeout: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await event.wait()


def _words(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
