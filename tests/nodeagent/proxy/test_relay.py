"""One call to one machine: everything that goes with it passes, in both directions, and nothing else."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.proxy.ports import Refused
from nodeagent.proxy.upstream import forwarded, received
from tests.nodeagent.proxy.lab import LIMIT, Lab, at, lab
from tests.nodeagent.proxy.node import DEBUG, DETAILS, FRAME, Node, node

UUID = "11111111-2222-3333-4444-555555555555"
PATIENCE = 20
BUFFERS = 24 * 1024 * 1024
"""Bytes that all buffers between two ends hold together, however much there is to send; most of it grpcio's windows."""


@pytest.fixture
async def proxied() -> AsyncIterator[tuple[Lab, Node]]:
    """A node `m` behind the proxy."""
    async with node(UUID) as machine, lab() as made:
        made.node("m", machine.way, uuid=UUID)
        yield made, machine


def bidi(made: Lab, method: str, *more: tuple[str, str | bytes], **options: object) -> grpc.aio.StreamStreamCall:
    return made.channel.stream_stream(DEBUG + method)(metadata=[*at("m"), *more], **options)  # type: ignore[arg-type]


async def ended(made: Lab, outcome: str) -> None:
    """The last call's ticket has been given back, once."""
    async with asyncio.timeout(PATIENCE):
        await made.gate.ticket.ended.wait()
    assert made.gate.ticket.outcomes == [outcome]


async def test_both_directions_at_once(proxied: tuple[Lab, Node]) -> None:
    made, _ = proxied
    call = bidi(made, "Echo")
    for message in (b"", b"a", bytes(100_000)):
        await call.write(message)
        assert await call.read() == message
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    await ended(made, "OK")


async def test_status_and_metadata_pass(proxied: tuple[Lab, Node]) -> None:
    made, _ = proxied
    call = bidi(made, "Fail")
    assert await call.read() == b"before"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "not yet, 50 % für now"
    assert dict(await call.initial_metadata()) == {"first": "1", "raw-bin": b"\x00\xff"}
    trailing = {"last": "2", "grpc-status-details-bin": DETAILS, "tail-bin": b"\xfe"}
    assert dict(caught.value.trailing_metadata()) == trailing
    await ended(made, "FAILED_PRECONDITION")


async def test_initial_metadata_comes_before_the_first_message(proxied: tuple[Lab, Node]) -> None:
    made, _ = proxied
    call = bidi(made, "Announce")
    assert dict(await call.initial_metadata()) == {"first": "1"}
    await call.write(b"go on")
    assert await call.read() == b"after"
    assert await call.read() is grpc.aio.EOF
    assert dict(await call.trailing_metadata()) == {"last": "2"}


async def test_what_a_machine_is_told(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    made.gate.talos_role = "os:reader"
    call = bidi(
        made,
        "Echo",
        ("x-sidero-signature", "s"),
        ("x-sidero-timestamp", "1"),
        ("authorization", "Bearer secret"),
        ("proxyfrom", "elsewhere"),
        ("talos-role", "os:admin"),
        ("context", "prod"),
        ("kept-bin", b"\x00\x01\xff"),
        ("kept", "twice"),
        ("kept", "once"),
    )
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.OK
    told = [(key, value) for key, value in machine.metadata if key != "user-agent"]
    assert told == [
        ("runtime", "Talos"),
        ("context", "prod"),
        ("kept-bin", b"\x00\x01\xff"),
        ("kept", "twice"),
        ("kept", "once"),
        ("talos-role", "os:reader"),
    ]
    seen = dict(made.gate.calls[-1].metadata)
    assert seen["x-sidero-signature"] == "s"
    assert seen["talos-role"] == "os:admin"


keys = st.sampled_from(
    ["node", "nodes", "proxyfrom", "talos-role", "authorization", "x-sidero-payload", "grpc-timeout", "te", "host",
     "connection", "proxy-authorization", "cookie", ":path", "kept", "runtime"]
)  # fmt: skip


@given(st.lists(st.tuples(keys, st.text("abc", max_size=3))), st.sampled_from(["os:reader", "os:admin"]))
def test_only_one_role_and_no_routing(metadata: list[tuple[str, str]], role: str) -> None:
    told = forwarded(metadata, role)
    kept = [(key.encode(), value.encode()) for key, value in metadata if key in ("kept", "runtime")]
    assert told == [*kept, (b"talos-role", role.encode())]


def test_what_a_machine_says_that_cannot_be_sent_on() -> None:
    said = [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"0"),
        (b"kept", b"as it is"),
        (b"K\xc3\xb6nig", b"x"),
        (b"odd", b"\x01\xff"),
        (b"raw-bin", b"AP8,AQ"),
        (b"raw-bin", b"A"),
    ]
    assert received(said) == (("kept", "as it is"), ("raw-bin", b"\x00\xff"), ("raw-bin", b"\x01"))


async def test_large_messages(proxied: tuple[Lab, Node]) -> None:
    made, _ = proxied
    call = bidi(made, "Echo", compression=grpc.Compression.NoCompression)
    message = bytes(LIMIT)
    await call.write(message)
    assert await call.read() == message
    call.cancel()
    call = bidi(made, "Large")
    await call.write(str(LIMIT + 1).encode())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "the call to node m broke off: an answer has 33554433 bytes"


async def test_compressed_requests(proxied: tuple[Lab, Node]) -> None:
    made, _ = proxied
    call = bidi(made, "Echo", compression=grpc.Compression.Gzip)
    await call.write(b"again and again " * 1000)
    assert await call.read() == b"again and again " * 1000
    call.cancel()


async def test_a_caller_cancels(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    call = bidi(made, "Hang")
    await machine.until(lambda: machine.open["Hang"] == 1)
    call.cancel()
    await machine.until(lambda: machine.open["Hang"] == 0)
    await ended(made, "CANCELLED")


async def test_a_deadline_passes_on(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    call = bidi(made, "Hang", timeout=0.5)
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await machine.until(lambda: machine.called["Hang"] == 1 and machine.open["Hang"] == 0)
    assert machine.time_left is not None
    assert machine.time_left < 2
    async with asyncio.timeout(PATIENCE):
        await made.gate.ticket.ended.wait()
    assert len(made.gate.ticket.outcomes) == 1


async def test_a_slow_reader_stops_the_machine(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    call = bidi(made, "Flood")
    assert await call.read() == FRAME
    held = await settled(machine)
    assert held < BUFFERS
    for _ in range(held // len(FRAME) + 20):  # what waited, and what comes again now
        assert await call.read() == FRAME
    assert machine.sent > held
    call.cancel()
    await machine.until(lambda: machine.open["Flood"] == 0)


async def test_a_slow_machine_stops_its_caller(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    call = bidi(made, "Swallow")
    sent = 0

    async def send() -> None:
        nonlocal sent
        while True:
            await call.write(FRAME)
            sent += len(FRAME)

    sending = asyncio.create_task(send())
    await machine.until(lambda: machine.open["Swallow"] == 1)
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.3)  # nothing happens: that is what is looked for
    assert sent < BUFFERS
    sending.cancel()
    call.cancel()
    await machine.until(lambda: machine.open["Swallow"] == 0)


async def settled(machine: Node) -> int:
    """Bytes that a machine has got rid of when it can get rid of no more."""
    before = -1
    while before != machine.sent:
        before = machine.sent
        await asyncio.sleep(0.3)  # nothing happens: that is what is looked for
    return before


async def test_a_refusal_reaches_the_caller_alone(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    made.gate.refusal = Refused(grpc.StatusCode.PERMISSION_DENIED, "needs operator on cluster prod; you are reader")
    call = bidi(made, "Echo")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.details() == "needs operator on cluster prod; you are reader"
    assert not made.dialled
    assert not machine.called


@pytest.mark.parametrize(
    ("method", "metadata", "taken"),
    [
        ("/auth.AuthService/RegisterPublicKey", [("runtime", "Talos")], False),
        ("/management.ManagementService/Talosconfig", [("runtime", "Talos")], False),
        ("/omni.agent.AgentService/Control", [("runtime", "Talos")], False),
        ("/sidero.link.ProvisionService/Provision", [("runtime", "Talos")], False),
        ("/new.Service/Method", [], False),
        ("/new.Service/Method", [("runtime", "Omni")], False),
        ("/new.Service/Method", [("runtime", "Talos")], True),
        ("/machine.MachineService/New", [], True),
        ("/cosi.resource.State/Get", [], True),
    ],
)
async def test_which_calls_are_taken(method: str, metadata: list[tuple[str, str]], taken: bool) -> None:
    async with lab() as made:
        made.gate.refusal = Refused(grpc.StatusCode.UNAUTHENTICATED, "who are you")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await made.channel.unary_unary(method)(b"", metadata=metadata)
        assert caught.value.code() is (grpc.StatusCode.UNAUTHENTICATED if taken else grpc.StatusCode.UNIMPLEMENTED)
        assert len(made.gate.calls) == taken


async def test_a_fault_of_ours_shows_nothing_of_it(proxied: tuple[Lab, Node]) -> None:
    made, _ = proxied
    made.gate.targets.clear()
    call = bidi(made, "Echo")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == "the call could not be carried; the server's log says why"
