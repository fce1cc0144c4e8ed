"""The discovery service as a program of its own (`omni discovery`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

import grpc

from kubespan.discovery import pages, web
from kubespan.discovery.certificate import CertificateFiles
from kubespan.discovery.core import COLLECT_SECONDS, Discovery
from kubespan.discovery.limiter import BURST, RATE, Limiter
from kubespan.discovery.replicas.places import Neighbours
from kubespan.discovery.replicas.replicas import Replicas
from kubespan.discovery.service import OPTIONS, Face
from kubespan.discovery.store import INTERVAL, Store

DRAIN_SECONDS = 10.0
"""That updates under way have when the service stops, and then all calls together."""

log = logging.getLogger(__name__)


class SetupError(Exception):
    """The service cannot start: a sentence that says why."""


@dataclass(frozen=True)
class Address:
    """Where to listen; an empty host is all of this machine's addresses."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From `HOST:PORT`, `[IPv6]:PORT` or `:PORT`. Raises ValueError."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
            raise ValueError(f"{text!r} is no HOST:PORT, [IPV6]:PORT or :PORT")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host or not self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Options:
    """What is asked of it. Addresses that are None are not served; without a snapshot all is in memory alone."""

    listen: Address
    pages: Address | None = None
    metrics: Address | None = None
    certificate: tuple[Path, Path] | None = None
    snapshot: Path | None = None
    snapshot_interval: float = INTERVAL
    collect_every: float = COLLECT_SECONDS
    redirect: str = ""
    report_address: bool = True
    trust_real_ip: bool = False
    trust_forwarded_for: bool = False
    rate: float = RATE
    """Calls a second of one address; 0 for as many as it likes."""

    name: str = ""
    """Of this process, for the logs of others."""

    neighbours: Neighbours | None = None
    """Other processes that serve the same clusters."""


async def run(options: Options, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then end gently. Raises SetupError."""
    store = Store(options.snapshot, options.snapshot_interval) if options.snapshot else None
    core = Discovery(store, collect_every=options.collect_every)
    if options.neighbours is not None:
        core.orderer = Replicas(core, options.name, options.neighbours)
    limiter = Limiter(options.rate, round(BURST * max(options.rate / RATE, 1))) if options.rate else None
    face = Face(
        core,
        limiter=limiter,
        report_address=options.report_address,
        trust_real_ip=options.trust_real_ip,
        trust_forwarded_for=options.trust_forwarded_for,
        redirect=options.redirect,
    )
    server = grpc.aio.server(options=[*OPTIONS, ("grpc.so_reuseport", 0)])
    face.add_to(server)
    async with contextlib.AsyncExitStack() as ending:
        for address, routes in (
            (options.pages, pages.public(core)),
            (options.metrics, pages.operators(core, store)),
        ):
            if address is not None:
                ending.callback((await _serve_pages(address, routes)).close)
        _bind(server, options)
        try:
            await core.start()
        except OSError as error:
            raise SetupError(f"the service cannot start: {_reason(error)}") from None
        ending.push_async_callback(core.close)
        await server.start()
        ending.push_async_callback(_end, core, server)
        log.info("listening on %s, %s TLS", options.listen, "with" if options.certificate else "without")
        await stop.wait()
        log.info("stopping")


async def _end(core: Discovery, server: grpc.aio.Server) -> None:
    await core.drain(DRAIN_SECONDS)
    await server.stop(DRAIN_SECONDS)


async def _serve_pages(address: Address, routes: web.Routes) -> asyncio.Server:
    try:
        return await web.serve(address.host, address.port, routes)
    except OSError as error:
        raise SetupError(f"cannot listen on {address}: {_reason(error)}") from None


def _bind(server: grpc.aio.Server, options: Options) -> None:
    address = str(options.listen)
    try:
        if options.certificate is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, CertificateFiles(*options.certificate).credentials())
    except RuntimeError:
        raise SetupError(f"cannot listen on {address}: it is taken, or not an address of this machine") from None
    except OSError as error:
        raise SetupError(f"the certificate cannot be read: {_reason(error)}") from None
    except ValueError as error:
        raise SetupError(f"the certificate cannot be used: {error}") from None


def _reason(error: OSError) -> str:
    why = error.strerror or str(error)
    return f"{error.filename}: {why}" if error.filename else why
