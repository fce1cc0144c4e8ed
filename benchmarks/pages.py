"""The machines list with 10,000 machines: over REST and as a page, as a person or a script asks for it.

One machine joins, and its rows are copied in the database, so that their contents are real; its link is not, so the
gateway has nothing to do with the copies. The slowest question of each kind counts: its 95th percentile over repeated
requests, one at a time. Compared with the database alone: the joined rows of one page, fetched with their contents.
Processor is the mean of all requests of a kind, in all processes of the server.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable

import httpx

from benchmarks.bench import Bench
from benchmarks.change import at
from benchmarks.installation import Installation
from benchmarks.rows import Row

COUNT, TIMES = 10_000, 40
GOAL = 50.0
ORGANISATION = "default"

QUESTIONS = ("", "sort=name", "sort=-memory", "q=connected=yes", "q=talos-1", "q=state=free", "q=label:zone=b")
"""Lists as they are asked for: whole, sorted, filtered by a field, by text, by state and by label."""

COPY = """
    WITH one AS (SELECT id FROM machines_machine LIMIT 1),
    made AS (
        INSERT INTO machines_machine (id, organisation_id, uuid, labels, created_at)
        SELECT gen_random_uuid(), organisation_id, gen_random_uuid()::text,
            jsonb_build_object('zone', chr(97 + n %% 5)), now() - n * interval '1 s'
        FROM machines_machine, generate_series(1, %(count)s) AS n WHERE id = (SELECT id FROM one) RETURNING id
    ) SELECT id FROM made
"""


def measure(bench: Bench) -> list[Row]:
    """REST and page, each by its slowest question."""
    with bench.machines(1) as (server, _, _):
        _fill(server)
        trust = ssl.create_default_context(cadata=(server.config.data / "ca.crt").read_text())
        with httpx.Client(base_url=server.config.public_url, verify=trust, timeout=60) as client:
            bearer = {"Authorization": f"Bearer {server.token}"}
            path = f"/api/v1/organisations/{ORGANISATION}/machines"
            rest = _slowest(server, lambda query: client.get(f"{path}?{query}", headers=bearer))
            _sign_in(client, server.omni("admin", "signin-link").strip())
            page = _slowest(server, lambda query: client.get(f"/o/{ORGANISATION}/machines?{query}"))
        floor = _database(server) * 1000
    rows = []
    for name, (query, seconds, cpu) in (("REST", rest), ("page", page)):
        what = f"10,000 machines, {name}"
        rows.append(Row(f"{what}: p95 of “{query or 'all'}”", seconds * 1000, "ms", floor, "SQL alone", GOAL))
        rows.append(Row(f"{what}: processor", cpu * 1000, "ms", None, ""))
    return rows


def _sign_in(client: httpx.Client, link: str) -> None:
    """Open a one-time link and press its button."""
    page = client.get(link)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token, "the page of the link has a form"
    form = {"csrfmiddlewaretoken": token[1]}
    client.post(link, data=form, headers={"Origin": str(client.base_url).rstrip("/"), "Referer": link})


def _slowest(server: Installation, ask: Callable[[str], httpx.Response]) -> tuple[str, float, float]:
    """The question that takes longest, its 95th percentile, and the processor of a request, in seconds."""
    found, cpu = [], server.cpu()
    for query in QUESTIONS:
        ask(query).raise_for_status()
        found.append((_p95(lambda query=query: ask(query)), query))  # type: ignore[misc]
    seconds, query = max(found)
    return query, seconds, (server.cpu() - cpu) / (len(QUESTIONS) * (TIMES + 1))


def _p95(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return at(seconds, 0.95)


def _fill(server: Installation) -> None:
    """Copy the machine with all that belongs to it, as if 10,000 had joined."""
    with server.database() as database, database.transaction():
        database.execute(COPY, {"count": COUNT - 1})
        for table in ("machines_machineobservation", "machines_machinestatus"):
            columns = [
                row[0]
                for row in database.execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table]
                )
            ]
            new = {
                "id": "gen_random_uuid()",
                "machine_id": "made.id",
                "hostname": "'talos-' || left(made.id::text, 8)",
                "memory_mib": "memory_mib + abs(hashtext(made.id::text)) % 8",
            }
            values = ", ".join(new.get(name, f"one.{name}") for name in columns)
            database.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM machines_machine AS made,"
                f" (SELECT * FROM {table} LIMIT 1) AS one WHERE made.id <> one.machine_id"
            )
    with server.database() as database:
        database.execute("ANALYZE")


def _database(server: Installation) -> float:
    with server.database() as database:
        return _p95(
            lambda: database.execute(
                "SELECT * FROM machines_machine m JOIN machines_machineobservation o ON o.machine_id = m.id"
                " JOIN machines_machinestatus s ON s.machine_id = m.id"
                " ORDER BY m.id LIMIT 50"
            ).fetchall()
        )
