"""The gateway role: everything that talks to machines, and the public port.

Order of start: the database's links become peers before anything listens, so that no machine that comes back meets a
server that does not know it.
"""

import asyncio
import base64
import contextlib
import logging
import signal
import ssl
from dataclasses import dataclass
from pathlib import Path

from apps.accounts.key_adapters import Keys
from apps.clusters.adapters import ClusterTrust, authorities_of, credentials_of
from apps.gateways import metrics
from apps.gateways.agents import Agents
from apps.gateways.authorities import Authorities
from apps.gateways.balancers import Balancers
from apps.gateways.batcher import Batcher
from apps.gateways.changes import Change, follow_changes
from apps.gateways.dialing import Dialing
from apps.gateways.directory import Directory, Known
from apps.gateways.discovery import DiscoverySettings, EmbeddedDiscovery
from apps.gateways.holding import Holding
from apps.gateways.monitor import Monitor
from apps.gateways.public import PublicPort
from apps.gateways.roster import NameTaken, Roster
from apps.gateways.sessions import Sessions
from apps.gateways.upstream import Upstream, on_hosts, on_socket
from apps.machines.actions import MACHINE_REMOVED
from apps.machines.adapters import DatabaseLinkRegistry, as_link
from apps.machines.agents import AGENT_REMOVED
from apps.machines.holders import LINK_CHANGED
from apps.proxies.proxies import Proxies
from nodeagent import dial
from nodeagent.internal import Identity
from nodeagent.siderolink.server import SideroLinkServer
from nodeagent.wireguard.device_link import Kind
from nodeagent.wireguard.engine import Engine
from nodeagent.wireguard.interface import InterfaceEngine
from nodeagent.wireguard.userspace import UserspaceEngine
from talos import siderolink

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the gateway needs to know of its installation. `identity` and what follows it are for several hosts."""

    name: str  # links are held under it
    wireguard_key: Path
    run: Path  # folder of unix sockets, private to this process and, on one host, to the web process
    host: str
    port: int
    advertise: str  # address that machines dial
    wireguard: str  # userspace, wireguard-go or kernel
    wireguard_port: int
    dsn: str
    certificate: Path
    key: Path
    identity: Identity | None = None
    internal: tuple[str, int] | None = None  # where it is dialled by the other processes
    internal_address: str = ""  # the same as they know it
    web: tuple[tuple[str, int], ...] = ()  # internal addresses of web processes; without any, the one on this host
    discovery: DiscoverySettings | None = None  # of the discovery service, where there is one

    @property
    def upstream(self) -> Upstream:
        """Where HTTP goes on to."""
        if self.identity and self.web:
            return on_hosts(self.web, self.identity)
        return on_socket(self.run / "core.sock")

    @property
    def wireguard_endpoint(self) -> str:
        """What machines over UDP are told."""
        host = f"[{self.advertise}]" if ":" in self.advertise else self.advertise
        return f"{host}:{self.wireguard_port}"


async def run(settings: Settings) -> None:
    """Run the gateway until cancelled. Raises `NameTaken`."""
    directory, roster = Directory(), Roster(settings.name, settings.internal_address)
    engine = await open_engine(settings)
    agents = Agents(roster, authorities_of, lambda row: holding.seen(row, as_link(row)))
    dialing = Dialing(engine, agents, directory, roster, settings.identity)
    batcher = Batcher(settings.dsn, directory, roster.name, lambda known: refused(known))
    sessions = Sessions(
        dialing.dial, directory, batcher, credentials_of, lambda known: monitor.up(known), agents.failed
    )
    balancers = Balancers(engine, dialing.dial)
    proxies, keys = Proxies(dialing.dial), Keys()
    discovery = EmbeddedDiscovery(engine, settings.discovery, roster, settings.identity) if settings.discovery else None
    reach = discovery.beside(dialing.dial) if discovery else dialing.dial  # what our other processes may ask for
    holding = Holding(roster, directory, sessions, batcher, engine, lambda: links, balancers.look, agents.link_changed)

    def refused(known: Known) -> None:
        """Another gateway holds this machine's link, or held it a moment ago."""
        monitor.forget(known.link.id)
        sessions.silent(known.link.id)
        holding.look_at(known.organisation_id, known.link_id)

    def heard(change: Change) -> None:
        proxies.heard(change.kind, change.id, change.organisation)
        if change.kind == LINK_CHANGED:
            if change.by != roster.name:
                holding.look_at(change.organisation, change.id)
        elif change.kind == MACHINE_REMOVED:
            known = directory.machine(change.id)
            if known is not None:
                holding.gone(known.link.id)
            agents.removed(change.id)
        elif change.kind in ("agent", AGENT_REMOVED, "join-token"):
            agents.heard(change.kind, str(change.id), change.organisation)
        elif change.kind == "cluster":  # its members among others; what a machine says changes none
            balancers.look()
            if discovery:
                discovery.cluster_changed(change.id)
        elif change.kind == "authority":
            authorities.look()
        elif change.kind == "access-key":
            keys.heard(change.id, change.organisation)

    def others_changed() -> None:
        holding.look_for_orphans()
        agents.look_for_orphans()

    def missed() -> None:
        """What changed while nobody listened."""
        holding.look_at_all()
        balancers.look()
        agents.check()
        authorities.look()
        proxies.missed()
        keys.server.wake()
        if discovery:
            discovery.missed()

    monitor = Monitor(
        roster.name,
        engine,
        agents,
        directory,
        batcher,
        woke=sessions.poke,
        silent=sessions.silent,
        gone=holding.gone,
        claim=holding.claim,
        fell_silent=holding.fell_silent,
    )
    links = SideroLinkServer(
        engine=engine,
        registry=DatabaseLinkRegistry(roster.name, holding.seen, roster.runs),
        events=batcher,
        logs=batcher,
        trust=ClusterTrust(),
        endpoint=settings.wireguard_endpoint,
        socket=settings.run / "grpc.sock",
        services=[agents.server.add_to, keys.add_to, proxies.talos.add_to, *([discovery.add_to] if discovery else [])],
    )
    public = PublicPort(
        lambda: tls_context(settings),
        web=settings.upstream,
        grpc=on_socket(settings.run / "grpc.sock"),
        kubernetes=on_socket(settings.run / "kube.sock"),
    )
    authorities = Authorities(public.trust)
    async with contextlib.AsyncExitStack() as ending:
        ending.push_async_callback(engine.close)
        await roster.enter()
        ending.push_async_callback(roster.leave)
        ending.push_async_callback(proxies.close)
        if discovery:
            ending.push_async_callback(discovery.stop)
        ending.push_async_callback(links.stop)
        ending.push_async_callback(sessions.close)
        ending.push_async_callback(agents.close)
        await agents.start()
        await authorities.load()
        await links.start()  # restores peers, then listens on the overlay and on grpc.sock
        if discovery:
            await discovery.start()
        await proxies.start(settings.run / "kube.sock")
        dialled = await dial.serve(settings.run / "gateway.sock", reach)
        ending.callback(dialled.close)
        if settings.internal and settings.identity:
            services = discovery.internal if discovery else {}
            asked = await dial.serve_internal(*settings.internal, settings.identity, reach, dialing.here, services)
            ending.callback(asked.close)
        numbers = await metrics.serve(
            settings.run / "metrics.sock",
            engine,
            directory,
            monitor,
            proxies.live,
            [discovery.numbers] if discovery else [],
        )
        ending.callback(numbers.close)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(roster.run(others_changed))
            tasks.create_task(engine.watch())
            tasks.create_task(batcher.run())
            tasks.create_task(monitor.run())
            tasks.create_task(agents.run())
            tasks.create_task(holding.run())
            tasks.create_task(balancers.run())
            tasks.create_task(proxies.run())
            tasks.create_task(authorities.run())
            tasks.create_task(follow_changes(settings.dsn, heard, missed))
            tasks.create_task(public.serve(settings.host, settings.port))
            if discovery:
                tasks.create_task(discovery.run())
            log.info("gateway %s listens on %s:%d", settings.name, settings.host, settings.port)
            await _until_stopped(discovery, links)


async def _until_stopped(discovery: EmbeddedDiscovery | None, links: SideroLinkServer) -> None:
    """Wait to be cancelled, then send nodes away while the way to them is still open."""
    try:
        await asyncio.Event().wait()
    finally:
        if discovery:
            await discovery.drain(links.retire)


async def open_engine(settings: Settings) -> Engine:
    """The WireGuard engine that this installation chose. Raises OSError when it cannot be had."""
    key = base64.b64decode(settings.wireguard_key.read_text())
    address = str(siderolink.server_address())
    if settings.wireguard == "userspace":
        return UserspaceEngine(key, address, udp=(settings.host, settings.wireguard_port))
    interface = f"omni{settings.wireguard_port}"  # the port is this host's, so the name is, too
    return await InterfaceEngine.open(Kind(settings.wireguard), interface, key, address, settings.wireguard_port)


def main(settings: Settings) -> None:
    """Run the gateway as a process: until SIGTERM or SIGINT."""

    async def until_signal() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        await run(settings)

    try:
        asyncio.run(until_signal())
    except* asyncio.CancelledError:
        log.info("gateway stopped")
    except* NameTaken as taken:
        log.error("%s", taken.exceptions[0])
        raise SystemExit(1) from None


def tls_context(settings: Settings) -> ssl.SSLContext:
    """TLS of the public port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.certificate, settings.key)
    return context
