"""The discovery service inside a gateway, by three ways: for machines over SideroLink, where a gate knows each of them;
for everybody on the public port, as any other discovery service; and for our own processes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from uuid import UUID

import grpc

from apps.gateways.discovery_peers import SERVICE, GatewayPeers
from apps.gateways.roster import Roster
from apps.mesh.gate import MachineGate
from kubespan.discovery.core import HOLD_SECONDS, Discovery
from kubespan.discovery.limiter import Limiter
from kubespan.discovery.metrics import Collector
from kubespan.discovery.replicas.replicas import Replicas
from kubespan.discovery.service import OPTIONS, Face
from kubespan.discovery.source import Address, parse
from kubespan.discovery.store import Store
from nodeagent.caller import caller_of
from nodeagent.dial import Dial, Stream
from nodeagent.internal import Handler, Identity
from nodeagent.siderolink.overlay import OverlayService
from nodeagent.sockets import new_socket_path
from nodeagent.wireguard.engine import Engine
from talos.siderolink import DISCOVERY_PORT

RETRY = 5.0
"""Seconds until files that could not be used are tried again."""

DRAIN = 3.0
"""Seconds that a stop waits for updates under way: a node whose update breaks off does not try again for minutes."""

FAREWELL = HOLD_SECONDS + 0.5
"""Seconds in which last answers reach their clients."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DiscoverySettings:
    """`file` is the snapshot's, of this gateway alone, saved each `interval` seconds.

    What comes from `proxies` comes from machines behind them, whose addresses are not known.
    """

    file: Path
    interval: float
    proxies: Sequence[IPv4Network | IPv6Network] = ()


class EmbeddedDiscovery:
    """The service of one gateway. It goes on while the database is away, and the gateway goes on without it.

    With an `identity` there may be other gateways: each has a copy of everything, so nodes may call any of them.
    """

    def __init__(
        self, engine: Engine, settings: DiscoverySettings, roster: Roster, identity: Identity | None = None
    ) -> None:
        store = Store(settings.file, settings.interval)
        self.core = Discovery(store)
        self.numbers = Collector(self.core, store)
        self.internal: dict[str, Handler] = {}  # for the internal port: connections of other gateways, by what they ask
        if identity is not None:
            peers = GatewayPeers(roster, identity)
            self.core.orderer = Replicas(self.core, roster.name, peers)
            self.internal[SERVICE] = peers.accept
        self._gate = MachineGate()
        self._folder, self._proxies = settings.file.parent, settings.proxies
        self._engine, self._path = engine, new_socket_path()
        self._public = Face(self.core, limiter=Limiter(), address_of=self._caller)
        machines = grpc.aio.server(options=OPTIONS)
        Face(
            self.core, gate=self._gate, limiter=Limiter(), report_address=False, address_of=_relayed
        ).add_to(machines)  # fmt: skip
        self._overlay = OverlayService(engine, DISCOVERY_PORT, machines)
        self._own = grpc.aio.server(options=OPTIONS)
        Face(self.core, report_address=False, address_of=lambda peer: None).add_to(self._own)
        self._own.add_insecure_port(f"unix:{self._path}")

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer on the public port's server, too."""
        self._public.add_to(server)

    async def start(self) -> None:
        """Open the port on the overlay. Raises OSError. Clients are served once `run` has loaded the files."""
        await self._own.start()
        await self._overlay.start()

    async def run(self) -> None:
        """Load what was kept and begin to serve, as soon as that can be done."""
        while True:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # ids of clusters are in its files
                await self.core.start()
                return
            except OSError as error:
                log.error("the discovery service cannot start, trying again: %s", error)
                await asyncio.sleep(RETRY)

    async def drain(self, public: Callable[[float], Awaitable[None]]) -> None:
        """Send clients away, while they can still be reached; without any there is nothing to wait for.

        `public` stops the server of the public port within so many seconds. All servers tell their clients to make
        their next call elsewhere before the last answers go out, so that none is under way when connections end.
        """
        if not self.core.state.subscriptions:
            return
        await self.core.drain(DRAIN)
        await asyncio.gather(public(FAREWELL), self._overlay.retire(FAREWELL), self._own.stop(FAREWELL))

    async def stop(self) -> None:
        """Write everything and stop."""
        await self._overlay.stop()
        await self._own.stop(None)
        self._path.unlink(missing_ok=True)
        await self.core.close()

    def beside(self, dial: Dial) -> Dial:
        """`dial`, which at our own address on the overlay finds this service."""

        async def either(address: str, port: int) -> Stream:
            if (address, port) == (self._engine.address, DISCOVERY_PORT):
                return await asyncio.open_unix_connection(str(self._path))
            return await dial(address, port)

        return either

    def cluster_changed(self, cluster: UUID) -> None:
        """Machines that may use it may be others."""
        self._gate.changed(cluster)

    def missed(self) -> None:
        """Changes may have gone unheard."""
        self._gate.missed()

    def _caller(self, peer: str) -> Address | None:
        address = _relayed(peer)
        return None if address is None or any(address in network for network in self._proxies) else address


def _relayed(peer: str) -> Address | None:
    caller = caller_of(peer)
    return parse(caller.address) if caller else None
