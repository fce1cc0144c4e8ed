"""A worker's hold on the objects it runs: alive exactly as long as the worker's own database session.

Each worker process keeps one session with an advisory lock on a random number, and writes that number into the rows it
claims. A row is free when its number's lock is. So a worker that is killed frees its rows at once, a slow one keeps
them for as long as it takes, and no two ever run the same object. A worker that loses its session no longer knows what
it owns: it must end.
"""

import secrets
import select
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import structlog
from django.db import connection

SPACE = 0x6F6D  # first key of the advisory locks of workers
BEAT_SPACE = 0x6F6E  # and of the one of the beat

LIVE_LEASES = f"""
    SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = {SPACE} AND objsubid = 2 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608 (a constant)


class LeaseLost(RuntimeError):
    """The session that carried the lease is gone."""


class Lease:
    """One process's lease. `lost` is called from a thread of its own when the session breaks."""

    def __init__(self, lost: Callable[[], None], lock: tuple[int, int] | None = None) -> None:
        """A worker's, on a number of its own; or on a `lock` that is waited for while somebody else has it."""
        space, self.number = lock or (SPACE, secrets.randbits(31))
        self._session = psycopg.connect(**session_parameters(), autocommit=True)
        self._session.execute("SELECT pg_advisory_lock(%s, %s)", [space, self.number])
        self._lost = lost
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="lease", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether rows may be claimed with it."""
        return not self._ended.is_set()

    def close(self) -> None:
        """Give everything back at once, finished or not."""
        self._ended.set()
        self._session.close()

    def lose(self) -> None:
        """Stop claiming and call `lost`: this process can no longer be sure of what it holds."""
        if self.alive:
            self._ended.set()
            self._lost()

    def _watch(self) -> None:
        """Wait for the server to close the session; nothing else ever arrives on it."""
        poll = select.poll()
        try:
            poll.register(self._session.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        except psycopg.Error:
            return  # closed before it was watched
        poll.poll()
        self.lose()


def wait_for_turn(lost: Callable[[], None]) -> Lease:
    """Wait until no other beat is active, and be it for as long as the lease lives. The database may be away."""
    log = structlog.get_logger("reconcile")
    log.info("beat waits for its turn")
    while True:
        try:
            lease = Lease(lost, (BEAT_SPACE, 0))
        except psycopg.OperationalError as error:
            log.warning("beat waits for the database", error=str(error))
            time.sleep(1)
        else:
            log.info("beat is active")
            return lease


def session_parameters() -> dict[str, Any]:
    """Where Django connects to, for a session of our own; both ends notice a dead network within half a minute."""
    parameters = connection.get_connection_params()
    wanted = {key: parameters[key] for key in ("dbname", "user", "password", "host", "port") if parameters.get(key)}
    ours = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25000}
    theirs = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    return wanted | ours | {"options": theirs}
