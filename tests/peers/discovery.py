"""Nodes with Talos' own discovery client find each other through our discovery service.

The service is `omni discovery` as anybody runs it: plain and behind TLS, one process, one that sends its clients to
another, and two that know of each other. It is restarted under its clients, gently and with `kill -9`: none of them may
lose a peer, nor the service what it has acknowledged. Then the same clients come to the public port of `omni serve`.
"""

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from benchmarks.installation import Installation, free_port
from talos import pki
from tests.kubespan.discovery.processes import identity
from tests.peers.report import Program, Report

HOST = "127.0.0.1"
START_SECONDS = 30.0
LOOK = 0.05
EXPIRE = ("--gc-interval", "1s")
TRUST = ("--trust-x-real-ip", "--trust-first-x-forwarded-for")


async def run(report: Report) -> None:
    """All ways to the service, each with processes of its own; some of it mostly waits."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_plain(report, folder / "plain"))
            tasks.create_task(_public(report))
            await _proxied(report, folder / "proxied")
            await _encrypted(report, folder / "encrypted")
            await _restarts(report, folder / "restarts")
            await _redirect(report, folder / "redirect")
            await _replicas(report, folder / "replicas")


class Service:
    """A process of `omni discovery`; a context manager that ends it."""

    def __init__(self, folder: Path, *flags: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.endpoint = f"{HOST}:{free_port(socket.SOCK_STREAM)}"
        self._snapshot = folder / "state.binpb"
        self._log = folder / "log"
        self._flags = flags
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.kill()
        if kind is not None:
            print(self._log.read_text(errors="replace")[-4000:], file=sys.stderr)

    async def start(self, *flags: str) -> None:
        """Start it; returns once it takes connections. Raises RuntimeError, TimeoutError."""
        arguments = [*command(self.endpoint, self._snapshot), *self._flags, *flags]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*arguments, stdout=log, stderr=log)
        async with asyncio.timeout(START_SECONDS):
            while not await _answers(self.endpoint):
                if self._process.returncode is not None:
                    raise RuntimeError(f"the service ended by itself: {self._log.read_text(errors='replace')[-500:]}")
                await asyncio.sleep(LOOK)

    async def stop(self) -> int:
        """End it gently; its exit status."""
        assert self._process is not None, "started"
        self._process.terminate()
        async with asyncio.timeout(START_SECONDS):
            return await self._process.wait()

    async def kill(self) -> None:
        """End it as a loss of power would."""
        assert self._process is not None, "started"
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def command(endpoint: str, snapshot: Path) -> list[str]:
    """The service, with nothing but its clients' port."""
    ours = [sys.executable, "-m", "omni", "discovery"]
    return [*ours, "--listen", endpoint, "--pages", "", "--metrics", "", "--snapshot", str(snapshot)]


async def _answers(endpoint: str) -> bool:
    host, _, port = endpoint.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


@contextlib.asynccontextmanager
async def _nodes(report: Report, title: str, endpoint: str, roots: Path | None = None) -> AsyncIterator[Program]:
    """The program with the nodes. A failed step ends what is done with it, and is reported."""
    arguments: list[str | os.PathLike[str]] = ["-endpoint", endpoint]
    if roots:
        arguments += ["-roots", roots]
    try:
        async with report.started(title, "discovery", *arguments) as program:
            yield program
    except (RuntimeError, OSError, TimeoutError) as error:
        report.add(title, str(error) or type(error).__name__)


async def _plain(report: Report, folder: Path) -> None:
    async with Service(folder, *EXPIRE) as service, _nodes(report, "discovery, plain", service.endpoint) as nodes:
        await nodes.step("quiet")
        await _meet(nodes)
        await nodes.step("crowd", "50")
        await nodes.step("expiry")
        await nodes.step("endpoint-expiry")
        await _refuse(nodes)
        await nodes.step("proxied", "ignored")
        await nodes.step("streams", "300")
        await nodes.step("undisturbed")


async def _proxied(report: Report, folder: Path) -> None:
    title = "discovery, behind a proxy"
    async with Service(folder, *TRUST) as service, _nodes(report, title, service.endpoint) as nodes:
        await nodes.step("proxied", "trusted")


async def _encrypted(report: Report, folder: Path) -> None:
    folder.mkdir()
    certificate, key = folder / "tls.crt", folder / "tls.key"
    first, second = Certificate(folder, "first"), Certificate(folder, "second")
    certificate.write_bytes(first.certificate)
    key.write_bytes(first.key)
    title, flags = "discovery, TLS", ("--certificate", str(certificate), "--key", str(key))
    async with Service(folder, *flags) as service, _nodes(report, title, service.endpoint, first.roots) as nodes:
        await nodes.step("tls")
        await _meet(nodes)
        await _restart(report, title, service, nodes)
        key.write_bytes(second.key)
        certificate.write_bytes(second.certificate)
        await nodes.step("authority", str(second.roots))
        await _meet(nodes)


async def _restarts(report: Report, folder: Path) -> None:
    async with Service(folder) as service, _nodes(report, "discovery, restarts", service.endpoint) as nodes:
        await _restart(report, "discovery, restarts", service, nodes)


async def _restart(report: Report, title: str, service: Service, nodes: Program) -> None:
    """Restart the service under nodes that stay and under updates that never stop."""
    await nodes.step("join", "15")
    for how in ("planned", "sudden", "sudden", "planned"):
        await nodes.step("write")
        if how == "planned":
            report.equal(f"{title}: status of a service that was told to end", await service.stop(), 0)
        else:
            await service.kill()
        await service.start()
        await nodes.step("written", how)
        await nodes.step("survived", how)
    await nodes.step("leave")


async def _redirect(report: Report, folder: Path) -> None:
    async with (
        Service(folder / "one") as one,
        Service(folder / "other") as other,
        _nodes(report, "discovery, redirect", one.endpoint) as nodes,
    ):
        await nodes.step("join", "5")
        await one.stop()
        await one.start("--redirect", other.endpoint)
        await nodes.step("moved", other.endpoint)
        await one.stop()
        await other.stop()
        await other.start()
        await nodes.step("survived", "planned")
        await nodes.step("leave")


async def _replicas(report: Report, folder: Path) -> None:
    """Two processes, of which one is restarted at a time."""
    identity(folder)
    between = [f"{HOST}:{free_port(socket.SOCK_STREAM)}" for _ in range(2)]
    flags = [
        (
            *("--peer-listen", mine, "--peers", theirs, "--peer-authority", str(folder / "ca.crt")),
            *("--peer-certificate", str(folder / "peer.crt"), "--peer-key", str(folder / "peer.key")),
        )
        for mine, theirs in (between, between[::-1])
    ]
    async with (
        Service(folder / "one", *EXPIRE, *flags[0]) as one,
        Service(folder / "other", *EXPIRE, *flags[1]) as other,
        _balanced(one, other) as endpoint,
        _nodes(report, "discovery, two processes", endpoint) as nodes,
    ):
        await _meet(nodes)
        await nodes.step("expiry")
        await nodes.step("join", "15")
        for how, service in (("planned", one), ("planned", other), ("sudden", one), ("sudden", other)):
            await nodes.step("write")
            await (service.stop() if how == "planned" else service.kill())
            await nodes.step("rolled", how)
            await service.start()
            await nodes.step("written", how)
        await nodes.step("leave")


async def _public(report: Report) -> None:
    """The service inside `omni serve`, at the port that everybody uses."""
    server = await asyncio.to_thread(Installation().__enter__)
    try:
        endpoint, roots = server.config.listen, server.config.data / "ca.crt"
        async with _nodes(report, "discovery, omni serve", endpoint, roots) as nodes:
            await nodes.step("tls")
            await _meet(nodes)
            await _refuse(nodes)
            await nodes.step("proxied", "ignored")
            await nodes.step("join", "15")
            for how, end in (("planned", server.stop), ("sudden", server.kill)):
                await nodes.step("write")
                await asyncio.to_thread(end)
                await asyncio.to_thread(server.start)
                await nodes.step("written", how)
                await nodes.step("survived", how)
            await nodes.step("leave")
        async with _nodes(report, "discovery, omni serve, plain", endpoint) as nodes:
            await _meet(nodes)
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


async def _meet(nodes: Program) -> None:
    await nodes.step("pair")
    await nodes.step("crowd", "5")
    await nodes.step("crowd", "15")


async def _refuse(nodes: Program) -> None:
    await nodes.step("refused")
    await nodes.step("full")
    await nodes.step("malformed")
    await nodes.step("flood")


class Certificate:
    """A certificate for loopback, its key, and a file with the authority that it comes from."""

    def __init__(self, folder: Path, name: str) -> None:
        now = datetime.now(UTC)
        authority = pki.kubernetes_ca(now)
        pair = pki.kube_apiserver(authority, now, [ip_address(HOST)])
        self.certificate, self.key = pair.crt, pair.key
        self.roots = folder / f"{name}-roots.pem"
        self.roots.write_bytes(authority.crt)


@contextlib.asynccontextmanager
async def _balanced(*services: Service) -> AsyncIterator[str]:
    """A port that leads to services in turn, to those that answer."""
    turn = 0
    clients: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        clients.add(writer)
        for number in range(len(services)):
            host, _, port = services[(turn + number) % len(services)].endpoint.rpartition(":")
            try:  # from the client's address, as a balancer does that hides nobody
                there = await asyncio.open_connection(
                    host, int(port), local_addr=(writer.get_extra_info("peername")[0], 0)
                )
            except OSError:
                continue
            await asyncio.gather(_carry(reader, there[1]), _carry(there[0], writer))
            return
        writer.close()

    server = await asyncio.start_server(accept, HOST, 0)
    try:
        yield "{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        for client in clients:
            client.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
