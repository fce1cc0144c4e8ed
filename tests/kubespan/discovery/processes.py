"""Processes of `omni discovery` that know of each other, and clients of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.installation import free_port
from kubespan.discovery.service import SERVICE
from talos import certificates
from talos.gen.sidero import discovery_pb2 as pb

HOST = "127.0.0.1"
START_SECONDS = 60.0
CALL_SECONDS = 25.0


class Process:
    """One process. `peer` is where others come, by whatever way they are told."""

    def __init__(self, folder: Path, name: str, identity: Path) -> None:
        self.name, self.listen, self.peer = name, *(free_port(socket.SOCK_STREAM) for _ in range(2))
        self.peers: list[int] = []
        self._folder, self._identity = folder, identity
        self._process: asyncio.subprocess.Process | None = None
        self._channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        """Start it, until it answers."""
        files = self._identity
        command = [
            *(sys.executable, "-m", "omni", "discovery", "--name", self.name, "--gc-interval", "1s"),
            *("--listen", f"{HOST}:{self.listen}", "--pages", "", "--metrics", "", "--rate-limit", "0"),
            *("--snapshot", str(self._folder / f"{self.name}.binpb"), "--peer-listen", f"{HOST}:{self.peer}"),
            *("--peers", ",".join(f"{HOST}:{port}" for port in self.peers)),
            *("--peer-authority", str(files / "ca.crt"), "--peer-certificate", str(files / "peer.crt")),
            *("--peer-key", str(files / "peer.key")),
        ]
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)]
        self._channel = grpc.aio.insecure_channel(f"{HOST}:{self.listen}", options)
        await asyncio.wait_for(self._channel.channel_ready(), START_SECONDS)

    @property
    def log(self) -> Path:
        return self._folder / f"{self.name}.log"

    @property
    def channel(self) -> grpc.aio.Channel:
        assert self._channel is not None, "started"
        return self._channel

    async def kill(self) -> None:
        """As a loss of power would end it."""
        await self._end(kill=True)

    async def stop(self) -> None:
        """End it gently."""
        await self._end(kill=False)

    async def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill() if kill else process.terminate()
            await asyncio.wait_for(process.wait(), START_SECONDS)
            await self.channel.close()

    async def update(self, cluster: str, affiliate: str, data: bytes) -> None:
        """Raises grpc.aio.AioRpcError."""
        request = pb.AffiliateUpdateRequest(cluster_id=cluster, affiliate_id=affiliate, affiliate_data=data)
        request.ttl.FromSeconds(600)
        await self._call("AffiliateUpdate", request.SerializeToString())

    async def delete(self, cluster: str, affiliate: str) -> None:
        """Raises grpc.aio.AioRpcError."""
        request = pb.AffiliateDeleteRequest(cluster_id=cluster, affiliate_id=affiliate)
        await self._call("AffiliateDelete", request.SerializeToString())

    async def list(self, cluster: str) -> dict[str, bytes]:
        """Affiliates and their data."""
        answer = await self._call("List", pb.ListRequest(cluster_id=cluster).SerializeToString())
        return {one.id: one.data for one in pb.ListResponse.FromString(answer).affiliates}

    async def _call(self, method: str, request: bytes) -> bytes:
        answer: bytes = await self.channel.unary_unary(f"/{SERVICE}/{method}")(request, timeout=CALL_SECONDS)
        return answer


@dataclass
class Writers:
    """Clients that write all the time, each its own affiliate, at whichever process is there."""

    living: list[Process]
    acknowledged: dict[str, int] = field(default_factory=dict)
    count: int = 0
    _ended: bool = False

    async def write(self, number: int, cluster: str) -> None:
        """Until the end. A write that fails is tried again; none may fail at a process that was left alone."""
        n = 0
        while not self._ended:
            process = self.living[(number + n) % len(self.living)]
            n += 1
            try:
                await process.update(cluster, f"a{number}", b"%d" % n)
            except grpc.aio.AioRpcError:
                if process in self.living:
                    raise
            except (grpc.aio.UsageError, asyncio.CancelledError):
                if process in self.living:
                    raise
            else:
                self.acknowledged[f"a{number}"] = n
                self.count += 1

    async def more(self, count: int) -> None:
        """Wait until so many more writes were acknowledged."""
        until = self.count + count
        async with asyncio.timeout(CALL_SECONDS):
            while self.count < until:
                await asyncio.sleep(0.02)

    def end(self) -> None:
        """Write no more."""
        self._ended = True


class Relay:
    """Carries the streams between two processes, until it is cut."""

    def __init__(self, target: int) -> None:
        self.port, self._target = free_port(socket.SOCK_STREAM), target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Carry."""
        self._server = await asyncio.start_server(self._relay, HOST, self.port)

    def cut(self) -> None:
        """Break all there is, and take no more."""
        assert self._server is not None, "open"
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(_pump(reader, back), _pump(there, writer), return_exceptions=True)
        self._writers -= {writer, back}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def processes(folder: Path, count: int) -> AsyncIterator[list[Process]]:
    """So many processes, each told of all. They are not started."""
    identity(folder)
    found = [Process(folder, f"discovery-{n}", folder) for n in range(count)]
    for process in found:
        process.peers = [other.peer for other in found]
    try:
        yield found
    except BaseException:
        for process in found:
            print(process.log.read_text(errors="replace")[-3000:] if process.log.exists() else "", file=sys.stderr)
        raise
    finally:
        await asyncio.gather(*(process.kill() for process in found))


def identity(folder: Path) -> None:
    """An authority, and a certificate of it."""
    now, day = datetime.now(UTC), timedelta(days=1)
    ca = certificates.self_signed_ca(["peers"], ec.generate_private_key(ec.SECP256R1()), now - day, now + day)
    mine = certificates.issue(
        ca,
        common_name="discovery",
        usages=[certificates.SERVER_AUTH, certificates.CLIENT_AUTH],
        addresses=[],
        dns_names=["discovery"],
        not_before=now - day,
        not_after=now + day,
    )
    folder.mkdir(exist_ok=True)
    for name, content in (("ca.crt", ca.crt), ("peer.crt", mine.crt), ("peer.key", mine.key)):
        (folder / name).write_bytes(content)


async def start(some: Sequence[Process]) -> None:
    """Start them all at once."""
    await asyncio.gather(*(process.start() for process in some))
