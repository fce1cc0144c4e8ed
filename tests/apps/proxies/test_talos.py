"""talosctl's calls through a real gateway to simulated machines: who gets through, and where to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from django.db import OperationalError

from apps.access.models import Policy
from apps.accounts.models import AccessKey, Membership, User
from apps.clusters.models import ClusterMachine
from apps.machines.models import Machine, MachineObservation
from apps.reconcile.outbox import changed
from apps.tenants.models import Organisation
from talos import openpgp, signing
from talos.gen.cosi import state_pb2
from talos.gen.machine import machine_pb2
from talos.resources import types
from tests.apps.gateways.lab import Lab
from tests.apps.proxies.site import DMESG, PATIENCE, REBOOT, VERSION, Caller, Person, Tenant, pairs

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
NOT_FOUND = grpc.StatusCode.NOT_FOUND
INVALID = grpc.StatusCode.INVALID_ARGUMENT
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@contextlib.asynccontextmanager
async def one_cluster(lab: Lab, machines: int = 1) -> AsyncIterator[tuple[Tenant, list[Machine]]]:
    """A gateway with a cluster `prod`, of one control plane and workers."""
    async with lab.gateway(), lab.fleet(await lab.token(), machines) as fleet:
        tenant = Tenant(lab)
        found = await tenant.machines(fleet.machines)
        await tenant.cluster("prod", *found, workers=machines - 1)
        yield tenant, [await lab.machine(machine.uuid) for machine in found]


async def test_machines_by_all_their_names(lab: Lab) -> None:
    async with one_cluster(lab, 2) as (tenant, machines):
        ana = await tenant.person("reader")
        hosts = [machine.observation.hostname for machine in machines]
        addresses = [machine.observation.addresses[0].partition("/")[0] for machine in machines]
        for machine, host, address in zip(machines, hosts, addresses, strict=True):
            for name in (machine.uuid, machine.uuid.upper(), host, address, machine.link.address):
                assert await ana.version(node=name, context="prod") == [""]
                assert await ana.version(nodes=name, cluster="prod") == [name]
            assert await ana.version(node=host) == [""]
        assert set(await ana.version(nodes=hosts, context="prod")) == set(hosts)
        assert set(await ana.version(nodes=",".join(addresses), context="prod")) == set(addresses)
        assert await ana.version(context="prod") == [""]  # any control plane


async def test_calls_that_prove_nothing(lab: Lab) -> None:
    """They are refused in the same words whether or not there is what they name."""
    async with one_cluster(lab) as (tenant, (machine,)):
        ana, now = await tenant.person("owner"), datetime.now(UTC)

        async def sent(metadata: dict[str, list[str]], method: str = VERSION) -> tuple[grpc.StatusCode, str]:
            async with tenant.channel() as channel:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await channel.unary_unary(method)(b"", metadata=pairs(metadata), timeout=PATIENCE)
            return refused.value.code(), refused.value.details() or ""

        async def refused(person: Person, **tampered: list[str]) -> str:
            told = []
            for node in (machine.uuid, "no-such-node"):
                metadata = person.proved(VERSION, {"runtime": ["Talos"], "context": ["prod"]}) | {"node": [node]}
                code, text = await sent(metadata | tampered)
                assert code is UNAUTHENTICATED
                told.append(text)
            assert told[0] == told[1]
            return told[0]

        unsigned = {"runtime": ["Talos"], "node": [machine.uuid]}
        assert "omni talosconfig" in (await sent(unsigned))[1]
        assert "5 minutes" in await refused(replace(ana, clock=lambda: now - timedelta(minutes=6)))
        assert "5 minutes" in await refused(replace(ana, clock=lambda: now + timedelta(minutes=6)))
        assert "context" in await refused(ana, context=["dev"])
        assert "nodes" in await refused(ana, nodes=[machine.uuid])
        assert "siderov1" in await refused(ana, **{signing.SIGNATURE: ["siderov2 a b c"]})
        other = openpgp.generate("Test <eve@example.com>", now, timedelta(hours=4))
        assert "not known" in await refused(replace(ana, key=other))
        foreign = ana.proved(VERSION, {"context": ["prod"]})[signing.SIGNATURE][0].split(" ")
        mine = replace(ana, key=other).proved(VERSION, {"context": ["prod"]})[signing.SIGNATURE][0].split(" ")
        assert "signature" in await refused(ana, **{signing.SIGNATURE: [" ".join([*foreign[:3], mine[3]])]})
        another = ana.proved(VERSION, {"runtime": ["Talos"], "node": [machine.uuid]})
        assert (await sent(another, REBOOT))[0] is UNAUTHENTICATED
        assert await ana.version(node=machine.uuid, context="prod") == [""]


async def test_keys_that_have_ended(lab: Lab) -> None:
    async with one_cluster(lab) as (tenant, (machine,)):

        async def refused(person: Person) -> str:
            code, text = await person.refusal(node=machine.uuid)
            assert code is UNAUTHENTICATED
            return text

        async def of(email: str) -> Person:
            person = await tenant.person("owner", email)
            assert await person.version(node=machine.uuid) == [""]
            return person

        ana = await of("ana@example.com")
        await tenant.update(ana, revoked_at=datetime.now(UTC))
        assert "revoked" in await refused(ana)
        (row,) = await tenant.audit(lambda rows: rows, verb="talos.call", outcome="refused")
        assert (row.actor_kind, row.actor_id, row.actor_name) == ("key", str(ana.row.id), "talosctl")
        assert "revoked" in row.details["reason"]
        bob = await of("bob@example.com")
        await tenant.update(bob, expires_at=datetime.now(UTC))
        assert "expired" in await refused(bob)
        cyd = await of("cyd@example.com")
        await lab.ask(lambda: Membership.objects.filter(user=cyd.row.user).delete())
        await tenant.heard("member")
        assert "no member" in await refused(cyd)
        dan = await of("dan@example.com")
        await lab.ask(lambda: User.objects.filter(id=dan.row.user_id).update(is_active=False))
        await tenant.heard("member")
        assert "closed" in await refused(dan)
        eve = await of("eve@example.com")
        await tenant.update(eve, session_key="a session that was ended")
        assert "session" in await refused(eve)


async def test_a_kubernetes_key_signs_nothing(lab: Lab) -> None:
    async with one_cluster(lab) as (tenant, (machine,)):
        ana = await tenant.person("owner")
        await lab.ask(lambda: AccessKey.objects.filter(id=ana.row.id).update(kind=AccessKey.KUBERNETES))
        assert (await ana.refusal(node=machine.uuid))[0] is UNAUTHENTICATED


async def test_names_that_lead_nowhere(lab: Lab) -> None:
    async with one_cluster(lab, 2) as (tenant, machines):
        ana = await tenant.person("reader")
        assert await ana.refusal(node="nobody") == (
            NOT_FOUND,
            "resolve nodes: there is no node 'nobody' in any cluster",
        )
        assert await ana.refusal(node="nobody", context="prod") == (
            NOT_FOUND,
            "resolve nodes: there is no node 'nobody' in cluster prod",
        )
        assert await ana.refusal(context="dev") == (NOT_FOUND, "resolve nodes: there is no cluster 'dev'")
        assert (await ana.refusal(node=machines[0].uuid, context="dev"))[0] is NOT_FOUND
        code, text = await ana.refusal()
        assert code is INVALID
        assert "at least one of cluster, node, or nodes must be specified" in text
        assert (await ana.refusal(nodes=f"{machines[0].uuid},"))[0] is INVALID
        assert (await ana.refusal(nodes=",".join(["a"] * 1001)))[0] is INVALID
        assert (await ana.refusal(node="\0"))[0] in (NOT_FOUND, grpc.StatusCode.INTERNAL, INVALID)
        code, text = await ana.refusal("/machine.ImageService/List", nodes=[machine.uuid for machine in machines])
        assert code is INVALID


async def test_a_name_in_two_clusters(lab: Lab) -> None:
    async with lab.gateway(), lab.fleet(await lab.token(), 2) as fleet:
        tenant = Tenant(lab)
        one, two = await tenant.machines(fleet.machines)
        await tenant.cluster("east", one)
        await tenant.cluster("west", two, secrets=2)
        for machine in (one, two):
            await lab.ask(
                lambda m=machine: ClusterMachine.objects.filter(machine=m).update(node_name="cp-1")  # type: ignore[misc]
            )
        await tenant.heard("cluster")
        ana = await tenant.person("reader")
        code, text = await ana.refusal(node="cp-1")
        assert code is INVALID
        assert all(word in text for word in ("east", "west", one.uuid, two.uuid))
        assert await ana.version(node="cp-1", context="east") == [""]
        assert await ana.version(nodes="cp-1", context="west") == ["cp-1"]
        assert (await ana.refusal(node=one.uuid, context="west"))[0] is NOT_FOUND
        assert set(await ana.version(nodes=[one.uuid, two.uuid])) == {one.uuid, two.uuid}
        # somebody who is shut out of one of them finds the other, and no word of the first
        shut_out = {"effect": "limit", "role": "none", "subjects": ["role:reader"], "clusters": ["west"]}
        await lab.ask(lambda: Policy.new(name="east only", spec=shut_out))
        await tenant.heard("policy")
        assert await ana.version(node="cp-1") == [""]
        assert await ana.refusal(context="west") == (NOT_FOUND, "resolve nodes: there is no cluster 'west'")
        assert (await ana.refusal(node=two.uuid))[1] == f"resolve nodes: there is no node '{two.uuid}' in any cluster"


async def test_nothing_of_another_organisation_is_learned(lab: Lab, other_organisation: Organisation) -> None:
    theirs = Lab(lab.settings, other_organisation)
    async with (
        lab.gateway(),
        lab.fleet(await lab.token(), 1) as fleet,
        theirs.fleet(await theirs.token(), 1, seed="theirs") as their_fleet,
    ):
        acme, umbrella = Tenant(lab), Tenant(theirs)
        await acme.cluster("prod", *await acme.machines(fleet.machines))
        (hidden,) = await umbrella.machines(their_fleet.machines)
        await umbrella.cluster("secret", hidden, secrets=2)
        hidden = await theirs.machine(hidden.uuid)
        ana, eve = await acme.person("owner"), await umbrella.person("owner")
        assert await eve.version(node=hidden.uuid, context="secret") == [""]
        address = hidden.observation.addresses[0].partition("/")[0]
        for name in (hidden.uuid, hidden.observation.hostname, hidden.link.address):
            for context in ({}, {"context": "prod"}):
                found = await ana.refusal(node=name, **context)
                absent = await ana.refusal(node="x" * len(name), **context)
                assert found == (absent[0], absent[1].replace("x" * len(name), name))
        assert await ana.refusal(context="secret") == (NOT_FOUND, "resolve nodes: there is no cluster 'secret'")
        assert address  # both sites number their networks alike: the name leads to one's own machine, or nowhere
        with contextlib.suppress(grpc.aio.AioRpcError):
            assert await ana.version(node=address) == [""]
        rows = await acme.audit(lambda rows: len(rows) >= 13, verb="talos.call")
        assert not [row for row in rows if row.object_name == hidden.uuid or row.object_id == str(hidden.id)]


async def test_roles_decide_and_the_audit_tells(lab: Lab) -> None:
    async with one_cluster(lab) as (tenant, (machine,)):
        reader, operator = await tenant.person("reader"), await tenant.person("operator")
        code, text = await reader.refusal(REBOOT, node=machine.uuid)
        assert code is DENIED
        assert "needs operator" in text
        assert "is reader" in text
        await operator.call(REBOOT, node=machine.uuid)
        asked, done = await tenant.audit(
            lambda rows: len(rows) == 2, verb="talos.call", actor_name__contains="operator"
        )
        assert (asked.outcome, done.outcome) == ("asked", "done")
        assert asked.request_id == done.request_id != ""
        assert done.details["method"] == "machine.MachineService/Reboot"
        assert done.details["code"] == "OK"
        assert done.source == "127.0.0.1"
        assert (done.object_kind, done.object_id, done.object_name) == ("machine", str(machine.id), machine.uuid)
        assert done.details["node"] == machine.observation.hostname
        (refused,) = await tenant.audit(lambda rows: rows, verb="talos.call", actor_name__contains="reader")
        assert refused.outcome == "refused"
        assert refused.details["code"] == "PERMISSION_DENIED"


async def test_what_holds_tokens_is_not_for_readers(lab: Lab) -> None:
    """Talos shows a machine's META and its kernel's command line to every reader."""
    list_, get = "/cosi.resource.State/List", "/cosi.resource.State/Get"
    async with one_cluster(lab) as (tenant, (machine,)):
        reader, operator = await tenant.person("reader"), await tenant.person("operator")
        meta = state_pb2.ListRequest(namespace="runtime", type=types.META_KEY.name).SerializeToString()
        named = {"namespace": "runtime", "type": types.KERNEL_CMDLINE.name, "id": "cmdline"}
        cmdline = state_pb2.GetRequest(**named).SerializeToString()
        for method, message in ((list_, meta), (get, cmdline)):
            code, text = await reader.refusal(method, message, node=machine.uuid)
            assert code is DENIED
            assert "may hold secrets" in text
            async with operator.stream(method, message, node=machine.uuid) as call:
                assert [answer async for answer in call]
        hostname = state_pb2.ListRequest(namespace="network", type=types.HOSTNAME_STATUS.name).SerializeToString()
        async with reader.stream(list_, hostname, node=machine.uuid) as call:
            assert [answer async for answer in call]
        code, _ = await reader.refusal(list_, b"\xff", node=machine.uuid)
        assert code is INVALID
        code, text = await reader.refusal(DMESG, node=machine.uuid)
        assert code is DENIED
        assert "needs operator" in text


async def test_each_use_of_a_key_is_noted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.proxies.proxies.NOTE_USES", 0.05)
    async with one_cluster(lab) as (tenant, (machine,)):
        ana = await tenant.person("reader")
        await ana.version(node=machine.uuid)
        async with asyncio.timeout(PATIENCE):
            while (await lab.ask(lambda: AccessKey.objects.get(id=ana.row.id))).last_used_at is None:
                await asyncio.sleep(0.05)


async def test_a_client_certificate_proves_its_holder(lab: Lab) -> None:
    async with one_cluster(lab) as (tenant, (machine,)):
        ana = await tenant.holder("reader")
        async with asyncio.timeout(PATIENCE):
            while (await _answer(ana, machine.uuid))[0] is not grpc.StatusCode.OK:
                await asyncio.sleep(0.05)  # until the port trusts the organisation's authority
        assert await ana.version(nodes=machine.uuid, context="prod") == [machine.uuid]
        assert (await ana.refusal(REBOOT, node=machine.uuid))[0] is DENIED
        await tenant.update(ana, revoked_at=datetime.now(UTC))
        assert await ana.refusal(node=machine.uuid) == (
            UNAUTHENTICATED,
            "this key was revoked; sign in again or get a new config",
        )


async def test_machines_in_maintenance_mode(lab: Lab) -> None:
    async with lab.gateway(), lab.fleet(await lab.token(), 1) as fleet:
        tenant = Tenant(lab)
        (machine,) = await tenant.machines(fleet.machines)
        reader, operator = await tenant.person("reader"), await tenant.person("operator")
        assert await operator.version(node=machine.uuid) == [""]
        assert await operator.version(nodes=machine.uuid) == [machine.uuid]
        assert (await reader.refusal(node=machine.uuid))[0] is DENIED
        # picked for a cluster, and not configured yet
        await lab.ask(lambda: _picked(machine))
        await tenant.heard("cluster")
        assert await operator.version(node=machine.uuid, context="soon") == [""]
        code, text = await reader.refusal(node=machine.uuid)
        assert code is DENIED
        assert "maintenance" in text
        code, text = await operator.refusal(context="soon")
        assert code is UNAVAILABLE
        assert "maintenance" in text


def _picked(machine: Machine) -> None:
    from apps.clusters.models import Cluster

    cluster = Cluster.new(
        name="soon", kubernetes_version="1.36.3", talos_version="1.13.8", initial_talos_version="1.13.8",
        balancer_port=10_001,
    )  # fmt: skip
    ClusterMachine.new(cluster=cluster, machine=machine, role="controlplane", kubernetes_version="1.36.3")


async def test_while_the_database_is_away(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OperationalError("it is being started again")

    monkeypatch.setattr("apps.proxies.callers._actor", fail)
    async with one_cluster(lab) as (tenant, (machine,)):
        ana = await tenant.person("reader")
        code, text = await ana.refusal(node=machine.uuid)
        assert code is UNAVAILABLE
        assert text == "the database does not answer; try again in a moment"


async def test_a_key_that_is_accepted_after_it_was_tried(lab: Lab) -> None:
    async with one_cluster(lab) as (tenant, (machine,)):
        ana = await tenant.person("reader")
        kept = await lab.ask(lambda: AccessKey.objects.filter(id=ana.row.id).delete())
        assert kept[0] == 1
        assert "not known" in (await ana.refusal(node=machine.uuid))[1]
        await lab.ask(lambda: ana.row.save(force_insert=True))
        assert await ana.version(node=machine.uuid) == [""]


async def test_a_machine_that_is_away(lab: Lab) -> None:
    async with one_cluster(lab, 2) as (tenant, (first, worker)):
        ana = await tenant.person("reader")
        since = datetime(2026, 11, 24, 2, 0, 0, tzinfo=UTC)

        def away() -> None:
            rows = MachineObservation.objects.filter(machine=worker)
            rows.update(connected=False, connected_changed_at=since)
            changed("machine", worker.id, lab.organisation.id)

        await lab.ask(away)
        async with asyncio.timeout(PATIENCE):
            while (told := await _answer(ana, worker.uuid))[0] is grpc.StatusCode.OK:
                await asyncio.sleep(0.05)
        assert told[0] is UNAVAILABLE
        assert "not connected since 2026-11-24 02:00:00 UTC" in told[1]
        # beside others it is one of the answers
        answer = machine_pb2.VersionResponse.FromString(await ana.call(VERSION, nodes=[first.uuid, worker.uuid]))
        told_of = {message.metadata.hostname: message.metadata.error for message in answer.messages}
        assert told_of[first.uuid] == ""
        assert "not connected since" in told_of[worker.uuid]


async def _answer(person: Caller, node: str) -> tuple[grpc.StatusCode, str]:
    try:
        await person.version(node=node)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""
