"""A service that ends while clients write without a pause."""

import asyncio
from collections.abc import Callable

import grpc

from kubespan.discovery.core import Discovery
from kubespan.discovery.service import OPTIONS, SERVICE, Face
from talos.gen.sidero import discovery_pb2 as pb

WRITERS = 8


async def test_every_update_that_reaches_a_service_which_ends_is_done_and_acknowledged() -> None:
    core = Discovery()
    server = grpc.aio.server(options=OPTIONS)
    Face(core).add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await core.start()
    acknowledged: dict[str, bytes] = {}
    warm, ended = asyncio.Barrier(WRITERS + 1), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number in range(WRITERS):
            tasks.create_task(_write(port, str(number), acknowledged, warm, ended.is_set))
        await warm.wait()
        await core.drain()
        ended.set()
        await server.stop(10)
    await core.close()
    listing = pb.ListResponse.FromString(core.state.listing("cluster"))
    assert {affiliate.id: affiliate.data for affiliate in listing.affiliates} == acknowledged


async def _write(
    port: int, name: str, acknowledged: dict[str, bytes], warm: asyncio.Barrier, ended: Callable[[], bool]
) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        update = channel.unary_unary(f"/{SERVICE}/AffiliateUpdate")
        number = 0
        while not ended():  # what is sent after that finds nobody, and its client knows that it was not done
            data = str(number).encode()
            request = pb.AffiliateUpdateRequest(cluster_id="cluster", affiliate_id=name, affiliate_data=data)
            request.ttl.FromSeconds(60)
            await update(request.SerializeToString(), timeout=20)
            acknowledged[name] = data
            number += 1
            if number == 10:
                await warm.wait()
