"""A machine made of Talos' own SideroLink library joins our server, over UDP and inside gRPC, with and without TLS."""

import json
import os

from talos import jointoken
from talos.gen.machine import machine_pb2
from tests.peers.controlplane import CLUSTER_TOKEN, HOST, TOKEN, ControlPlane
from tests.peers.report import Program, Report

APID_PORT = 50000
BULK = os.urandom(300_000)
UNIQUE_TOKEN = jointoken.NodeUniqueToken("peer-fingerprint", "peer-token").encode()


async def run(report: Report) -> None:
    """All ways a machine comes in."""
    async with ControlPlane.running() as ours:
        for scheme, transport in (("grpc", "udp"), ("grpc", "grpc"), ("https", "grpc")):
            title = f"siderolink {scheme}:// by {transport}"
            arguments = ["-api", f"{scheme}://{HOST}:{ours.port}", "-transport", transport, "-token", TOKEN]
            async with report.started(title, "siderolink", *arguments, "-roots", ours.roots) as machine:
                try:
                    await _machine(report, title, ours, machine, transport)
                except (RuntimeError, OSError, TimeoutError) as error:
                    report.add(title, str(error) or type(error).__name__)


async def _machine(report: Report, title: str, ours: ControlPlane, machine: Program, transport: str) -> None:
    ports = ours.ports
    await machine.step("refused")
    await machine.step("malformed")
    await machine.step("provision")
    request = ports.requests[-1]
    link = ports.by_key[request.public_key]
    report.equal(f"{title}: version that was sent", request.talos_version, "v1.14.1")
    report.equal(f"{title}: unique token that was sent", request.unique_token, None)
    await machine.step("connect")
    await machine.step("serve")
    await machine.step("event", "event-1")
    (identifier, status, _), (_, unknown, kind) = ports.events[link.address]
    assert isinstance(status, machine_pb2.MachineStatusEvent)
    report.equal(f"{title}: id of the event", identifier, "event-1")
    report.equal(f"{title}: unmet condition", status.status.unmet_conditions[0].name, "time")
    report.equal(f"{title}: event of an unknown type", (unknown, kind.rpartition(".")[2]), (None, "StringValue"))
    await machine.step("log", "eth0: link is up")
    lines = [json.loads(line) for line in await ports.logged(link.address, 3)]
    report.equal(
        f"{title}: kernel log",
        [line["msg"].split("\n")[0] for line in lines],
        [f"eth0: link is up {n}" for n in range(3)],
    )
    await _echo(report, f"{title}: dial", ours, link.address)
    await machine.step("trust", json.dumps({"Token": CLUSTER_TOKEN, "CA": ports.cluster_ca.crt.decode()}))
    await machine.step("again", UNIQUE_TOKEN)
    report.equal(f"{title}: unique token after META was written", ports.requests[-1].unique_token, UNIQUE_TOKEN)
    await ours.restart()
    await machine.step("event", "event-2")
    report.equal(f"{title}: event after a restart", ports.events[link.address][-1][0], "event-2")
    if transport == "grpc":
        await machine.step("replaced")
        await machine.step("event", "event-3")  # Talos hears nothing on a new stream before it has said something
        await _echo(report, f"{title}: dial on the new stream", ours, link.address)
        await ours.server.forget(link)
        await machine.step("removed")


async def _echo(report: Report, name: str, ours: ControlPlane, address: str) -> None:
    """Connect to the machine and have it say everything back."""
    reader, writer = await ours.engine.dial(address, APID_PORT)
    writer.write(BULK)
    writer.write_eof()
    report.add(name, None if await reader.read() == BULK else "other bytes came back")
    writer.close()
