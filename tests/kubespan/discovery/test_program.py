"""`omni discovery` as a process: as anybody starts it, ends it, and kills it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from benchmarks.installation import free_port
from omni.cli import main
from omni.cli.discovery import Duration, default_snapshot
from talos import pki
from talos.gen.sidero import discovery_pb2 as pb
from talos.gen.sidero import discovery_pb2_grpc
from talos.pem import CertKey
from tests.kubespan.discovery.lab import CALL, known, update

START = 60.0
HOST = "127.0.0.1"
CHANNEL = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)]


class Process:
    """One process of the service, in an environment with nothing of ours in it."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.listen = f"{HOST}:{free_port(socket.SOCK_STREAM)}"
        self.log = folder / "log"
        self._folder = folder
        self._command = [sys.executable, "-m", "omni", "discovery", "--listen", self.listen, *flags]
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "PYTHONPATH": os.getcwd()}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command, stdout=log, stderr=log, env=environment, cwd=self._folder
            )

    async def end(self, number: int) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), START)

    @asynccontextmanager
    async def client(self, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[Any]:
        channel = (
            grpc.aio.secure_channel(self.listen, credentials, CHANNEL)
            if credentials
            else grpc.aio.insecure_channel(self.listen, CHANNEL)
        )
        async with channel:
            await asyncio.wait_for(channel.channel_ready(), START)
            yield discovery_pb2_grpc.ClusterStub(channel)


@asynccontextmanager
async def running(folder: Path, *flags: str) -> AsyncIterator[Process]:
    process = Process(folder, *flags)
    await process.start()
    try:
        yield process
    finally:
        if await process.end(signal.SIGKILL) not in (0, -signal.SIGKILL):
            print(process.log.read_text())


QUIET = ("--pages", "", "--metrics", "", "--rate-limit", "0")


async def listed(stub: Any, cluster: str = "c") -> dict[str, tuple[bytes, list[bytes]]]:
    return known(await stub.List(pb.ListRequest(cluster_id=cluster), timeout=CALL))


async def test_what_was_acknowledged_survives_a_kill_under_load(tmp_path: Path) -> None:
    acknowledged: dict[str, int] = {}
    async with running(tmp_path, *QUIET, "--snapshot-interval", "0.2s") as process:
        for _ in range(3):
            async with process.client() as stub:
                enough = asyncio.Event()
                writers = [asyncio.create_task(write(stub, str(n), acknowledged, enough)) for n in range(8)]
                await asyncio.wait_for(enough.wait(), START)
                await process.end(signal.SIGKILL)
                await asyncio.gather(*writers)
            await process.start()
            async with process.client() as stub:
                there = {id: int(data) for id, (data, _) in (await listed(stub)).items()}
            assert all(there[id] >= number for id, number in acknowledged.items()), process.log.read_text()


async def write(stub: Any, id: str, acknowledged: dict[str, int], enough: asyncio.Event) -> None:
    """Write higher and higher numbers until the service is gone."""
    number = acknowledged.get(id, 0)
    until = number + 200
    while True:
        number += 1
        try:
            await stub.AffiliateUpdate(update(id, b"%d" % number, cluster="c"), timeout=CALL)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return
        acknowledged[id] = number
        if number == until:
            enough.set()


async def test_a_gentle_end(tmp_path: Path) -> None:
    async with running(tmp_path, *QUIET) as process:
        async with process.client() as stub:
            await stub.AffiliateUpdate(update("a", b"d", [b"e"], cluster="c"), timeout=CALL)
            watch = stub.Watch(pb.WatchRequest(cluster_id="c"))
            assert known(await watch.read()) == {"a": (b"d", [b"e"])}
            assert await process.end(signal.SIGTERM) == 0
            assert await watch.read() is grpc.aio.EOF
            assert await watch.code() is grpc.StatusCode.OK
        folder = tmp_path / ".local/state/omni-discovery"
        assert sorted(path.name for path in folder.iterdir()) == ["state.binpb", "state.binpb.lock"]
        await process.start()
        async with process.client() as stub:
            assert await listed(stub) == {"a": (b"d", [b"e"])}


async def test_pages_and_numbers_are_where_they_were_asked_for(tmp_path: Path) -> None:
    pages, metrics = (f"{HOST}:{free_port(socket.SOCK_STREAM)}" for _ in range(2))
    async with running(tmp_path, "--pages", pages, "--metrics", metrics, "--snapshot", "") as process:
        async with process.client() as stub:
            await stub.AffiliateUpdate(update("a", b"d", cluster="c"), timeout=CALL)
        assert b"discovery_state_affiliates 1.0" in await asyncio.to_thread(fetch, f"http://{metrics}/metrics")
        assert await asyncio.to_thread(fetch, f"http://{metrics}/readyz") == b"ready\n"
        assert b"Discovery service" in await asyncio.to_thread(fetch, f"http://{pages}/")
        assert not (tmp_path / ".local").exists()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        return bytes(response.read())


async def test_flags_reach_the_service(tmp_path: Path) -> None:
    flags = ("--redirect", "new.example.com:443", "--trust-x-real-ip", "--gc-interval", "0.1s")
    async with running(tmp_path, *QUIET, *flags) as process, process.client() as stub:
        metadata = [("x-real-ip", "1.2.3.4")]
        response = await stub.Hello(pb.HelloRequest(cluster_id="c"), metadata=metadata, timeout=CALL)
        assert response.redirect.endpoint == "new.example.com:443"
        assert response.client_ip == b"\x01\x02\x03\x04"
        watch = stub.Watch(pb.WatchRequest(cluster_id="c"))
        await watch.read()
        await stub.AffiliateUpdate(update("a", b"d", ttl=0.05, cluster="c"), timeout=CALL)
        assert not (await watch.read()).deleted
        assert (await asyncio.wait_for(watch.read(), CALL)).deleted


# TLS.


def certificate(authority: CertKey) -> CertKey:
    return pki.kube_apiserver(authority, datetime.now(UTC), [ip_address(HOST)])


def replace(pair: CertKey, crt: Path, key: Path) -> None:
    key.write_bytes(pair.key)
    crt.write_bytes(pair.crt)


async def accepted(process: Process, authority: CertKey) -> bool:
    """Whether who trusts this authority gets an answer."""
    credentials = grpc.ssl_channel_credentials(authority.crt)
    async with grpc.aio.secure_channel(process.listen, credentials, CHANNEL) as channel:
        stub: Any = discovery_pb2_grpc.ClusterStub(channel)
        try:
            await stub.Hello(pb.HelloRequest(cluster_id="c"), timeout=CALL)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True


async def test_a_certificate_is_read_anew_when_it_changes_and_stays_when_the_new_one_is_bad(tmp_path: Path) -> None:
    first, second = (pki.kubernetes_ca(datetime.now(UTC)) for _ in range(2))
    crt, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    replace(certificate(first), crt, key)
    async with running(tmp_path, *QUIET, "--certificate", str(crt), "--key", str(key)) as process:
        async with process.client(grpc.ssl_channel_credentials(first.crt)) as stub:
            watch = stub.Watch(pb.WatchRequest(cluster_id="c"))
            await watch.read()
            other = certificate(second)
            key.write_bytes(other.key)
            assert await accepted(process, first), "a key without its certificate changes nothing"
            crt.write_bytes(other.crt)
            assert await accepted(process, second)
            assert not await accepted(process, first)
            crt.write_bytes(b"nonsense")
            assert await accepted(process, second)
            crt.unlink()
            for _ in range(3):
                assert await accepted(process, second)
            replace(certificate(first), crt, key)
            assert await accepted(process, first)
            await stub.AffiliateUpdate(update("a", b"d", cluster="c"), timeout=CALL)
            assert known(await watch.read()) == {"a": (b"d", [])}, "connections that are open stay"
        log = process.log.read_text()
        assert log.count("the former one stays") == 3, log


# What is given wrong.


async def test_what_cannot_start_says_why_in_a_sentence(tmp_path: Path) -> None:
    authority = pki.talos_ca(datetime.now(UTC))
    crt, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    replace(authority, crt, key)
    tls = ["--certificate", str(crt), "--key", str(key)]
    async with running(tmp_path, *QUIET) as process, process.client():
        for flags, words in (
            (["--listen", process.listen, "--snapshot", ""], "it is taken, or not an address of this machine"),
            (["--listen", "192.0.2.1:1", "--snapshot", ""], "it is taken, or not an address of this machine"),
            (["--metrics", process.listen, "--snapshot", ""], "cannot listen on"),
            ([], "another discovery service uses this file"),
            (["--snapshot", str(tmp_path)], "Is a directory"),
            (["--snapshot", "/proc/nowhere/state"], "/proc/nowhere"),
            (tls, "has an Ed25519 key, which gRPC cannot use; make one with ECDSA"),
            (["--certificate", str(tmp_path / "none"), "--key", str(key)], "none: No such file"),
            (["--certificate", str(key), "--key", str(key)], "holds no certificate"),
        ):
            got = await asyncio.to_thread(attempt, tmp_path, flags)
            assert got.returncode == 1, (flags, got)
            assert words in got.stderr, (flags, got.stderr)
            assert len(got.stderr.splitlines()) == 1, got.stderr


def attempt(folder: Path, flags: list[str]) -> subprocess.CompletedProcess[str]:
    listen = [] if "--listen" in flags else ["--listen", f"{HOST}:0"]
    command = [sys.executable, "-m", "omni", "discovery", *QUIET, *listen, *flags]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": os.getcwd()}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START, check=False)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--listen", "nowhere"], "'nowhere' is no HOST:PORT"),
        (["--listen", "::1:3000"], "is no HOST:PORT"),
        (["--metrics", "127.0.0.1:99999"], "is no HOST:PORT"),
        (["--certificate", "a"], "--certificate and --key are given together"),
        (["--gc-interval", "soon"], "is no duration; write 30s, 10m or 1h"),
        (["--gc-interval", "0s"], "longer than nothing"),
        (["--rate-limit", "-1"], "-1"),
    ],
)
def test_flags_that_make_no_sense(flags: list[str], words: str) -> None:
    result = CliRunner().invoke(main, ["discovery", *flags])
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("0.5s", 0.5), ("1h0m1s", 3601)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


def test_where_the_snapshot_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/omni-discovery:/other")
    assert default_snapshot() == Path("/var/lib/omni-discovery/state.binpb")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert default_snapshot() == Path("/home/me/state/omni-discovery/state.binpb")


def test_the_help_is_for_users_of_talos() -> None:
    result = CliRunner().invoke(main, ["discovery", "--help"])
    assert result.exit_code == 0
    for words in ("Talos", "endpoint: https://", "kind: DiscoveryServiceConfig", "needs no database"):
        assert words in result.output


def test_it_needs_nothing_of_the_control_plane() -> None:
    code = "import sys, omni.cli.discovery, omni.logs, kubespan.discovery.program; print(*sorted(sys.modules))"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd()}
    got = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = set(got.stdout.split())
    assert "grpc" in loaded
    assert not {"django", "psycopg", "celery", "apps", "nodeagent"} & loaded
