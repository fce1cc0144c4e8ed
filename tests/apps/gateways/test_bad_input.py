"""What no machine sends: each is refused, and a machine beside it is not disturbed."""

import asyncio
import contextlib
import os
from typing import Any

import grpc
import pytest

from apps.machines.history import log_lines
from apps.machines.models import Machine
from nodeagent.simulator.machine import Machine as SimulatedMachine
from talos import siderolink
from talos.gen.sidero import link_pb2
from tests.apps.gateways.lab import HOST, Lab, complete

PROVISION = "/sidero.link.ProvisionService/Provision"
TUNNEL = "/sidero.link.WireGuardOverGRPCService/CreateStream"
SERVER = str(siderolink.server_address())


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), error.value.details() or ""


async def still_fine(lab: Lab, simulated: SimulatedMachine, machine: Machine) -> None:
    """The machine is connected, and what it says arrives."""
    assert simulated.boot
    word = os.urandom(8).hex()
    simulated.boot.kernel_log.talos(word)
    await lab.until(lambda: any(word.encode() in line for _, line in log_lines(machine)))
    assert (await lab.machine(machine.uuid)).observation.connected


async def test_at_the_machine_api(lab: Lab) -> None:
    async with lab.gateway(), lab.fleet(await lab.token()) as fleet:
        machine = await lab.machine(fleet.machines[0].hardware.uuid, complete)
        async with grpc.aio.insecure_channel(f"{HOST}:{lab.settings.port}") as channel:
            provision = channel.unary_unary(PROVISION)
            for data in (
                b"",
                b"\xff" * 40,
                os.urandom(500),
                link_pb2.ProvisionRequest(node_uuid="x").SerializeToString(),
            ):
                code, text = await refusal(provision(data))
                assert code is grpc.StatusCode.INVALID_ARGUMENT
                assert text
            code, _ = await refusal(provision(b"\x0a\xff\xff\x7f" + b"x" * 3_000_000))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            code, _ = await refusal(channel.unary_unary("/sidero.link.ProvisionService/Nothing")(b""))
            assert code is grpc.StatusCode.UNIMPLEMENTED
            for metadata in ((), [("x-siderolink-ipv6-addr", "nonsense")], [("x-siderolink-ipv6-addr", "[::1]:1")]):
                code, _ = await refusal(channel.stream_stream(TUNNEL)(metadata=metadata).read())
                assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE)
        for garbage in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(5000), b"PRI " + b"x" * 100_000):
            reader, writer = await asyncio.open_connection(HOST, lab.settings.port)
            with contextlib.suppress(ConnectionError):
                writer.write(garbage)
                await writer.drain()
                await asyncio.wait_for(reader.read(), 10)
            writer.close()
        await still_fine(lab, fleet.machines[0], machine)
        assert await lab.ask(Machine.objects.count) == 1


async def test_on_the_overlay(lab: Lab) -> None:
    async with lab.gateway(), lab.fleet(await lab.token()) as fleet:
        simulated = fleet.machines[0]
        machine = await lab.machine(simulated.hardware.uuid, complete)
        for port in (siderolink.API_PORT, siderolink.LOG_PORT, 50001):
            for garbage in (b"\0" * 10_000, os.urandom(50_000), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(5000)):
                _, writer = await simulated.dial(SERVER, port)
                with contextlib.suppress(ConnectionError):
                    writer.write(garbage)
                    writer.write_eof()
                    await writer.drain()
                writer.close()
        for port in (22, 50000, 6443, 10_000):
            with pytest.raises(ConnectionRefusedError):
                await simulated.dial(SERVER, port)
        await still_fine(lab, simulated, machine)


async def test_a_flood_of_log_lines_is_bounded_and_others_get_through(lab: Lab) -> None:
    async with lab.gateway(), lab.fleet(await lab.token(), 2) as fleet:
        machines = [await lab.machine(one.hardware.uuid, complete) for one in fleet.machines]
        _, writer = await fleet.machines[0].dial(SERVER, siderolink.LOG_PORT)

        async def flood() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"flood\n" * 10_000)
                    await writer.drain()

        flooding = asyncio.create_task(flood())
        await lab.until(lambda: any(line == b"flood" for _, line in log_lines(machines[0], tail=1)))
        await still_fine(lab, fleet.machines[1], machines[1])
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        writer.transport.abort()
        kept = await lab.ask(lambda: len(log_lines(machines[0])))
        assert kept <= 2 * 5000
