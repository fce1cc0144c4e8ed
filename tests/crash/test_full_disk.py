"""The disk of the database is full: a clear error to whoever changes something, reading goes on, and so does all else
once there is room again."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from omni.cli.api import Api
from tests.omni.test_serve import Installation, wait_gone

SIZE = "192m"
"""Of the file system that holds PostgreSQL's files."""

pytestmark = pytest.mark.netns


@pytest.fixture
def installation() -> Iterator[Installation]:
    """An installation whose PostgreSQL has a small file system of its own, in a mount namespace of the server."""
    with tempfile.TemporaryDirectory(prefix="omni-full-") as folder:
        made = Installation(Path(folder) / "data")
        disk = made.data / "postgres"
        disk.mkdir(parents=True)
        privileges = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
        mount = f'mount -t tmpfs -o size={SIZE},mode=0700 tmpfs "{disk}" && exec "$@"'
        made.inside = ["unshare", *privileges, "--mount", "sh", "-c", mount, "sh"]
        yield made
        if made.server and made.server.poll() is None:
            os.kill(made.server.pid, signal.SIGKILL)
            made.server.wait()
        wait_gone(made.processes())
        log = (made.data.parent / "log").read_text().splitlines()
        print("\n".join(line for line in log if "[http]" not in line))


def fill(path: Path) -> None:
    """A file that takes all the room there is."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size):
                    pass


def test_changes_fail_with_its_reason_and_go_on_afterwards(installation: Installation) -> None:
    installation.serve()
    assert installation.server is not None
    core = installation.process("core")
    token = installation.command("admin", "token").stdout.strip()
    filler = Path(f"/proc/{installation.server.pid}/root{installation.data}/postgres/filler")
    tokens = "/api/v1/organisations/default/join-tokens"
    with installation.client(headers={"Authorization": f"Bearer {token}"}) as client:
        fill(filler)
        made = 0
        while (answer := client.post(tokens, json={"name": f"t{made}"})).status_code == 201:
            made += 1
            assert made < 2000
        assert answer.status_code == 503
        assert "the disk of the database is full" in answer.json()["detail"]
        assert client.get(tokens).status_code == 200
        filler.unlink()

        def changed() -> bool:
            try:
                return client.post(tokens, json={"name": "after"}).status_code == 201
            except httpx.TransportError:
                return False

        installation.eventually(changed)
    assert installation.process("core") == core
    with Api(str(client.base_url), token, (installation.data / "ca.crt").read_text(), "default") as api:
        names = {row["name"] for row in api.list("join-tokens")}
    assert names >= {f"t{number}" for number in range(made)} | {"after"}
    assert f"t{made}" not in names
