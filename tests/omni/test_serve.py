"""`omni serve` as people run it: one process tree that comes up, goes down, and survives being killed."""

import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Installation:
    """A data folder and the `omni` command on it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_port(socket.SOCK_STREAM)
        flags = {"OMNI_DATA": str(data), "OMNI_LISTEN": f"127.0.0.1:{self.port}"}
        self.environment = os.environ | flags | {"OMNI_WIREGUARD_PORT": str(free_port(socket.SOCK_DGRAM))}
        self.server: subprocess.Popen[str] | None = None
        self.inside: list[str] = []  # a command that runs the server in another place, such as a namespace

    def serve(self, *flags: str, until: str = "authority") -> str:
        """Start, and return what it says until it says `until`."""
        command = [*self.inside, sys.executable, "-m", "omni", "serve", *flags]
        self.server = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=self.log(), text=True, start_new_session=True
        )
        assert self.server.stdout is not None
        said = ""
        while until not in said:
            line = self.server.stdout.readline()
            assert line, f"serve ended: {(self.data.parent / 'log').read_text()}"
            said += line
        return said

    def log(self) -> int:
        return os.open(self.data.parent / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "omni", *arguments], env=self.environment, capture_output=True, text=True, timeout=60
        )

    def client(self, **options: object) -> httpx.Client:
        trust = ssl.create_default_context(cafile=str(self.data / "ca.crt"))
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", verify=trust, timeout=30, **options)  # type: ignore[arg-type]

    def processes(self) -> set[int]:
        """Every process that works for this installation, found by its environment or its working folder."""
        found = set()
        mark = f"OMNI_DATA={self.data}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    if mark in (entry / "environ").read_bytes().split(b"\0") or str(self.data) in os.readlink(
                        entry / "cwd"
                    ):
                        found.add(int(entry.name))
                except OSError:
                    continue
        return found

    def process(self, role: str) -> int:
        """The child of the server that does this."""
        assert self.server is not None
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        words = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in children}
        return next(pid for pid, command in words.items() if any(word.endswith(role.encode()) for word in command[:4]))

    def log_says(self, text: str) -> None:
        """Wait until the log says so."""
        self.eventually(lambda: text in (self.data.parent / "log").read_text())

    def answers(self, client: httpx.Client, path: str) -> None:
        """Wait until an address answers well."""

        def well() -> bool:
            try:
                return client.get(path).status_code == 200
            except httpx.TransportError:
                return False

        self.eventually(well)

    def eventually(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline, (self.data.parent / "log").read_text()[-2000:]
            time.sleep(0.2)  # what other processes do cannot be awaited


def wait_gone(pids: set[int]) -> None:
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([descriptor], [], [], 30)[0], f"process {pid} outlived `omni serve`"
        finally:
            os.close(descriptor)


@pytest.fixture
def installation() -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="omni-serve-") as folder:
        made = Installation(Path(folder) / "data")
        yield made
        if made.server and made.server.poll() is None:
            os.kill(made.server.pid, signal.SIGKILL)
            made.server.wait()
            wait_gone(made.processes())


def test_it_serves_is_killed_serves_again_and_stops(installation: Installation) -> None:
    said = installation.serve()
    assert f"omni is ready at https://127.0.0.1:{installation.port}" in said
    with installation.client() as client:
        assert client.get("/healthz").text == "ok\n"
        assert client.get("/readyz").json() == {"database": "ok"}
        numbers = client.get("/metrics").text
        assert "omni_http_seconds" in numbers
        assert 'omni_links{state="connected"} 0.0' in numbers  # of the gateway
        assert client.get("/").headers["location"] == "/first-run"

    link = installation.command("admin", "signin-link").stdout.strip()
    assert re.fullmatch(rf"https://127\.0\.0\.1:{installation.port}/first-run/[0-9a-f]{{64}}", link)
    token = installation.command("admin", "token").stdout.strip()
    assert token.startswith("omni_")
    with installation.client(headers={"Authorization": f"Bearer {token}"}) as client:
        assert client.get("/api/v1/organisations").json()["items"][0]["slug"] == "default"
        audit = client.get("/api/v1/organisations/default/audit").json()["items"]
        assert [row["verb"] for row in audit] == ["organisation.create", "api-token.create"]
        assert audit[1]["source"] == ""
        made = client.post("/api/v1/organisations/default/api-tokens", json={"name": "ci", "role": "reader"})
        assert made.status_code == 201
        newest = client.get("/api/v1/organisations/default/audit?sort=-at").json()["items"][0]
        assert newest["source"] == "127.0.0.1"  # told by the gateway, which relays
    again = installation.command("admin", "signin-link").stdout.strip()
    assert "/accounts/link/" in again

    tree = installation.processes()
    assert len(tree) > 4
    assert installation.server is not None
    os.kill(installation.server.pid, signal.SIGKILL)
    installation.server.wait()
    wait_gone(tree)

    said = installation.serve("--welcome", until="kernel arguments")
    assert f"https://127.0.0.1:{installation.port}/o/default/join" in said
    assert f"siderolink.api=grpc://127.0.0.1:{installation.port}?jointoken=" in said
    with installation.client(headers={"Authorization": f"Bearer {token}"}) as client:
        assert client.get("/api/v1/organisations").json()["items"][0]["slug"] == "default"
    assert "/accounts/link/" in installation.command("admin", "create-organisation", "edge", "--owner", "a@b.cd").stdout
    taken = installation.command("admin", "create-organisation", "edge", "--owner", "a@b.cd")
    assert taken.returncode != 0
    assert "exists already" in taken.stderr
    second = installation.command("serve")
    assert second.returncode != 0
    assert "another `omni serve` runs on" in second.stderr

    tree = installation.processes()
    os.kill(installation.server.pid, signal.SIGINT)
    assert installation.server.wait(40) == 0, (installation.data.parent / "log").read_text()[-2000:]
    wait_gone(tree)
    log = (installation.data.parent / "log").read_text()
    assert token not in log
    assert json.dumps(link.rsplit("/", 1)[1]) not in log


@pytest.mark.parametrize("role", ["postgres", "gateway", "core"])
def test_whatever_is_killed_is_started_again(installation: Installation, role: str) -> None:
    installation.serve()
    token = installation.command("admin", "token").stdout.strip()
    killed = installation.process(role)
    os.kill(killed, signal.SIGKILL)
    wait_gone({killed})
    installation.log_says(f"process={role}")
    with installation.client(headers={"Authorization": f"Bearer {token}"}) as client:
        installation.answers(client, "/api/v1/organisations")
        made = client.post("/api/v1/organisations/default/api-tokens", json={"name": "ci", "role": "reader"})
        assert made.status_code == 201
    assert installation.process(role) != killed
    assert installation.server is not None
    os.kill(installation.server.pid, signal.SIGINT)
    assert installation.server.wait(40) == 0


def test_a_port_that_is_taken(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", installation.port)):
        done = installation.command("serve")
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{installation.port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_admin_commands_without_a_server(installation: Installation) -> None:
    done = installation.command("admin", "token")
    assert done.returncode == 1
    assert f"omni serve --data {installation.data}" in done.stderr
    assert "Traceback" not in done.stderr
