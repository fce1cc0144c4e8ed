"""The State service, in what clients of a real node rely on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from nodeagent.simulator.boot import Boot
from nodeagent.simulator.calls import Call, Caller, Refusal
from nodeagent.simulator.cosi import CALLS
from talos.gen.cosi import resource_pb2, state_pb2
from talos.resources import types
from talos.roles import ADMIN, READER
from tests.nodeagent.simulator.bench import bench, in_stage

META = types.META_KEY


@asynccontextmanager
async def a_boot() -> AsyncIterator[Boot]:
    async with bench() as b:
        yield await in_stage(b.fleet.machines[0], "maintenance")


def call(boot: Boot, role: str = ADMIN) -> Call:
    return Call(boot, Caller(boot, frozenset({role}), maintenance=False), {})


def watch(boot: Boot, id: str | None = None, api_version: int = 1, **options: object):
    request = state_pb2.WatchRequest(
        namespace=META.namespace,
        type=META.name,
        options=state_pb2.WatchOptions(**options),
        api_version=api_version,
    )
    if id is not None:
        request.id = id
    return CALLS["Watch"](call(boot), request)


async def events(stream, count: int) -> list[tuple[int, str]]:
    """(type, id) of the next events."""
    seen = []
    async with asyncio.timeout(5):
        async for response in stream:
            seen += [(event.event_type, event.resource.metadata.id) for event in response.event]
            if len(seen) >= count:
                return seen
    raise AssertionError(f"the watch ended after {seen}")


async def test_reading_is_filtered():
    async with a_boot() as boot:
        get = CALLS["Get"]
        with pytest.raises(Refusal, match="is not supported"):
            await get(call(boot), state_pb2.GetRequest(namespace="runtime", type="Nothings.example.org", id="x"))
        with pytest.raises(Refusal, match="namespace"):
            await get(call(boot), state_pb2.GetRequest(namespace="nowhere", type=META.name, id="x"))
        secret = state_pb2.GetRequest(namespace="config", type=types.MACHINE_CONFIG.name, id="v1alpha1")
        with pytest.raises(Refusal, match="not authorized"):
            await get(call(boot, READER), secret)
        await get(call(boot), secret)
        with pytest.raises(Refusal) as refused:
            await get(call(boot), state_pb2.GetRequest(namespace="runtime", type=META.name, id="0x01"))
        assert refused.value.code is grpc.StatusCode.NOT_FOUND
        with pytest.raises(Refusal, match="write access is not allowed"):
            await CALLS["Create"](call(boot), state_pb2.CreateRequest())


async def test_both_encodings_are_filled():
    async with a_boot() as boot:
        request = state_pb2.GetRequest(namespace="runtime", type=types.MACHINE_STATUS.name, id="machine")
        resource = (await CALLS["Get"](call(boot), request)).resource
        assert resource.spec.proto_spec
        assert resource.spec.yaml_spec.startswith("stage: maintenance\n")
        assert resource.metadata.phase == "running"


async def test_a_watch_with_contents():
    async with a_boot() as boot:
        await boot.set_meta(12, b"a")
        await boot.set_meta(10, b"b")
        stream = watch(boot, bootstrap_contents=True)
        assert not (await anext(stream)).event, "the watch stands"
        seen = await events(stream, 3)
        assert seen == [(0, "0x0a"), (0, "0x0c"), (3, "")]
        await boot.set_meta(12, b"c")
        await boot.set_meta(10, None)
        assert await events(stream, 2) == [(1, "0x0c"), (2, "0x0a")]


async def test_old_clients_get_no_bootstrapped():
    async with a_boot() as boot:
        stream = watch(boot, api_version=0, bootstrap_contents=True)
        await anext(stream)
        following = asyncio.ensure_future(events(stream, 1))
        await asyncio.sleep(0)
        await boot.set_meta(12, b"a")
        assert await following == [(0, "0x0c")]


async def test_a_watch_of_one_resource():
    async with a_boot() as boot:
        stream = watch(boot, id="0x0c")
        await anext(stream)
        first = (await anext(stream)).event[0]
        assert (first.event_type, first.resource.metadata.version) == (2, "undefined")
        assert not first.resource.spec.yaml_spec
        await boot.set_meta(10, b"other")
        await boot.set_meta(12, b"a")
        assert await events(stream, 1) == [(0, "0x0c")]
        with pytest.raises(Refusal):
            await anext(watch(boot, id="0x0c", bootstrap_contents=True))


async def test_an_update_carries_what_was():
    async with a_boot() as boot:
        await boot.set_meta(12, b"a")
        stream = watch(boot)
        await anext(stream)
        await boot.set_meta(12, b"a")
        await boot.set_meta(12, b"b")
        event = (await anext(stream)).event[0]
        assert (event.old.spec.yaml_spec, event.resource.spec.yaml_spec) == ("value: a\n", "value: b\n")
        assert (event.old.metadata.version, event.resource.metadata.version) == ("1", "2")


async def test_a_bookmark_continues():
    async with a_boot() as boot:
        stream = watch(boot, bootstrap_bookmark=True)
        await anext(stream)
        noop = (await anext(stream)).event[0]
        assert noop.event_type == state_pb2.NOOP
        await boot.set_meta(12, b"a")
        await boot.set_meta(10, b"b")
        again = watch(boot, start_from_bookmark=noop.bookmark)
        await anext(again)
        assert await events(again, 2) == [(0, "0x0c"), (0, "0x0a")]
        for wrong in (b"", b"x" * 16, noop.bookmark[:8] + b"\xff" * 8):
            with pytest.raises(Refusal) as refused:
                await anext(watch(boot, start_from_bookmark=wrong))
            assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_tail():
    async with a_boot() as boot:
        for value in (b"a", b"b", b"c"):
            await boot.set_meta(12, value)
        stream = watch(boot, tail_events=2)
        await anext(stream)
        assert await events(stream, 2) == [(1, "0x0c"), (1, "0x0c")]


async def test_a_slow_watcher_is_told_to_start_over():
    async with a_boot() as boot:
        stream = watch(boot)
        await anext(stream)
        for number in range(1100):
            boot.put(META, {"value": str(number)}, "0x0c")
        assert (await anext(stream)).event[0].event_type == state_pb2.ERRORED
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_ids_select():
    async with a_boot() as boot:
        request = state_pb2.ListRequest(
            namespace="network",
            type=types.NODE_ADDRESS.name,
            options=state_pb2.ListOptions(id_query=resource_pb2.IDQuery(regexp="^c")),
        )
        found = [answer.resource.metadata.id async for answer in CALLS["List"](call(boot), request)]
        assert found == ["current"]


async def test_definitions_follow_the_version():
    async with bench(version="v1.14.1") as new, bench(version="v1.12.4") as old:
        for b, known in ((new, True), (old, False)):
            boot = await in_stage(b.fleet.machines[0], "maintenance")
            assert (boot.store.get(types.RESOURCE_DEFINITION, types.BOOT_ID.name.lower()) is not None) is known
            assert (boot.store.get(types.BOOT_ID) is not None) is known
