"""A discovery service on loopback, with a client, and a clock that only tests turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from kubespan.discovery.core import Discovery, Files
from kubespan.discovery.service import OPTIONS, Face
from talos.gen.sidero import discovery_pb2 as pb
from talos.gen.sidero import discovery_pb2_grpc

CALL = 10.0
"""Seconds that a call may take."""

CLUSTER = "a cluster"


class Clock:
    """Seconds; they pass when somebody says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Service:
    """A running service: its insides, where it listens, and a client of it."""

    core: Discovery
    clock: Clock
    port: int
    stub: Any
    channel: grpc.aio.Channel
    watches: list[Any] = field(default_factory=list)

    async def hello(self, cluster: str = CLUSTER, **headers: str) -> pb.HelloResponse:
        metadata = [(name.replace("_", "-"), value) for name, value in headers.items()]
        request = pb.HelloRequest(cluster_id=cluster, client_version="v1.14.0")
        return await self.stub.Hello(request, metadata=metadata, timeout=CALL)

    async def update(
        self, id: str, data: bytes = b"", endpoints: list[bytes] | None = None, ttl: float = 60, cluster: str = CLUSTER
    ) -> None:
        await self.stub.AffiliateUpdate(update(id, data, endpoints, ttl, cluster), timeout=CALL)

    async def delete(self, id: str, cluster: str = CLUSTER) -> None:
        await self.stub.AffiliateDelete(pb.AffiliateDeleteRequest(cluster_id=cluster, affiliate_id=id), timeout=CALL)

    async def list(self, cluster: str = CLUSTER) -> dict[str, tuple[bytes, list[bytes]]]:
        """What is known of each affiliate."""
        return known(await self.stub.List(pb.ListRequest(cluster_id=cluster), timeout=CALL))

    async def watch(self, cluster: str = CLUSTER) -> tuple[Any, pb.WatchResponse]:
        """A watch, and its first message."""
        watch = self.stub.Watch(pb.WatchRequest(cluster_id=cluster))
        self.watches.append(watch)
        first = await watch.read()
        assert isinstance(first, pb.WatchResponse), await watch.code()
        return watch, first

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and what has expired go."""
        self.clock.now += seconds
        await self.core.collect()


def update(
    id: str, data: bytes = b"", endpoints: list[bytes] | None = None, ttl: float = 60, cluster: str = CLUSTER
) -> pb.AffiliateUpdateRequest:
    request = pb.AffiliateUpdateRequest(cluster_id=cluster, affiliate_id=id, affiliate_endpoints=endpoints or [])
    if data:
        request.affiliate_data = data
    request.ttl.FromMicroseconds(round(ttl * 1e6))
    return request


def known(response: pb.ListResponse | pb.WatchResponse) -> dict[str, tuple[bytes, list[bytes]]]:
    return {one.id: (one.data, list(one.endpoints)) for one in response.affiliates}


@asynccontextmanager
async def serving(files: Files | None = None, clock: Clock | None = None, **face: Any) -> AsyncIterator[Service]:
    """A service whose face is made with these arguments."""
    clock = clock or Clock()
    core = Discovery(files, clock=clock)
    server = grpc.aio.server(options=OPTIONS)
    Face(core, **face).add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await core.start()
    await server.start()
    options = [("grpc.max_receive_message_length", 8 << 20), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        service = Service(core, clock, port, discovery_pb2_grpc.ClusterStub(channel), channel)
        try:
            yield service
        finally:
            for watch in service.watches:
                watch.cancel()
            await server.stop(None)
            await core.close()
