"""The client against a machine with real gRPC, real TLS and Ed25519 certificates on loopback."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest

from nodeagent import errors
from nodeagent.channel import Credentials
from nodeagent.client import Mode, NodeClient
from nodeagent.kubeconfigtar import first_member
from nodeagent.tls import MAINTENANCE_NAME
from talos import pki, resources
from talos.gen.cosi import state_pb2
from talos.gen.machine import machine_pb2
from talos.resources import EventType, types
from tests.nodeagent import fakenode
from tests.nodeagent.fakenode import NOW, UUID, FakeNode, resource

CA = pki.talos_ca(NOW)
CREDENTIALS = Credentials(CA.crt, pki.talos_client(CA, ["os:admin"], NOW))


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def client(node: FakeNode) -> AsyncIterator[NodeClient]:
    """Speaks to the node as to one of our configured machines."""
    identity = fakenode.issue_server(CA, "m-1")
    async with (
        fakenode.serve(node, identity, CA.crt) as served,
        NodeClient(served.connect, CREDENTIALS, name="m-1", server_name="127.0.0.1") as client,
    ):
        yield client


async def test_reads_what_the_machine_is(node: FakeNode, client: NodeClient) -> None:
    node.resources = [resource(types.SYSTEM_INFORMATION, {"uuid": UUID})]
    node.files["/proc/sys/kernel/random/boot_id"] = b"boot-1\n"
    assert (await client.version()).tag == "v1.14.1"
    assert await client.identity() == UUID.lower()
    assert await client.boot_id() == "boot-1"
    assert [disk.device_name for disk in await client.disks() if disk.system_disk] == ["/dev/sda"]
    assert (await client.etcd_members())[0].id == 2**63 + 1


async def test_a_machine_without_a_uuid_has_no_identity(node: FakeNode, client: NodeClient) -> None:
    node.resources = [resource(types.SYSTEM_INFORMATION, {})]
    with pytest.raises(errors.NotFound, match="UUID"):
        await client.identity()


async def test_applies_configuration_with_the_mode_always_set(node: FakeNode, client: NodeClient) -> None:
    applied = await client.apply_configuration(b"machine: {}", Mode.TRY, revert_after=90)
    assert (applied.mode, applied.details, applied.warnings) == (Mode.TRY, "Applied", ("w",))
    assert node.requests[0].try_mode_timeout.seconds == 90
    await client.apply_configuration(b"machine: {}", dry_run=True)
    assert (node.requests[1].mode, node.requests[1].dry_run) == (Mode.AUTO, True)


async def test_errors_say_what_failed_on_which_machine(client: NodeClient) -> None:
    with pytest.raises(errors.Invalid) as invalid:
        await client.apply_configuration(b"bad")
    assert invalid.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert str(invalid.value) == (
        "ApplyConfiguration on m-1 was given something the machine does not accept: "
        "unknown keys found during decoding (INVALID_ARGUMENT)"
    )
    with pytest.raises(errors.Unsupported):
        await client.rollback()
    with pytest.raises(errors.NotFound, match="reading /nosuch"):
        await client.read_file("/nosuch")


async def test_bootstrap_is_told_from_one_that_happened(client: NodeClient) -> None:
    await client.bootstrap()  # this node answers without an entry, as some do
    with pytest.raises(errors.AlreadyDone):
        await client.bootstrap()


async def test_changes_a_machine(node: FakeNode, client: NodeClient) -> None:
    assert await client.reset(graceful=True, reboot=True, wipe=("STATE", "EPHEMERAL")) == "a-1"
    assert [(spec.label, spec.wipe) for spec in node.requests[0].system_partitions_to_wipe] == [
        ("STATE", True),
        ("EPHEMERAL", True),
    ]
    await client.meta_write(0x10, b"token")
    assert (node.requests[1].key, node.requests[1].value) == (16, b"token")


async def test_installs_line_by_line(node: FakeNode, client: NodeClient) -> None:
    image = await client.pull_image("factory/x:v1")
    assert image == "factory/x:v1@sha256:00"
    assert [line async for line in client.install(image, "/dev/sda")] == ["one", "two"]
    assert node.requests[0].destination.disk == "/dev/sda"


@pytest.mark.parametrize(("exit_code", "permanent"), [(2, True), (7, False)])
async def test_a_failed_installer_is_an_error(
    node: FakeNode, client: NodeClient, exit_code: int, permanent: bool
) -> None:
    node.exit_code = exit_code
    with pytest.raises(errors.InstallFailed, match=f"exit code {exit_code}: two") as failed:
        [line async for line in client.install("i", "/dev/sda")]
    assert failed.value.permanent is permanent


async def test_an_installer_that_vanishes_has_not_succeeded(node: FakeNode, client: NodeClient) -> None:
    node.exit_code = None
    with pytest.raises(errors.Unreachable, match="did not end"):
        [line async for line in client.install("i", "/dev/sda")]


async def test_files_are_limited(node: FakeNode, client: NodeClient) -> None:
    node.files["/big"] = b"x" * 5000
    assert len(await client.read_file("/big")) == 5000
    with pytest.raises(errors.NodeError, match="more than 100 bytes"):
        await client.read_file("/big", limit=100)


async def test_uploads_a_snapshot(node: FakeNode, client: NodeClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    await client.etcd_recover(pieces())
    assert node.requests == [b"abcd"]


async def test_kubeconfig_comes_out_of_its_archive(client: NodeClient) -> None:
    assert await client.kubeconfig() == b"apiVersion: v1\n"
    with pytest.raises(ValueError, match="cannot be read"):
        first_member(b"no archive")


async def test_the_greeting_of_events_is_not_an_event(client: NodeClient) -> None:
    events = client.events(tail=-1)
    event = await anext(events)
    payload = machine_pb2.RestartEvent()
    assert event.data.Unpack(payload)
    assert payload.cmd == 7
    await events.aclose()


async def test_lists_and_watches_resources(node: FakeNode, client: NodeClient) -> None:
    booting = resource(types.MACHINE_STATUS, {"stage": "booting", "status": {"ready": False, "unmetConditions": []}})
    node.resources = [booting]
    assert [found.spec["stage"] for found in await client.list(types.MACHINE_STATUS)] == ["booting"]
    watch = client.watch(types.MACHINE_STATUS)
    assert [(await anext(watch)).type for _ in range(2)] == [EventType.CREATED, EventType.BOOTSTRAPPED]
    assert node.requests[0].api_version == 1
    running = replace(booting, spec=booting.spec | {"stage": "running"})
    node.watch_events[types.MACHINE_STATUS.name].put_nowait(
        state_pb2.Event(
            event_type=state_pb2.UPDATED,
            resource=resources.encode(running),
            old=resources.encode(booting),
            bookmark=b"0123",
        )
    )
    event = await anext(watch)
    assert (event.resource.spec["stage"], event.old and event.old.spec["stage"], event.bookmark) == (
        "running",
        "booting",
        b"0123",
    )
    node.watch_events[types.MACHINE_STATUS.name].put_nowait(
        state_pb2.Event(event_type=state_pb2.ERRORED, error="too slow")
    )
    with pytest.raises(errors.WatchLost, match="too slow"):
        await anext(watch)


async def test_a_resource_that_cannot_be_read_is_an_error_not_a_crash(node: FakeNode, client: NodeClient) -> None:
    node.watch_events[types.MACHINE_STATUS.name].put_nowait(
        state_pb2.Event(
            resource=state_pb2.GetResponse.FromString(b"").resource,
            event_type=state_pb2.UPDATED,
        )
    )
    broken = resources.encode(resource(types.MACHINE_STATUS, {"stage": "running"}))
    broken.spec.proto_spec = b"\xff"
    node.watch_events[types.MACHINE_STATUS.name].put_nowait(
        state_pb2.Event(event_type=state_pb2.UPDATED, resource=broken)
    )
    watch = client.watch(types.MACHINE_STATUS)
    await anext(watch)
    assert (await anext(watch)).resource.spec is None
    with pytest.raises(errors.NodeError, match="MachineStatus cannot be read"):
        await anext(watch)


# --- connections and trust ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [MAINTENANCE_NAME, ""])
async def test_a_machine_in_maintenance_is_recognised_by_its_certificate(node: FakeNode, name: str) -> None:
    async with (
        fakenode.serve(node, fakenode.maintenance_identity(name)) as served,
        NodeClient(served.connect, None) as client,
    ):
        assert (await client.version()).platform == "metal"


@pytest.mark.parametrize("name", ["m-1", MAINTENANCE_NAME])
async def test_a_configured_machine_is_not_taken_for_one_in_maintenance(node: FakeNode, name: str) -> None:
    identity = fakenode.issue_server(CA, name)
    async with fakenode.serve(node, identity) as served, NodeClient(served.connect, None, name="m-1") as client:
        with pytest.raises(errors.WrongTrust, match="without configuration"):
            await client.version()
    assert node.requests == []


async def test_a_machine_of_another_cluster_is_not_trusted(node: FakeNode) -> None:
    identity = fakenode.issue_server(pki.talos_ca(NOW), "m-1")
    async with fakenode.serve(node, identity) as served, NodeClient(served.connect, CREDENTIALS) as client:
        with pytest.raises(errors.WrongTrust, match="certificate is not accepted"):
            await client.version()


async def test_a_machine_under_another_address_is_not_trusted(node: FakeNode) -> None:
    identity = fakenode.issue_server(CA, "m-1", "10.0.0.1")
    async with (
        fakenode.serve(node, identity) as served,
        NodeClient(served.connect, CREDENTIALS, server_name="127.0.0.1") as client,
    ):
        with pytest.raises(errors.WrongTrust, match="certificate is not accepted"):
            await client.version()


async def test_a_machine_that_does_not_trust_us_says_so(node: FakeNode) -> None:
    foreign = pki.talos_ca(NOW)
    identity = fakenode.issue_server(CA, "m-1")
    async with fakenode.serve(node, identity, foreign.crt) as served, NodeClient(served.connect, CREDENTIALS) as client:
        with pytest.raises(errors.WrongTrust, match="TLS: alert unknown ca"):
            await client.version()


async def test_a_machine_that_is_away_is_unreachable_and_found_again(node: FakeNode) -> None:
    identity = fakenode.maintenance_identity()
    async with fakenode.serve(node, identity) as served:
        away = True

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            if away:
                raise OSError(113, "No route to host")
            return await served.connect()

        async with NodeClient(connect, None, name="m-1") as client:
            with pytest.raises(errors.Unreachable, match="m-1 did not get through: No route to host") as lost:
                await client.version()
            assert not isinstance(lost.value, errors.WrongTrust)
            away = False
            assert (await client.wait_for_answer(20)).tag == "v1.14.1"
            await client.version()
        assert served.connections == 1


async def test_a_call_without_an_answer_ends_at_its_deadline(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodeagent.client.CALL", 0.05)

    async def Version(request: object, context: object) -> None:
        await asyncio.Event().wait()

    node.Version = Version  # type: ignore[method-assign,assignment]
    async with (
        fakenode.serve(node, fakenode.maintenance_identity()) as served,
        NodeClient(served.connect, None) as client,
    ):
        with pytest.raises(errors.TimedOut):
            await client.version()


def test_secrets_do_not_show() -> None:
    assert "PRIVATE" not in repr(CREDENTIALS)
