"""What is under way through the proxies ends when it would not be admitted any more."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from django.contrib.sessions.backends.db import SessionStore

from apps.access.models import Policy
from apps.accounts.models import Membership
from apps.clusters.models import ClusterMachine
from apps.machines import actions
from apps.machines.models import Machine
from apps.proxies import live, proxies
from apps.tenants.models import Organisation
from talos.gen.machine import machine_pb2
from tests.apps.gateways.lab import Lab, complete
from tests.apps.proxies.site import DMESG, Person, Tenant, ended
from tests.apps.proxies.test_talos import DENIED, one_cluster

FOLLOW = machine_pb2.DmesgRequest(follow=True, tail=False).SerializeToString()


async def follows(call: Any) -> None:
    """Wait until a stream has begun."""
    async for _ in call:
        return


async def test_whatever_takes_back_a_right_ends_its_streams(lab: Lab) -> None:
    """Each way is heard of at once; who is not meant goes on."""
    async with one_cluster(lab) as (tenant, (machine,)):
        bystander = await tenant.person("owner", "bystander@example.com")

        async def ends(person: Person, change: Callable[[], Any], kind: str) -> str:
            async with person.stream(DMESG, FOLLOW, node=machine.uuid) as call:
                await follows(call)
                await lab.ask(change)
                await tenant.heard(kind)
                code, text = await ended(call)
            assert code is DENIED
            return text

        async with bystander.stream(DMESG, FOLLOW, node=machine.uuid) as goes_on:
            await follows(goes_on)
            ana = await tenant.person("operator", "ana@example.com")
            assert "revoked" in await ends(ana, lambda: _update(ana, revoked_at=datetime.now(UTC)), "access-key")
            bob = await tenant.person("operator", "bob@example.com")
            member = lambda: Membership.objects.filter(user=bob.row.user).delete()  # noqa: E731
            assert "no member" in await ends(bob, member, "member")
            cyd, session = await tenant.person("operator", "cyd@example.com"), await lab.ask(_session)
            await lab.ask(lambda: _update(cyd, session_key=session.session_key))
            assert "session" in await ends(cyd, session.delete, "session")
            dan = await tenant.person("operator", "dan@example.com")
            shut_out = {"effect": "limit", "role": "none", "subjects": ["user:dan@example.com"]}
            text = await ends(dan, lambda: Policy.new(name="not dan", spec=shut_out), "policy")
            assert "not dan" in text
            boot = await tenant.simulated[machine.uuid].booted()
            boot.kernel_log.talos("the bystander hears this")
            async with asyncio.timeout(5):
                async for data in goes_on:
                    if b"the bystander hears this" in data:
                        break


def _update(person: Person, **columns: Any) -> None:
    type(person.row).objects.filter(id=person.row.id).update(**columns)


def _session() -> SessionStore:
    session = SessionStore()
    session.create()
    return session


async def test_what_nobody_told_is_found(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notifications that are lost cost a few seconds."""
    monkeypatch.setattr(proxies.Proxies, "heard", lambda *_: None)
    async with one_cluster(lab) as (tenant, (machine,)):
        ana = await tenant.person("operator")
        async with ana.stream(DMESG, FOLLOW, node=machine.uuid) as call:
            await follows(call)
            await lab.ask(lambda: _update(ana, revoked_at=datetime.now(UTC)))
            began = asyncio.get_running_loop().time()
            code, text = await ended(call)
            assert asyncio.get_running_loop().time() - began < 10
        assert (code, text) == (DENIED, "this key was revoked")
        code, _ = await ana.refusal(node=machine.uuid)
        assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_machine_that_moves_to_another_organisation(lab: Lab, other_organisation: Organisation) -> None:
    """Its streams end, its name is not known any more, and its new organisation calls it."""
    theirs = Lab(lab.settings, other_organisation)
    acme, umbrella = Tenant(lab), Tenant(theirs)
    async with lab.gateway():
        async with lab.fleet(await lab.token(), 1) as fleet:
            (machine,) = await acme.machines(fleet.machines)
            ana = await acme.person("owner")
            async with ana.stream(DMESG, FOLLOW, node=machine.uuid) as call:
                await follows(call)
                await lab.ask(lambda: actions.remove_machine(lab.owner, Machine.objects.get()))
                code, text = await ended(call)
            assert code in (DENIED, grpc.StatusCode.UNAVAILABLE)
            if code is DENIED:
                assert "not in this organisation any more" in text
        async with theirs.fleet(await theirs.token(), 1) as fleet:
            (again,) = await umbrella.machines(fleet.machines)
            assert again.uuid == machine.uuid
            await theirs.machine(again.uuid, complete)
            eve = await umbrella.person("owner")
            assert await eve.version(node=again.uuid) == [""]
            code, text = await ana.refusal(node=again.uuid)
            assert (code, text) == (
                grpc.StatusCode.NOT_FOUND,
                f"resolve nodes: there is no node '{again.uuid}' in any cluster",
            )


async def test_a_machine_that_leaves_its_cluster(lab: Lab) -> None:
    async with one_cluster(lab, 2) as (tenant, (_, worker)):
        ana = await tenant.person("owner")
        async with ana.stream(DMESG, FOLLOW, node=worker.uuid) as call:
            await follows(call)
            await lab.ask(lambda: ClusterMachine.objects.filter(machine=worker).delete())
            await tenant.heard("cluster")
            code, text = await ended(call)
        assert code is DENIED
        assert "not in the cluster any more" in text


async def test_the_audit_is_written_to_its_end(lab: Lab) -> None:
    """A gateway that stops in mid-stream has written how its calls ended."""
    async with lab.fleet(await lab.token(), 1) as fleet:
        tenant = Tenant(lab)
        async with lab.gateway():
            (machine,) = await tenant.machines(fleet.machines)
            ana = await tenant.person("owner")
            for _ in range(3):
                await ana.version(node=machine.uuid)
            running = ana.stream(DMESG, FOLLOW, node=machine.uuid)
            await follows(await running.__aenter__())
        rows = await tenant.audit(lambda rows: rows, verb="talos.call")
        assert [row.details["method"].rpartition("/")[2] for row in rows] == ["Version"] * 3 + ["Dmesg"]
        assert rows[-1].details["code"] != "OK"
        await running.__aexit__(None, None, None)


async def test_nothing_is_left_open(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that clients leave are over for us, with their rows in the audit; those that run are in the metrics."""
    seen: list[live.Live] = []
    make = live.Live.__init__

    def made(self: live.Live, *given: Any) -> None:
        make(self, *given)
        seen.append(self)

    monkeypatch.setattr(live.Live, "__init__", made)
    async with one_cluster(lab) as (tenant, (machine,)):
        ana = await tenant.person("operator")
        async with ana.stream(DMESG, FOLLOW, node=machine.uuid) as call:
            await follows(call)
            assert seen[0].counts["talos"] == 1
            reader, _ = await asyncio.open_unix_connection(str(lab.settings.run / "metrics.sock"))
            assert b'omni_proxied_open{kind="talos"} 1.0' in await reader.read()
        (row,) = await tenant.audit(lambda rows: rows, verb="talos.call")
        assert row.details["code"] == "CANCELLED"
        assert row.outcome == "done"
        assert seen[0].counts["talos"] == 0
        assert not seen[0]._by_organisation
        assert not seen[0]._by_object
