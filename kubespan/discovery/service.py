"""The gRPC methods of the discovery service, as they are seen on one way by which clients come.

Answers are bytes that the state has ready (`entries.py`), so handlers get and give bytes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from kubespan.discovery import limits, source
from kubespan.discovery.core import Discovery
from kubespan.discovery.counting import Method
from kubespan.discovery.limiter import Limiter
from kubespan.discovery.limits import Refused
from kubespan.discovery.source import Address
from kubespan.discovery.watching import SMALL
from kubespan.ports import Act, Gate
from talos.gen.sidero import discovery_pb2 as pb

SERVICE = "sidero.discovery.server.Cluster"

OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", limits.REQUEST_BYTES),
    # Nodes ping every 3 minutes while they watch; grpcio takes that for an attack unless told otherwise.
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    # Finds watchers that are gone without a word.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # What is held for each watcher that does not read.
    ("grpc.http2.write_buffer_size", 16 * 1024),
    # After a restart all nodes come at once.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
]
"""For servers that carry nothing else."""

OPEN_CALLS = 2_048
"""Of one address: watches, calls that wait for their turn, and those whose answer was not taken yet."""

COMPLAINTS = ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
"""Codes of refusals that are logged; there are a dozen texts of them, and each is logged once in `SILENCE` seconds."""

SILENCE = 60.0

log = logging.getLogger(__name__)

Answer = Callable[[bytes, Any, Address | None], Awaitable[bytes | None]]


class Face:
    """One way to the service; `add_to` puts it on a server.

    `gate` is asked about each call; without a `limiter` there are no limits by address. `report_address` tells clients
    their address, which nodes then publish: so only where it is the one under which others reach them. A proxy in front
    is trusted about it by `trust_real_ip` (header `x-real-ip`) and `trust_forwarded_for` (the first one of
    `x-forwarded-for`). `redirect` is a HOST:PORT where clients are sent. `address_of` reads what grpcio calls the other
    end, for connections that are relayed.
    """

    def __init__(
        self,
        core: Discovery,
        *,
        gate: Gate | None = None,
        limiter: Limiter | None = None,
        report_address: bool = True,
        trust_real_ip: bool = False,
        trust_forwarded_for: bool = False,
        redirect: str = "",
        address_of: Callable[[str], Address | None] = source.of_peer,
    ) -> None:
        self._core, self._gate, self._limiter = core, gate, limiter
        self._report_address, self._redirect, self._address_of = report_address, redirect, address_of
        self._trust_real_ip, self._trust_forwarded_for = trust_real_ip, trust_forwarded_for
        self._open: dict[bytes, int] = {}
        self._silent_until: dict[str, float] = {}

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer the service's methods on a server that has not started."""
        unary = {
            "Hello": self._hello,
            "AffiliateUpdate": self._update,
            "AffiliateDelete": self._delete,
            "List": self._list,
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(partial(self._call, self._core.calls.method(name), answer))
            for name, answer in unary.items()
        }
        handlers["Watch"] = grpc.unary_stream_rpc_method_handler(
            partial(self._call, self._core.calls.method("Watch"), self._watch)
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def _call(self, method: Method, answer: Answer, data: bytes, context: Any) -> bytes | None:
        """What is the same for all calls: where from, how often, how many, and what goes wrong."""
        began = time.perf_counter()
        method.started += 1
        code, address = "OK", None
        try:
            address = self._address(context)
            if address is not None and self._limiter is not None:
                key = address.packed  # which is much faster to find again
                self._enter(key, context)
                await self._limiter.turn(key, context.time_remaining)
            method.received += 1
            answered = await answer(data, context, address)
            if answered is not None:
                method.sent += 1
            return answered
        except Refused as refused:
            code = refused.code
            if answer == self._update:
                self._complain(refused, address)
            await context.abort(grpc.StatusCode[code], refused.text)
        except DecodeError:
            code = "INTERNAL"
            await context.abort(grpc.StatusCode.INTERNAL, "the request cannot be read: it is no message of this method")
        except (asyncio.CancelledError, grpc.aio.InternalError):  # the latter: it went while something was sent to it
            code = "CANCELLED"
            raise
        except Exception:
            code = "INTERNAL"
            log.exception("a call failed")
            await context.abort(grpc.StatusCode.INTERNAL, "the discovery service failed; its log says why")
        finally:
            method.ended(code, time.perf_counter() - began)
        raise AssertionError("abort returns to nobody")

    def _address(self, context: Any) -> Address | None:
        if self._trust_real_ip or self._trust_forwarded_for:
            said = source.of_metadata(
                context.invocation_metadata(), real_ip=self._trust_real_ip, forwarded_for=self._trust_forwarded_for
            )
            if said is not None:
                return said
        return self._address_of(context.peer())

    def _enter(self, key: bytes, context: Any) -> None:
        """Raises Refused."""
        count = self._open.get(key, 0)
        if count >= OPEN_CALLS:
            raise Refused("RESOURCE_EXHAUSTED", "too many open calls from this address")
        self._open[key] = count + 1
        context.add_done_callback(partial(self._leave, key))

    def _leave(self, key: bytes, context: Any) -> None:
        count = self._open[key]
        if count > 1:
            self._open[key] = count - 1
        else:
            del self._open[key]

    def _limited(self, address: Address | None, context: Any) -> Hashable:
        """Whom a call is counted with: its address, where addresses are limited at all."""
        return context if address is None or self._limiter is None else address

    def _complain(self, refused: Refused, address: Address | None) -> None:
        """A node whose update is refused is lost to the others, and it may be for good. Ids are not for logs."""
        now = time.monotonic()
        if refused.code in COMPLAINTS and now > self._silent_until.get(refused.text, 0):
            self._silent_until[refused.text] = now + SILENCE
            log.warning("an update from %s was refused: %s (said once a minute)", address or "somebody", refused.text)

    async def _admit(self, address: Address | None, cluster_id: str, affiliate_id: str, act: Act) -> None:
        """Raises Refused."""
        if self._gate is not None:
            why = await self._gate.refusal(address, cluster_id, affiliate_id, act)
            if why is not None:
                raise Refused("PERMISSION_DENIED", why)
        if not self._core.ready:
            await self._core.admit(begins=act in (Act.HELLO, Act.WATCH))

    async def _hello(self, data: bytes, context: Any, address: Address | None) -> bytes:
        request = pb.HelloRequest.FromString(data)
        self._core.calls.hello(request.client_version)
        limits.check_cluster_id(request.cluster_id)
        await self._admit(address, request.cluster_id, "", Act.HELLO)
        response = pb.HelloResponse()
        if self._report_address and address is not None:
            response.client_ip = address.packed
        if self._redirect:
            response.redirect.endpoint = self._redirect
        return response.SerializeToString()

    async def _update(self, data: bytes, context: Any, address: Address | None) -> bytes:
        request = pb.AffiliateUpdateRequest.FromString(data)
        limits.check_update(request)
        act = Act.PUBLISH if request.affiliate_data else Act.ENDPOINTS
        await self._admit(address, request.cluster_id, request.affiliate_id, act)
        await self._core.write(request)
        return b""

    async def _delete(self, data: bytes, context: Any, address: Address | None) -> bytes:
        request = pb.AffiliateDeleteRequest.FromString(data)
        limits.check_ids(request.cluster_id, request.affiliate_id)
        await self._admit(address, request.cluster_id, request.affiliate_id, Act.DELETE)
        await self._core.write(request)
        return b""

    async def _list(self, data: bytes, context: Any, address: Address | None) -> bytes:
        cluster_id = pb.ListRequest.FromString(data).cluster_id
        limits.check_cluster_id(cluster_id)
        await self._admit(address, cluster_id, "", Act.LIST)
        size = self._core.state.size(cluster_id)
        if size > SMALL:
            who = self._limited(address, context)
            await self._core.room.enter(who, size)
            context.add_done_callback(lambda context: self._core.room.leave(who, size))
        return self._core.state.listing(cluster_id)

    async def _watch(self, data: bytes, context: Any, address: Address | None) -> None:
        """First all there is, then each change, until the client or the service ends it."""
        core, method = self._core, self._core.calls.method("Watch")
        cluster_id = pb.WatchRequest.FromString(data).cluster_id
        limits.check_cluster_id(cluster_id)
        await self._admit(address, cluster_id, "", Act.WATCH)
        size = core.state.size(cluster_id)
        who = self._limited(address, context)
        await core.room.enter(who, size)
        watch, listing = core.watch(cluster_id)
        try:
            try:
                await context.write(listing)
            finally:
                core.room.leave(who, size)
            del listing  # the watch may last for days
            method.sent += 1
            while (event := await watch.next()) is not None:
                await context.write(event)
                del event
                method.sent += 1
        finally:
            core.unwatch(cluster_id, watch)
