"""Following a machine: what exists, what changes, what is hidden."""

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest

from nodeagent import errors
from nodeagent.client import NodeClient
from nodeagent.follow import follow
from talos import resources
from talos.gen.cosi import state_pb2
from talos.resources import ResourceType, types
from tests.nodeagent import fakenode
from tests.nodeagent.fakenode import FakeNode, resource


class ShyNode(FakeNode):
    """Hides one of its types."""

    hidden = types.SECURITY_STATE.name

    async def Watch(self, request: Any, context: Any) -> Any:
        if request.type == self.hidden:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not authorized")
        async for response in super().Watch(request, context):
            yield response


def definitions(*kinds: ResourceType) -> list[resources.Resource]:
    return [resource(types.RESOURCE_DEFINITION, kind.definition(), kind.name.lower()) for kind in kinds]


async def test_tells_what_exists_and_what_changes_of_what_it_may_see() -> None:
    status = resource(types.MACHINE_STATUS, {"stage": "booting", "status": {"ready": False, "unmetConditions": []}})
    node = ShyNode(
        resources=[
            *definitions(types.MACHINE_STATUS, types.HOSTNAME_STATUS, types.SECURITY_STATE, types.KUBELET_STATUS),
            status,
            resource(types.HOSTNAME_STATUS, {"hostname": "w1", "domainname": ""}),
        ]
    )
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    async with (
        fakenode.serve(node, fakenode.maintenance_identity()) as served,
        NodeClient(served.connect, None) as client,
    ):
        following = asyncio.ensure_future(follow(client, told.put_nowait))
        first = await told.get()
        assert (first["stage"], first["hostname"]) == ("booting", "w1")
        assert types.KUBELET_STATUS.name not in {request.type for request in node.requests}
        running = resources.encode(replace(status, spec=status.spec | {"stage": "running"}))
        events = node.watch_events[types.MACHINE_STATUS.name]
        events.put_nowait(state_pb2.Event(event_type=state_pb2.UPDATED, resource=running))
        assert (await told.get())["stage"] == "running"
        events.put_nowait(state_pb2.Event(event_type=state_pb2.ERRORED, error="too slow"))
        with pytest.raises(errors.WatchLost, match="too slow"):
            await following


async def test_a_machine_that_shows_nothing_is_an_error() -> None:
    async with (
        fakenode.serve(FakeNode(), fakenode.maintenance_identity()) as served,
        NodeClient(served.connect, None) as client,
    ):
        with pytest.raises(errors.Unsupported, match="shows none"):
            await follow(client, lambda fields: None)


async def test_a_machine_that_hides_everything_says_why() -> None:
    node = ShyNode(resources=definitions(types.SECURITY_STATE))
    async with (
        fakenode.serve(node, fakenode.maintenance_identity()) as served,
        NodeClient(served.connect, None) as client,
    ):
        with pytest.raises(errors.Denied, match="not authorized"):
            await follow(client, lambda fields: None)
