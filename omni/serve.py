"""`omni serve`: the whole control plane as one process tree.

This process prepares the data folder, starts PostgreSQL, migrates, starts core and gateway, and starts again what ends
by itself. When it ends, by Ctrl-C or by SIGKILL, all of them end.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from omni import child, keys
from omni.config import Config, split_address
from omni.postgres import Postgres, PostgresError

STOP_SECONDS, READY_SECONDS = 8.0, 60.0
LONGEST_RESTART_DELAY = 30.0

MEMORY = {"MALLOC_ARENA_MAX": "2"}
"""For the C library: a heap for each of a dozen threads wastes more than it saves; a machine takes 20 kB less."""

log = structlog.get_logger("serve")


class ServeError(RuntimeError):
    """The control plane could not start; the text says what to do."""


@asynccontextmanager
async def running(config: Config, log_file: Path | None = None) -> AsyncIterator["Tree"]:
    """The whole tree, ready for requests inside the block. Raises `ServeError`, `PostgresError`.

    With `log_file` the processes write there instead of to standard error.
    """
    keys.prepare(config)
    with _only_one(config), _database(config) as database:
        tree = Tree(config, database, log_file)
        try:
            await tree.start()
            yield tree
        finally:
            await tree.stop()


class Tree:
    """The processes beside PostgreSQL, `core` and `gateway`; and PostgreSQL, if it is ours, once they run."""

    def __init__(self, config: Config, database: Postgres | None, log_file: Path | None) -> None:
        self.config, self._database = config, database
        # A name that outlives this host's: containers get another one each time, and links are held under it.
        config = replace(config, gateway_name=config.gateway_name or "serve")
        self._environment = child.environment() | MEMORY | config.to_env()
        self._log_file = log_file
        self._keepers: list[asyncio.Task[None]] = []
        self._ended: set[str] = set()  # roles that ended by themselves at least once

    async def start(self) -> None:
        """Migrate, start both, and wait until both answer. Raises `ServeError`."""
        migration = await self._spawn("migrate")
        if await migration.wait():
            raise ServeError(f"the database could not be migrated (exit status {migration.returncode}); see the log")
        sockets = {role: self.config.run / f"{role}.sock" for role in ("core", "gateway")}
        for path in sockets.values():
            path.unlink(missing_ok=True)
        for role in sockets:
            self._keepers.append(asyncio.create_task(self._keep(role), name=role))
        deadline = time.monotonic() + READY_SECONDS
        for role, path in sockets.items():
            while not _answers(path):
                if self._ended or time.monotonic() > deadline:
                    late = ", ".join(self._ended) or role
                    raise ServeError(f"{late} did not become ready; its log says why")
                await asyncio.sleep(0.02)
        if self._database:
            self._keepers.append(asyncio.create_task(self._keep_database(self._database), name="postgres"))

    async def stop(self) -> None:
        """End both, gently first."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _keep(self, role: str) -> None:
        """Run a role, and run it again when it ends by itself, later each time."""
        delay = 0.5
        while True:
            started = time.monotonic()
            process = await self._spawn(role)
            try:
                status = await process.wait()
            except asyncio.CancelledError:
                await _end(process)
                raise
            self._ended.add(role)
            delay = 0.5 if time.monotonic() - started > 60 else min(delay * 2, LONGEST_RESTART_DELAY)
            log.error("process ended by itself", process=role, status=status, again_in=delay)
            await asyncio.sleep(delay)

    async def _keep_database(self, database: Postgres) -> None:
        """Start PostgreSQL again when it ends by itself: what was committed is there, the others connect anew."""
        while True:
            assert database.process is not None
            await _end_of(database.process.pid)
            log.error("process ended by itself", process="postgres", status=database.process.wait())
            while database.process is None or database.process.poll() is not None:
                try:
                    database.start()  # in this thread, with which it shall end
                except PostgresError as error:
                    log.error("PostgreSQL does not start", error=str(error), again_in=LONGEST_RESTART_DELAY)
                    await asyncio.sleep(LONGEST_RESTART_DELAY)

    async def _spawn(self, role: str) -> asyncio.subprocess.Process:
        output = self._log_file.open("ab") if self._log_file else None
        try:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "omni", role),
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches only us: we end the others in order
            )
        finally:
            if output:
                output.close()


async def until_signal() -> None:
    """Return at the first Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


@contextlib.contextmanager
def _only_one(config: Config) -> Iterator[None]:
    """Hold the data folder, and see that the public port is free. Raises `ServeError`."""
    with (config.run / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServeError(f"another `omni serve` runs on {config.data}; stop it, or give another --data") from None
        host, port = split_address(config.listen)
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            raise ServeError(f"cannot listen on {config.listen}: {error.strerror}; give another --listen") from None
        yield


@contextlib.contextmanager
def _database(config: Config) -> Iterator[Postgres | None]:
    """The embedded PostgreSQL, unless the configuration names another."""
    if config.database_url:
        yield None
        return
    server = Postgres(config.data / "postgres", config.run, config.data / "postgres.log")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _answers(path: Path) -> bool:
    """Whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(os.fspath(path)) == 0


async def _end_of(pid: int) -> None:
    """Wait until a child has ended; it is still to be waited for."""
    ended, descriptor = asyncio.Event(), os.pidfd_open(pid)
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
