"""The machine's side of SideroLink: provisioning, WireGuard over UDP or gRPC, and how a lost link heals."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import random
import time
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Interface
from typing import TYPE_CHECKING

import grpc

from nodeagent.simulator import resources
from nodeagent.simulator.tunnel import Relay
from nodeagent.wireguard.engine import UdpAddress
from nodeagent.wireguard.noise import Identity
from nodeagent.wireguard.userspace import UserspaceEngine
from talos import semver, siderolink
from talos.gen.sidero import link_pb2, link_pb2_grpc
from talos.kernelargs import MachineAPI
from talos.resources import types

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

log = logging.getLogger(__name__)

CHECK_INTERVAL = 30.0
"""Seconds between two looks at the handshake's age."""
PEER_DOWN = 275.0
"""Seconds without a handshake after which the peer counts as down."""
PROVISION_TIMEOUT = 30.0

UDP_LINK, TUNNEL_LINK = "siderolink", "siderolinktun"


def backoff(failures: int) -> float:
    """Seconds after so many failures in a row, as Talos' controllers wait: 0.5 s, half as much again each time, at most
    60 s, all of it give or take half.
    """
    return min(0.5 * 1.5 ** (failures - 1), 60.0) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter


class ProvisionFailed(Exception):
    """The answer of the server cannot be used."""


@dataclass(frozen=True)
class Provisioned:
    """A checked answer to Provision. `tunnel` is the virtual address, empty for UDP."""

    endpoints: list[str]
    server_key: bytes
    address: str
    server_address: str
    tunnel: str


@dataclass(frozen=True)
class Claim:
    """What a Provision call says; another one needs another call."""

    api: MachineAPI
    uuid: str
    token: str


class SideroLink:
    """The link of one boot. Its WireGuard key lives as long."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._private_key = os.urandom(32)
        self._engine: UserspaceEngine | None = None
        self._relay: Relay | None = None
        self._answer: Provisioned | None = None
        self._endpoints: list[str] = []
        self._failures = 0
        self._up = asyncio.Event()

    async def dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect over the link, as soon as it is there. Raises OSError."""
        await self._up.wait()
        assert self._engine is not None, "the link is up"
        return await self._engine.dial(host, port)

    async def run(self) -> None:
        """Keep the link up for as long as something names an API to link to."""
        boot = self._boot
        while True:
            wanted = self._wanted()
            if wanted is None:
                await self.close()
                await boot.until(lambda: self._wanted() is not None)
                continue
            try:
                await self._provision(wanted)
                await self._watch(wanted)
            except (grpc.RpcError, OSError, ValueError, ProvisionFailed) as error:
                self._failures += 1
                reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else error
                boot.kernel_log.talos(f"controller failed siderolink.ManagerController: {reason}", priority="err")
                log.debug("%s: provision: %s", boot.uuid, reason)
                await asyncio.sleep(backoff(self._failures))

    async def close(self) -> None:
        """Take the link down."""
        self._up.clear()
        await self._boot.ports.attach(None)
        if self._relay is not None:
            await self._relay.close()
            self._relay = None
        if self._engine is not None:
            await self._engine.close()
            self._engine = None
            self._answer = None
            self._boot.overlay = None
            for link in (UDP_LINK, TUNNEL_LINK):
                self._boot.store.remove(types.LINK_STATUS, link)

    def _wanted(self) -> Claim | None:
        api = self._boot.join.api
        return Claim(api, self._boot.uuid, self._boot.unique_token) if api else None

    def _differs(self, provisioned: Claim) -> bool:
        return self._wanted() != provisioned

    async def _provision(self, claim: Claim) -> None:
        """Call Provision and make the answer true."""
        boot, api = self._boot, claim.api
        public_key = Identity(self._private_key).public
        request = link_pb2.ProvisionRequest(
            node_uuid=claim.uuid,
            node_public_key=base64.b64encode(public_key).decode(),
            node_unique_token=claim.token,
            talos_version=boot.version,
        )
        if api.join_token:
            request.join_token = api.join_token
        if api.tunnel:
            request.wireguard_over_grpc = True
        async with boot.machine.channel(api) as channel:
            stub = link_pb2_grpc.ProvisionServiceStub(channel)
            response = await stub.Provision(request, timeout=PROVISION_TIMEOUT)
        answer = _checked(response)
        boot.kernel_log.talos(f"siderolink provisioned: {answer.address}")
        await self._apply(api, answer)

    async def _apply(self, api: MachineAPI, answer: Provisioned) -> None:
        old, self._answer = self._answer, answer
        self._endpoints = list(answer.endpoints)
        if self._engine is None or old is None or _device(old) != _device(answer):
            await self._rebuild(answer)
        assert self._engine is not None
        if not answer.tunnel:
            await self._next_endpoint()
        elif self._relay is None or (self._relay.tag, self._relay.api) != (answer.tunnel, api):
            if self._relay is not None:
                await self._relay.close()
            self._endpoints = []
            await self._engine.add_peer(answer.server_key, answer.server_address, answer.tunnel)
            self._relay = Relay(self._boot, self._engine, api, answer.tunnel)
        self._up.set()

    async def _rebuild(self, answer: Provisioned) -> None:
        boot = self._boot
        await self.close()
        self._answer = answer
        host = "::" if answer.endpoints[0].startswith("[") else "0.0.0.0"  # noqa: S104 - a WireGuard socket
        self._engine = UserspaceEngine(self._private_key, answer.address, udp=None if answer.tunnel else (host, 0))
        boot.overlay = answer.address
        name = TUNNEL_LINK if answer.tunnel else UDP_LINK
        boot.publish(resources.wireguard_link(name))
        boot.publish_addresses()
        await boot.ports.attach(self._engine)

    async def _next_endpoint(self) -> None:
        """Take the next cached UDP endpoint."""
        assert self._engine is not None, "provisioned"
        assert self._answer is not None, "provisioned"
        endpoint = await _resolve(self._endpoints.pop(0))
        await self._engine.add_peer(self._answer.server_key, self._answer.server_address, endpoint)

    async def _watch(self, provisioned: Claim) -> None:
        """Returns when it is time to provision again."""
        boot = self._boot
        while True:
            try:
                async with asyncio.timeout(CHECK_INTERVAL):
                    await boot.until(partial(self._differs, provisioned))
            except TimeoutError:
                if await self._alive():
                    continue
                if not self._endpoints:
                    return
                await self._next_endpoint()
                continue
            wanted = self._wanted()
            if wanted is not None and wanted.api == provisioned.api and self._endpoints and _keeps_cache(boot.version):
                # Old Talos keeps the endpoints it knows when only its token or UUID changes, and tries the next one.
                provisioned = wanted
                await self._next_endpoint()
                continue
            return

    async def _alive(self) -> bool:
        assert self._engine is not None, "provisioned"
        assert self._answer is not None, "provisioned"
        peer = await self._engine.peer(self._answer.server_key)
        alive = bool(peer and peer.last_handshake and time.time() - peer.last_handshake < PEER_DOWN)
        api = self._boot.join.api
        self._boot.put(
            types.SIDEROLINK_STATUS,
            {
                "host": api.host if api else "",
                "connected": alive,
                "linkName": TUNNEL_LINK if self._answer.tunnel else UDP_LINK,
                "grpcTunnel": bool(self._answer.tunnel),
            },
        )
        return alive


def _device(answer: Provisioned) -> tuple[str, bytes, str, bool]:
    """What a WireGuard device is made for; the rest can change in place."""
    return answer.address, answer.server_key, answer.server_address, bool(answer.tunnel)


def _checked(response: link_pb2.ProvisionResponse) -> Provisioned:
    endpoints = siderolink.order_for_wire(list(response.server_endpoint))
    if not endpoints:
        raise ProvisionFailed("host returned no endpoints")
    key = base64.b64decode(response.server_public_key, validate=True)
    return Provisioned(
        endpoints,
        key,
        str(IPv6Interface(response.node_address_prefix).ip),
        response.server_address,
        response.grpc_peer_addr_port,
    )


async def _resolve(endpoint: str) -> UdpAddress:
    host, _, port = endpoint.rpartition(":")
    found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port))
    return str(found[0][4][0]), int(found[0][4][1])


def _keeps_cache(version: str) -> bool:
    """Talos < 1.10.9 and 1.11.0 to 1.11.5."""
    core = semver.parse(version).core
    return core < (1, 10, 9) or (1, 11, 0) <= core < (1, 11, 6)
