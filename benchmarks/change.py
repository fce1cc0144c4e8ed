"""A change on a machine until a watcher of the machines list has it, with 1,000 machines connected.

A machine changes its host name; the watcher is a websocket through the public port. Compared with one row updated and
notified of within PostgreSQL: commit, NOTIFY, and the notification on another session.
"""

from __future__ import annotations

import json
import random
import ssl
import threading
import time
from collections.abc import Sequence

import psycopg
from websockets.sync.client import ClientConnection, connect

from benchmarks.bench import THOUSAND, Bench
from benchmarks.installation import Installation
from benchmarks.machines import Machines
from benchmarks.rows import Row

CHANGES, PAUSE = 200, 0.05
PATIENCE = 30.0
GOAL = 500.0


def measure(bench: Bench) -> list[Row]:
    """A change every 50 ms, on machines drawn at random."""
    with bench.machines(THOUSAND) as (server, machines, joined):
        seconds = _latencies(server, machines, joined.count)
        floor = _notified(server)
    return [
        Row(
            f"change to watcher, {name}", at(seconds, share) * 1000, "ms", at(floor, share) * 1000, "NOTIFY alone", goal
        )
        for name, share, goal in (("median", 0.5, None), ("p99", 0.99, GOAL))
    ]


def at(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def _latencies(server: Installation, machines: Machines, count: int) -> list[float]:
    source = random.Random(1)
    heard: dict[str, float] = {}
    with _watch(server) as socket:
        reader = threading.Thread(target=_listen, args=(socket, heard), daemon=True)
        reader.start()
        changed: dict[str, float] = {}
        for number, index in enumerate(source.sample(range(count), min(CHANGES, count))):  # each once: none overtakes
            name = f"bench-{number}"
            changed[name] = machines.rename(index, name)
            time.sleep(PAUSE)
        deadline = time.monotonic() + PATIENCE
        while len(heard) < len(changed) and time.monotonic() < deadline:
            time.sleep(PAUSE)
    return [heard.get(name, began + PATIENCE) - began for name, began in changed.items()]


def _watch(server: Installation) -> ClientConnection:
    """A watch of the machines list after its snapshot."""
    trust = ssl.create_default_context(cadata=(server.config.data / "ca.crt").read_text())
    url = server.config.public_url.replace("https", "wss") + "/api/v1/organisations/default/machines/watch"
    socket = connect(url, ssl=trust, additional_headers={"Authorization": f"Bearer {server.token}"}, max_size=None)
    while not json.loads(socket.recv(timeout=PATIENCE))["last"]:
        pass
    return socket


def _listen(socket: ClientConnection, heard: dict[str, float]) -> None:
    for text in socket:
        now, message = time.monotonic(), json.loads(text)
        if message["type"] == "changed":
            for item in message["items"]:
                heard.setdefault(item["hostname"], now)


def _notified(server: Installation) -> list[float]:
    """Seconds from an UPDATE to its notification in another session."""
    seconds = []
    with server.database() as writer, psycopg.connect(server.config.owner_dsn, autocommit=True) as listener:
        listener.execute("LISTEN bench")
        for number in range(CHANGES):
            began = time.monotonic()
            with writer.transaction():
                writer.execute(
                    "UPDATE machines_machineobservation SET hostname = %s WHERE id ="
                    " (SELECT id FROM machines_machineobservation LIMIT 1)",
                    [f"floor-{number}"],
                )
                writer.execute("NOTIFY bench")
            next(iter(listener.notifies(stop_after=1)))
            seconds.append(time.monotonic() - began)
    return seconds
