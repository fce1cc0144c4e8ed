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
from uuid import UUID

from apps.clusters.adapters import ClusterTrust, authorities_of, credentials_of
from apps.gateways import metrics
from apps.gateways.agents import Agents
from apps.gateways.balancers import Balancers
from apps.gateways.batcher import Batcher
from apps.gateways.changes import follow_changes
from apps.gateways.dialing import Dialing
from apps.gateways.directory import Directory, Known
from apps.gateways.monitor import Monitor
from apps.gateways.public import PublicPort
from apps.gateways.sessions import Sessions
from apps.machines import joining
from apps.machines.actions import MACHINE_REMOVED
from apps.machines.adapters import DatabaseLinkRegistry, as_link
from apps.machines.agents import AGENT_REMOVED
from apps.machines.models import Link as LinkRow
from apps.tenants.threads import in_thread
from nodeagent import dial
from nodeagent.ports import Link
from nodeagent.siderolink.server import SideroLinkServer
from nodeagent.wireguard.device_link import Kind
from nodeagent.wireguard.engine import Engine
from nodeagent.wireguard.interface import InterfaceEngine
from nodeagent.wireguard.userspace import UserspaceEngine
from talos import siderolink

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the gateway needs to know of its installation."""

    data: Path
    run: Path  # folder of unix sockets, private
    host: str
    port: int
    advertise: str  # address that machines dial
    wireguard: str  # userspace, wireguard-go or kernel
    wireguard_port: int
    dsn: str
    certificate: Path
    key: Path

    @property
    def wireguard_endpoint(self) -> str:
        """What machines over UDP are told."""
        host = f"[{self.advertise}]" if ":" in self.advertise else self.advertise
        return f"{host}:{self.wireguard_port}"


async def run(settings: Settings) -> None:
    """Run the gateway until cancelled."""
    directory = Directory()
    engine = await open_engine(settings)
    agents = Agents("", directory, authorities_of, lambda row: seen(row, as_link(row)), lambda name: False)
    dialing = Dialing(engine, agents, directory)
    batcher = Batcher(settings.dsn, directory)
    sessions = Sessions(
        dialing.dial, directory, batcher, credentials_of, lambda known: monitor.up(known), agents.failed
    )
    balancers = Balancers(engine)
    forgetting: set[asyncio.Task[None]] = set()

    def seen(row: LinkRow, link: Link) -> None:
        before = directory.link(link.id)
        known = Known(link, row.organisation_id, row.machine_id, row.claimed_uuid, row.required_fingerprint)
        directory.put(known)
        if before is not None and (before.link.transport == "agent") != (link.transport == "agent"):
            sessions.silent(link.id)  # what runs over the way that it left
        for replaced in directory.others_with_key(known):
            directory.drop(replaced.link.id)
            sessions.stop(replaced.link.id)
            batcher.registered(known, replaced.link.address)
        batcher.registered(known, link.address)
        sessions.start(link.id)
        balancers.look()

    def gone(link_id: str) -> None:
        known = directory.drop(link_id)
        sessions.stop(link_id)
        if known is not None:
            batcher.forget(known)
            if known.link.transport == "agent":
                return
            forget = asyncio.get_running_loop().create_task(links.forget(known.link))
            forgetting.add(forget)
            forget.add_done_callback(forgetting.discard)

    def heard(kind: str, object_id: str) -> None:
        if kind == MACHINE_REMOVED:
            known = directory.machine(UUID(object_id))
            if known is not None:
                gone(known.link.id)
            agents.removed(UUID(object_id))
        elif kind in ("agent", AGENT_REMOVED, "join-token"):
            agents.heard(kind, object_id)
        elif kind in ("cluster", "cluster-machine", "machine"):
            balancers.look()

    async def missed() -> None:
        """Links that went while nobody listened."""
        before = directory.all()
        stored = await in_thread(joining.stored_links)
        for known in before:
            if known.link_id not in stored and directory.link(known.link.id) is known:
                gone(known.link.id)
        balancers.look()
        agents.check()

    monitor = Monitor(engine, agents, directory, batcher, woke=sessions.poke, silent=sessions.silent, gone=gone)
    links = SideroLinkServer(
        engine=engine,
        registry=DatabaseLinkRegistry(seen),
        events=batcher,
        logs=batcher,
        trust=ClusterTrust(),
        endpoint=settings.wireguard_endpoint,
        socket=settings.run / "grpc.sock",
        services=[agents.server.add_to],
    )
    public = PublicPort(tls_context(settings), settings.run / "core.sock", settings.run / "grpc.sock")
    async with contextlib.AsyncExitStack() as ending:
        ending.push_async_callback(engine.close)
        ending.push_async_callback(links.stop)
        ending.push_async_callback(sessions.close)
        ending.push_async_callback(agents.close)
        await agents.start()
        await links.start()  # restores peers, then listens on the overlay and on grpc.sock
        dialled = await dial.serve(settings.run / "gateway.sock", dialing.dial)
        ending.callback(dialled.close)
        numbers = await metrics.serve(settings.run / "metrics.sock", engine, directory, monitor)
        ending.callback(numbers.close)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(engine.watch())
            tasks.create_task(batcher.run())
            tasks.create_task(monitor.run())
            tasks.create_task(agents.run())
            tasks.create_task(balancers.run())
            tasks.create_task(follow_changes(settings.dsn, heard, missed))
            tasks.create_task(public.serve(settings.host, settings.port))
            log.info("gateway listens on %s:%d", settings.host, settings.port)


async def open_engine(settings: Settings) -> Engine:
    """The WireGuard engine that this installation chose. Raises OSError when it cannot be had."""
    key = base64.b64decode((settings.data / "wireguard.key").read_text())
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
    except asyncio.CancelledError:
        log.info("gateway stopped")


def tls_context(settings: Settings) -> ssl.SSLContext:
    """TLS of the public port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.certificate, settings.key)
    return context
