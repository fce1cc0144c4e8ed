"""More than any machine sends, of everything: it is refused or kept within bounds, and nobody else is disturbed."""

import asyncio
import logging
import uuid
from collections import Counter

import grpc
import pytest

from apps.gateways.rows import EVENTS_KEPT, EVENTS_SLACK
from apps.machines.models import Link, MachineEvent
from nodeagent.siderolink.events import MESSAGE_LIMIT
from nodeagent.simulator.machine import Machine as SimulatedMachine
from nodeagent.simulator.unarygrpc import CallError, PlainStream, UnaryChannel
from talos import siderolink
from talos.gen.machine import machine_pb2
from talos.gen.sidero import events_pb2, link_pb2, link_pb2_grpc
from tests.apps.gateways.lab import HOST, Lab, complete
from tests.apps.gateways.test_bad_input import SERVER, TUNNEL, refusal, still_fine
from tests.apps.machines.desk import key
from tests.crash.relays import TcpRelay, Weather

PUBLISH = "/events.EventSinkService/Publish"
ELSEWHERE = "127.0.0.9"
"""Another source than that of the machines."""


async def test_ten_thousand_calls_with_bad_tokens(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """A machine joins while they are under way, the log has a line for each reason, and no link is left of them."""
    caplog.set_level(logging.INFO)
    token = await lab.token()
    answers: Counter[grpc.StatusCode] = Counter()

    async def call(stub: link_pb2_grpc.ProvisionServiceStub, number: int) -> None:
        request = link_pb2.ProvisionRequest(
            node_uuid=str(uuid.UUID(int=number)),
            node_public_key=key(number % 200),
            join_token=f"guess-{number % 50}",
            talos_version="v1.13.8",
        )
        code, _ = await refusal(stub.Provision(request, wait_for_ready=True))
        answers[code] += 1

    bad_network = TcpRelay((HOST, lab.settings.port), Weather(), source=ELSEWHERE)
    async with (
        lab.gateway(),
        bad_network as relay,
        grpc.aio.insecure_channel(f"{HOST}:{relay.port}") as channel,
        lab.fleet(token) as fleet,
    ):
        stub = link_pb2_grpc.ProvisionServiceStub(channel)
        flood = [asyncio.create_task(call(stub, number)) for number in range(10_000)]
        machine = await lab.machine(fleet.machines[0].hardware.uuid, complete)
        await asyncio.gather(*flood)
        await still_fine(lab, fleet.machines[0], machine)
    assert answers == {grpc.StatusCode.PERMISSION_DENIED: 10_000}
    assert await lab.ask(Link.objects.count) == 1
    told = [record.message for record in caplog.records if ELSEWHERE in record.message]
    assert len(told) == 1, told[:5]


async def test_a_flood_of_events_is_bounded_and_others_get_through(lab: Lab) -> None:
    async with lab.gateway(), lab.fleet(await lab.token(), 2) as fleet:
        machines = [await lab.machine(one.hardware.uuid, complete) for one in fleet.machines]
        channel = await event_channel(fleet.machines[0])
        for number in range(2000):
            await channel.call(PUBLISH, event(f"e{number}", f"flood-{number:05}"), events_pb2.EventResponse)
        await still_fine(lab, fleet.machines[1], machines[1])

        def last() -> bool:
            mine = MachineEvent.objects.filter(machine=machines[0])
            latest = "flood-01999" in str(list(mine.values_list("payload", "summary")))
            return latest and mine.count() <= EVENTS_KEPT + EVENTS_SLACK

        await lab.until(last)
        assert await lab.ask(lambda: MachineEvent.objects.filter(machine=machines[1]).count()) > 0


async def test_an_oversized_event_is_refused_and_the_next_one_taken(lab: Lab) -> None:
    async with lab.gateway(), lab.fleet(await lab.token()) as fleet:
        machine = await lab.machine(fleet.machines[0].hardware.uuid, complete)
        channel = await event_channel(fleet.machines[0])
        with pytest.raises(CallError) as error:
            await channel.call(PUBLISH, event("big", "x" * (MESSAGE_LIMIT + 1)), events_pb2.EventResponse)
        assert error.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        again = await event_channel(fleet.machines[0])
        await again.call(PUBLISH, event("small", "after-the-big-one"), events_pb2.EventResponse)
        await lab.until(
            lambda: MachineEvent.objects.filter(machine=machine, summary__contains="after-the-big-one").exists()
        )


async def test_an_oversized_packet_ends_its_stream_and_no_other(lab: Lab) -> None:
    async with lab.gateway(), lab.fleet(await lab.token(), 2, tunnel=True) as fleet:
        machines = [await lab.machine(one.hardware.uuid, complete) for one in fleet.machines]
        stranger = [("x-siderolink-ipv6-addr", f"[{machines[0].link.virtual_address}]:50889")]
        async with grpc.aio.insecure_channel(f"{HOST}:{lab.settings.port}") as channel:
            stream = channel.stream_stream(TUNNEL)(metadata=stranger)
            await stream.write(link_pb2.PeerPacket(Data=b"x" * 200_000).SerializeToString())
            assert await stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await still_fine(lab, fleet.machines[1], machines[1])


async def event_channel(simulated: SimulatedMachine) -> UnaryChannel:
    """A connection of a machine to the event sink."""
    reader, writer = await simulated.dial(SERVER, siderolink.API_PORT)
    return UnaryChannel(PlainStream(reader, writer), f"[{SERVER}]:{siderolink.API_PORT}")


def event(identifier: str, sequence: str) -> events_pb2.EventRequest:
    request = events_pb2.EventRequest(id=identifier)
    request.data.Pack(machine_pb2.SequenceEvent(sequence=sequence, action=machine_pb2.SequenceEvent.START))
    return request
