"""`omni agent` as people start it, in front of simulated machines."""

import asyncio
import contextlib
import hashlib
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from nodeagent.client import NodeClient
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.timings import Timings
from nodeagent.tunnel.protocol import API_PORT, Scope
from omni.cli import main
from omni.cli.agent import default_state
from tests.nodeagent.tunnel.lab import HOST, PATIENCE, TOKEN, Lab, lab
from tests.nodeagent.tunnel.test_lookout import looking

BASE, SECOND = "127.90.0.1", "127.90.0.2"


@dataclass
class Running:
    """A process of `omni agent`."""

    process: asyncio.subprocess.Process
    log: Path

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), PATIENCE)


@contextlib.asynccontextmanager
async def program(one: Lab, *arguments: str, **variables: str) -> AsyncIterator[Running]:
    log = one.folder / "agent.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OMNI_")}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "omni", "agent", "--server", f"https://{HOST}:{one.port}"),
            *(*arguments, "--state", str(one.folder / "state"), "--name", "rack-7"),
            env=environment | variables,
            stdout=output,
            stderr=output,
        )
    try:
        yield Running(process, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def listening(*hosts: str) -> AsyncIterator[None]:
    """Simulated machines need a moment to boot."""
    async with looking(Scope(hosts, [])) as told:
        up: set[str] = set()
        while up != set(hosts):
            host, reason = await told.get()
            up = up - {host} if reason else up | {host}
    yield


async def test_machines_in_maintenance_are_found_and_read(tmp_path: Path) -> None:
    """The token by environment, trust by the authority's fingerprint, machines by a scan."""
    async with lab() as one, one.serving():
        options = FleetOptions(machines=2, seed="agent", listen_base=BASE, timings=replace(Timings().scaled(0.02)))
        pinned = hashlib.sha256(ssl.PEM_cert_to_DER_cert(one.authority.crt.decode())).hexdigest()
        async with (
            Fleet(options) as fleet,
            listening(BASE, SECOND),
            program(one, "--scan", "127.90.0.0/29", "--fingerprint", pinned, OMNI_AGENT_TOKEN=TOKEN) as running,
        ):
            wanted = {machine.hardware.uuid for machine in fleet.machines}
            uuids = set()
            for host in (BASE, SECOND):
                await one.registry.hears("found", "a-1", host)
                connect = partial(one.agents.dial, "a-1", host, API_PORT)
                async with NodeClient(connect, None, name=host) as node:
                    assert (await node.version()).tag == "v1.13.8"
                    uuids.add(await node.identity())
            assert uuids == wanted
            assert Path(f"/proc/{running.process.pid}/cmdline").read_bytes().find(TOKEN.encode()) < 0
            assert await running.stop() == 0
        assert one.registry.told[-1] == ("disconnected", "a-1", "it was stopped")
        text = running.log.read_text()
        assert f"connected to https://{HOST}:{one.port} as agent rack-7 (a-1)" in text
        assert f"offering {BASE}" in text
        assert TOKEN not in text
        assert "Traceback" not in text
        assert (one.folder / "state" / "credentials.json").stat().st_mode & 0o777 == 0o600


async def test_a_killed_agent_comes_back_as_itself(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    async with lab() as one, one.serving():
        (one.folder / "ca.crt").write_bytes(one.authority.crt)
        given = ("--node", "10.0.0.1", "--ca", str(one.folder / "ca.crt"), "--token-file", str(tmp_path / "token"))
        for times in (1, 2):
            async with program(one, *given) as running:
                await one.registry.hears("connected", "a-1", times=times)
                await running.stop(signal.SIGKILL)
            await one.registry.hears("disconnected", "a-1", "the connection to it was lost", times=times)
        assert len(one.registry.known) == 1


def command(*arguments: str, **variables: str) -> tuple[int, str]:
    environment: dict[str, str | None] = {key: None for key in os.environ if key.startswith("OMNI_")}
    result = CliRunner().invoke(main, ["agent", *arguments], env=environment | variables)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "Missing option '--server'"),
        (("--server", "https://omni.example.com"), "give at least one --node HOST or --scan CIDR"),
        (("--server", "http://omni.example.com", "--node", "a"), "would show the token to everybody"),
        (("--server", "https://x", "--scan", "10.0.0.0/8"), "16,777,216 addresses are too many for one agent"),
        (("--server", "https://x", "--node", "a b"), "is neither a host name nor an IP address"),
        (("--server", "https://x", "--node", "a", "--name", "a b"), "--name 'a b' is not 1 to 63 letters"),
        (("--server", "https://x", "--node", "a", "--ca", "/nowhere/ca.crt"), "cannot be read: No such file"),
        (("--server", "https://x", "--node", "a", "--token-file", "/nowhere/t"), "cannot be read: No such file"),
        (("--server", "https://x", "--node", "a", "--fingerprint", "12"), "64 hexadecimal digits"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], text: str) -> None:
    code, output = command(*arguments)
    assert code == 2
    assert text in output


def test_a_proxy_that_cannot_be_used_is_said_without_its_password() -> None:
    code, output = command("--server", "https://x", "--node", "a", HTTPS_PROXY="socks5://me:secret@proxy")
    assert (code, "is not an http:// URL" in output, "secret" in output) == (2, True, False)


def test_a_state_that_cannot_be_kept_is_said() -> None:
    code, output = command("--server", "https://x", "--node", "a", "--state", "/proc/agent")
    assert (code, "/proc/agent cannot keep the agent's state" in output) == (1, True)


def test_where_state_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert default_state() == Path("/home/me/.local/state/omni-agent")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_state() == Path("/state/omni-agent")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/omni-agent:/var/lib/other")
    assert default_state() == Path("/var/lib/omni-agent")
