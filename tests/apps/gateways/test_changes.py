"""Hearing of changes that other processes commit, and of what went while nobody listened."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from apps.clusters.models import Cluster, ClusterMachine
from apps.gateways import balancers as module
from apps.gateways import changes
from apps.gateways.balancers import Balancers
from apps.gateways.changes import Change, follow_changes
from apps.machines.models import Link, Machine
from apps.reconcile.outbox import CHANGES_CHANNEL, changed
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent.dial import Stream
from nodeagent.wireguard.engine import StreamHandler
from omni import postgres


async def test_changes_are_heard_and_missed_ones_asked_for(
    transactional_db: None, database: postgres.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "RETRY", 0.05)
    dsn = make_conninfo(database.dsn(postgres.APP), application_name="listener under test")
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    asked: asyncio.Queue[None] = asyncio.Queue()

    def told(change: Change) -> None:
        heard.put_nowait((change.kind, str(change.id)))

    following = asyncio.create_task(follow_changes(dsn, told, lambda: asked.put_nowait(None)))
    async with asyncio.timeout(20):
        await asked.get()
        for _ in range(2):
            thing = uuid4()
            await in_thread(lambda thing=thing: changed("machine", thing, uuid4()))
            assert await heard.get() == ("machine", str(thing))
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as killer:
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'listener under test' AND pid <> pg_backend_pid()"
                )
            await asked.get()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_change_that_is_not_understood_is_passed_over(
    transactional_db: None, database: postgres.Postgres
) -> None:
    """Processes of two versions run side by side for a while: one of them must not end the other."""
    dsn = database.dsn(postgres.APP)
    heard: asyncio.Queue[Change] = asyncio.Queue()
    listening = asyncio.Event()
    following = asyncio.create_task(follow_changes(dsn, heard.put_nowait, listening.set))
    thing = uuid4()
    async with asyncio.timeout(20):
        await listening.wait()
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as other:
            for payload in ("", "{", "[]", '{"kind": "machine"}', '{"kind": "x", "id": "1", "organisation": "2"}'):
                await other.execute("SELECT pg_notify(%s, %s)", [CHANGES_CHANNEL, payload])
        await in_thread(lambda: changed("machine", thing, uuid4()))
        assert (await heard.get()).id == thing
    following.cancel()


class FakeEngine:
    """Ports that are open, and some that cannot be."""

    def __init__(self, *taken: int) -> None:
        self.taken = set(taken)
        self.open: dict[int, Callable[[str], bool]] = {}
        self.changed = asyncio.Event()

    async def serve(self, port: int, handler: StreamHandler, admit: Callable[[str], bool]) -> "FakeListener":
        if port in self.taken:
            raise OSError(98, "address in use")
        self.open[port] = admit
        self.changed.set()
        return FakeListener(self, port)


class FakeListener:
    def __init__(self, engine: FakeEngine, port: int) -> None:
        self.engine, self.port = engine, port

    def close(self) -> None:
        del self.engine.open[self.port]
        self.engine.changed.set()


async def nowhere(address: str, port: int) -> Stream:
    raise OSError(113, "no machine is there")


@pytest.fixture
def clusters(transactional_db: None, organisation: Organisation, other_organisation: Organisation) -> None:
    """A cluster with a machine in each of two organisations, on ports 10000 and 10001."""
    for number, owner in enumerate((organisation, other_organisation)):
        with tenant_scope(owner.id):
            cluster = Cluster.new(
                name="lab", kubernetes_version="1.36.3", talos_version="1.13.8", initial_talos_version="1.13.8",
                balancer_port=10_000 + number,
            )  # fmt: skip
            machine = Machine.new(uuid=f"m{number}")
            Link.new(
                machine=machine,
                claimed_uuid="u",
                transport="udp",
                public_key=f"k{number}",
                address=f"fdae::{number + 1}",
            )
            ClusterMachine.new(cluster=cluster, role="controlplane", machine=machine, kubernetes_version="1.36.3")


async def test_each_cluster_gets_its_port_and_only_its_machines(
    clusters: None, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    balancers = Balancers(engine, nowhere)  # type: ignore[arg-type]
    running = asyncio.create_task(balancers.run())
    async with asyncio.timeout(20):
        while engine.open.keys() != {10_000, 10_001}:
            engine.changed.clear()
            await engine.changed.wait()
        assert engine.open[10_000]("fdae::1")
        assert not engine.open[10_000]("fdae::2")
        assert engine.open[10_001]("fdae::2")

        def destroy() -> None:
            with tenant_scope(organisation.id):
                ClusterMachine.objects.all().delete()
                Cluster.objects.all().delete()

        await in_thread(destroy)
        engine.changed.clear()
        balancers.look()
        await engine.changed.wait()
    assert engine.open.keys() == {10_001}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_port_that_is_taken_holds_up_no_other_and_is_tried_again(
    clusters: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.05)
    engine = FakeEngine(10_000)
    running = asyncio.create_task(Balancers(engine, nowhere).run())  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        await engine.changed.wait()
        assert engine.open.keys() == {10_001}
        engine.changed.clear()
        engine.taken.clear()
        await engine.changed.wait()
    assert engine.open.keys() == {10_000, 10_001}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
