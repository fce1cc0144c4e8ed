"""A control plane of our own, as `omni serve` runs it, in a temporary folder."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from benchmarks import processes
from omni.cli.api import Api
from omni.config import Config

HOST = "127.0.0.1"
START_SECONDS = 180.0
LOOK = 0.1
"""Seconds between looks at the database, which costs the server next to nothing."""


class Late(RuntimeError):
    """Something did not come in time; the text says what."""


class Installation:
    """A running server; a context manager that ends it and removes its folder."""

    def __init__(self, factory: str = "") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="omni-bench-"))
        self.config = Config(
            data=self._folder / "data",
            listen=f"{HOST}:{free_port(socket.SOCK_STREAM)}",
            wireguard_port=free_port(socket.SOCK_DGRAM),
            factory_url=factory or Config.factory_url,
        )
        self._environment = os.environ | self.config.to_env()
        self._log = (self._folder / "server.log").open("ab")
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
            token = self.omni("admin", "token").strip()
            self.api = Api(self.config.public_url, token, (self.config.data / "ca.crt").read_text(), "default")
            self.token = token
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._log.close()
        if error is not None:
            print((self._folder / "server.log").read_text(errors="replace")[-4000:], file=sys.stderr)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self._server is not None, "started"
        return self._server.pid

    def start(self) -> None:
        """Start and return once it answers. Raises Late."""
        self._server = subprocess.Popen(
            [sys.executable, "-m", "omni", "serve"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self.wait_for(self._answers, START_SECONDS, "the server to answer")

    def stop(self) -> None:
        """End all of it, gently."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait()
            self._server = None

    def kill(self) -> None:
        """End all of it as a loss of power would; returns when nothing of it is left. Raises Late."""
        assert self._server is not None, "started"
        members = {process.pid for process in processes.tree(self.pid)} - {self.pid}
        self._server.kill()
        self._server.wait()
        self._server = None
        self.wait_for(lambda: not members & processes.living(), START_SECONDS, "all processes to be gone")

    def _answers(self) -> bool:
        assert self._server is not None, "started"
        if self._server.poll() is not None:
            raise Late(f"the server ended by itself with status {self._server.returncode}")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, int(self.config.listen.rpartition(":")[2]))) == 0

    def wait_for(self, holds: Callable[[], object], seconds: float, what: str) -> float:
        """Look until it holds; the seconds that took. Raises Late."""
        started = time.monotonic()
        while not holds():
            if time.monotonic() - started > seconds:
                raise Late(f"waited {seconds:g} s for {what}")
            time.sleep(LOOK)
        return time.monotonic() - started

    def omni(self, *arguments: str) -> str:
        """What a command prints."""
        command = [sys.executable, "-m", "omni", *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True).stdout

    def join_url(self) -> str:
        """A new join token, in the URL of the machine API."""
        row = self.api.post("join-tokens", json={"name": f"bench {time.monotonic_ns()}"})
        arguments = str(self.api.post("join-tokens", row["id"], "reveal")["kernel_arguments"])
        found = re.search(r"siderolink\.api=(\S+)", arguments)
        assert found, "kernel arguments name the API"
        return found[1]

    def database(self) -> psycopg.Connection[Any]:
        """The database as its owner, who sees all organisations."""
        return psycopg.connect(self.config.owner_dsn, autocommit=True)

    def cpu(self) -> float:
        """Seconds of processor of all its processes."""
        return processes.cpu(self.pid)

    def memory(self) -> int:
        """Bytes of all its processes."""
        return processes.memory(self.pid)


def free_port(kind: socket.SocketKind) -> int:
    """A port that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
