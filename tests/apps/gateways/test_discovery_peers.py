"""Discovery services of several gateways, over their internal ports."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from apps.gateways.discovery_peers import SERVICE, GatewayPeers
from apps.gateways.roster import Roster
from kubespan.discovery.core import Discovery
from kubespan.discovery.replicas import meeting
from kubespan.discovery.replicas.replicas import Replicas
from nodeagent import dial
from nodeagent.dial import NoWay, Stream
from nodeagent.internal import Identity
from omni import keys
from omni.config import Config
from talos.gen.sidero import discovery_pb2 as pb
from tests.apps.gateways.lab import free_port
from tests.kubespan.discovery.circles import eventually

HOST = "127.0.0.1"


async def _nowhere(address: str, port: int) -> Stream:
    raise OSError(113, "no machines here")


@contextlib.asynccontextmanager
async def gateway(name: str, live: dict[str, str], identity: Identity) -> AsyncIterator[tuple[Discovery, Replicas]]:
    """What a gateway has of it; `live` is what its roster says."""
    roster = Roster(name, live[name])
    roster.live = live
    peers = GatewayPeers(roster, identity)
    core = Discovery()
    core.orderer = replicas = Replicas(core, name, peers)
    port = int(live[name].rpartition(":")[2])
    server = await dial.serve_internal(HOST, port, identity, _nowhere, _nowhere, {SERVICE: peers.accept})
    await core.start()
    try:
        yield core, replicas
    finally:
        await core.close()
        server.close()


async def test_gateways_find_each_other_by_the_roster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "BEAT", 0.05)
    config = Config(data=tmp_path)
    keys.prepare(config)
    identity = keys.identity(config)
    addresses = [f"{HOST}:{free_port(1)}" for _ in range(2)]
    live = {"gateway-1": addresses[0], "alone": ""}
    update = pb.AffiliateUpdateRequest(cluster_id="c", affiliate_id="a", affiliate_data=b"x")
    update.ttl.FromSeconds(60)
    async with gateway("gateway-1", live, identity) as (first, replicas):
        await first.write(update)
        live["gateway-2"] = addresses[1]
        async with gateway("gateway-2", live, identity) as (second, _):
            assert second.state.listing("c") == first.state.listing("c") != b""
            update.affiliate_id = "b"
            await second.write(update)
            await eventually(lambda: second.state.listing("c") == first.state.listing("c"))
        del live["gateway-2"]
        await eventually(lambda: not replicas.meeting.links)
        await asyncio.wait_for(first.write(update), 10)


async def test_a_gateway_has_no_other_services(tmp_path: Path) -> None:
    config = Config(data=tmp_path)
    keys.prepare(config)
    identity = keys.identity(config)
    server = await dial.serve_internal(HOST, 0, identity, _nowhere, _nowhere)
    with pytest.raises(NoWay, match="no service discovery"):
        await dial.service_on_host(server.sockets[0].getsockname()[:2], identity, SERVICE, 5)
    server.close()
