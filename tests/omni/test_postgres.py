"""The embedded PostgreSQL survives everything that can happen to it and to its parent."""

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from omni import postgres
from omni.postgres import APP, OWNER, SUPERUSER, Postgres, PostgresError, running

FAST = {"fsync": "off", "max_connections": "20", "shared_buffers": "16MB"}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="omni-pg-") as name:
        yield Path(name)


def server(folder: Path) -> Postgres:
    return Postgres(folder / "postgres", folder / "run", folder / "log", FAST)


def count(database: Postgres) -> int:
    with psycopg.connect(database.dsn(OWNER)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n integer)")
        connection.execute("INSERT INTO kept VALUES (1)")
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
        assert row is not None
        return int(row[0])


def wait_gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 20)[0], f"process {pid} is still there"
    finally:
        os.close(descriptor)


def test_data_survives_a_stop_a_kill_and_a_believable_pid_file(folder: Path) -> None:
    with running(server(folder)) as database:
        assert count(database) == 1
    assert not (folder / "postgres" / "postmaster.pid").exists()
    database = server(folder)
    database.start()
    assert database.process is not None
    assert count(database) == 2
    main = int((folder / "postgres" / "postmaster.pid").read_text().split("\n")[0])
    os.kill(main, signal.SIGKILL)
    database.process.wait()
    pid_file = folder / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]))  # a living process has that pid now
    with running(server(folder)) as database:
        assert count(database) == 3


def test_a_killed_parent_takes_it_along(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from omni.postgres import Postgres\n"
        "data, run, log = (Path(sys.argv[1]) / name for name in ('postgres', 'run', 'log'))\n"
        f"Postgres(data, run, log, {FAST!r}).start(); print('up', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(folder)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    main = int((folder / "postgres" / "postmaster.pid").read_text().split("\n")[0])
    parent.kill()
    parent.communicate()
    wait_gone(main)
    with running(server(folder)) as database:
        assert count(database) == 1


def test_a_server_that_was_left_running_is_ended_first(folder: Path) -> None:
    left = server(folder)
    left.start()
    assert left.process is not None
    with running(server(folder)) as database:
        assert left.process.wait(20) == 0
        assert count(database) == 1


def test_a_half_made_folder_is_made_anew(folder: Path) -> None:
    (folder / "postgres" / "base").mkdir(parents=True)
    with running(server(folder)) as database:
        assert count(database) == 1


def test_the_roles_it_makes(folder: Path) -> None:
    with running(server(folder)) as database, psycopg.connect(database.dsn(SUPERUSER)) as connection:
        found = connection.execute(
            "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolcanlogin AND rolname LIKE 'omni%' ORDER BY 1"
        ).fetchall()
        assert found == [(APP, False, False), (OWNER, False, False)]
        assert (folder / "run").stat().st_mode & 0o777 == 0o700
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_without_user_namespaces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root in a container that forbids them; for an ordinary user there is nothing to forbid."""
    real = subprocess.run

    def forbid(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if command[0] == "unshare":
            return subprocess.CompletedProcess(command, 1)
        return real(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(postgres.subprocess, "run", forbid)
    for expected in (1, 2):
        with running(server(folder)) as database:
            assert count(database) == expected


def test_data_of_a_version_that_is_not_here(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match="written by PostgreSQL 9"):
        server(folder).start()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    bad = Postgres(folder / "postgres", folder / "run", folder / "log", FAST | {"max_connections": "many"})
    with pytest.raises(PostgresError, match="max_connections"):
        bad.start()


def test_a_socket_folder_of_somebody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "run").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(PostgresError, match="belongs to another user"):
        server(folder).start()
