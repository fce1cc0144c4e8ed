"""The server side of SideroLink, put together: provisioning and tunnels for machines outside, events, logs and trust
for machines on the overlay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import grpc

from nodeagent.ports import EventSink, Link, LinkRegistry, LogSink, TrustAuthority
from nodeagent.siderolink import events, trustd
from nodeagent.siderolink.events import EventReceiver
from nodeagent.siderolink.kmsg import KernelLogReceiver
from nodeagent.siderolink.overlay import OverlayService
from nodeagent.siderolink.peers import Peers, last_endpoint
from nodeagent.siderolink.provision import Provisioner
from nodeagent.siderolink.trustd import Trustd
from nodeagent.siderolink.tunnel import Tunnels
from nodeagent.wireguard.engine import Engine, Listener
from talos.gen import security_pb2_grpc
from talos.gen.sidero import events_pb2_grpc, link_pb2_grpc
from talos.siderolink import API_PORT, LOG_PORT

_CROWD = [
    # After a restart all machines call at once; grpcio turns calls away when more than 1,000 wait for their turn.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
]

REQUEST_LIMIT = 4 * 1024 * 1024
"""Bytes of a message that anybody sends here, held before it is known who does: a call carried to a machine may be so
large, with a configuration in it. Answers have no part in it."""

_MACHINE_API = [
    *_CROWD,
    ("grpc.max_receive_message_length", REQUEST_LIMIT),
    ("grpc.keepalive_time_ms", 60_000),  # finds streams whose machine is gone
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.max_ping_strikes", 0),
]


class SideroLinkServer:
    """Everything machines call. `socket` is where the machine API listens; whoever holds the public port relays to it.

    `endpoint` is the `ip:port` under which machines reach the engine over UDP. Each of `services` is called with the
    gRPC server of that socket before it starts, to add itself.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        registry: LinkRegistry,
        events: EventSink,
        logs: LogSink,
        trust: TrustAuthority,
        endpoint: str,
        socket: Path,
        services: Sequence[Callable[[grpc.aio.Server], None]] = (),
    ) -> None:
        self._engine, self._registry, self._socket, self._services = engine, registry, socket, services
        self._tunnels = Tunnels(engine, self._look_up)
        self._peers = Peers(engine, self._tunnels)
        self._provisioner = Provisioner(
            registry, self._peers, self._tunnels, engine.public_key, engine.address, endpoint
        )
        self._events = _event_service(engine, events)
        self._trust = _trust_service(engine, trust)
        self._logs = KernelLogReceiver(logs)
        self._log_listener: Listener | None = None
        self._machine_api: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Let stored links in, open the ports on the overlay, then the machine API. Raises OSError."""
        await self._peers.restore(await self._registry.links())
        await self._events.start()
        await self._trust.start()
        self._log_listener = await self._engine.serve(LOG_PORT, self._logs.handle)
        self._socket.unlink(missing_ok=True)
        server = self._machine_api = grpc.aio.server(options=_MACHINE_API)
        server.add_generic_rpc_handlers((self._provisioner.handler(),))
        link_pb2_grpc.add_WireGuardOverGRPCServiceServicer_to_server(self._tunnels, server)
        for add_to in self._services:
            add_to(server)
        server.add_insecure_port(f"unix:{self._socket}")
        await server.start()

    async def let_in(self, link: Link) -> None:
        """A link is new or changed; with a `last_endpoint` its machine is called there."""
        await self._peers.apply(link, last_endpoint(link))

    async def quiet(self, link: Link) -> None:
        """Another server talks to the machine now: say nothing more to it until it calls here again."""
        await self._peers.quiet(link)

    async def forget(self, link: Link) -> None:
        """A link is gone: its peer leaves, its stream ends."""
        await self._peers.forget(link)

    async def _look_up(self, virtual_address: str) -> None:
        link = await self._registry.tunnelled(virtual_address)
        if link is not None:
            await self._peers.apply(link)

    async def retire(self, grace: float) -> None:
        """Send clients of the machine API's port elsewhere; calls under way may end within so many seconds."""
        if self._machine_api is not None:
            await self._machine_api.stop(grace)

    async def stop(self) -> None:
        """Close everything; machines try again until a server is back."""
        self._tunnels.close()
        if self._machine_api is not None:
            await self._machine_api.stop(0.2)
        if self._log_listener is not None:
            self._log_listener.close()
        await self._events.stop()
        await self._trust.stop()


def _event_service(engine: Engine, sink: EventSink) -> OverlayService:
    server = grpc.aio.server(options=[*_CROWD, ("grpc.max_receive_message_length", events.MESSAGE_LIMIT)])
    events_pb2_grpc.add_EventSinkServiceServicer_to_server(EventReceiver(sink), server)
    return OverlayService(engine, API_PORT, server)


def _trust_service(engine: Engine, authority: TrustAuthority) -> OverlayService:
    server = grpc.aio.server(options=[*_CROWD, ("grpc.max_receive_message_length", trustd.REQUEST_LIMIT)])
    servicer = Trustd(authority)
    security_pb2_grpc.add_SecurityServiceServicer_to_server(servicer, server)
    return OverlayService(engine, trustd.PORT, server, servicer.tls_for)
