"""Machines that are dead, stalled, others or out of their mind; tickets that are withdrawn; callers that leave."""

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from unittest.mock import Mock

import grpc
import pytest

from nodeagent import tls
from nodeagent.dial import Stream
from nodeagent.http2 import Connection, encode_headers
from nodeagent.proxy import machines, server, upstream
from tests.nodeagent.fakenode import maintenance_identity
from tests.nodeagent.proxy.lab import Lab, at, impersonator, lab
from tests.nodeagent.proxy.node import DEBUG, FRAME, MACHINE, Node, node

ONE, OTHER = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
PATIENCE = 20


@pytest.fixture
async def proxied() -> AsyncIterator[tuple[Lab, Node]]:
    """A node `m` behind the proxy."""
    async with node(ONE) as machine, lab() as made:
        made.node("m", machine.way, uuid=ONE)
        yield made, machine


def call(made: Lab, method: str, name: str = "m", **options: object) -> grpc.aio.StreamStreamCall:
    return made.channel.stream_stream(DEBUG + method)(metadata=at(name), **options)  # type: ignore[arg-type]


async def failure(of: grpc.aio.StreamStreamCall) -> tuple[grpc.StatusCode, str]:
    """How a call ends that fails."""
    try:
        async with asyncio.timeout(PATIENCE):
            while await of.read() is not grpc.aio.EOF:
                pass
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    raise AssertionError("the call did not fail")


async def ended(made: Lab, *outcomes: str) -> None:
    """All tickets so far have been given back, each once."""
    async with asyncio.timeout(PATIENCE):
        for ticket in made.gate.tickets:
            await ticket.ended.wait()
    assert [ticket.outcomes for ticket in made.gate.tickets] == [[outcome] for outcome in outcomes]


# Machines


async def test_a_dead_machine(proxied: tuple[Lab, Node]) -> None:
    made, _ = proxied

    async def dead() -> Stream:
        raise ConnectionRefusedError(111, "Connection refused")

    made.node("dead", dead, uuid=OTHER)
    code, text = await failure(call(made, "Echo", "dead"))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert text == (
        "node dead cannot be reached: Connection refused. See whether it runs and is connected, then try again"
    )
    await ended(made, "UNAVAILABLE")


@pytest.mark.parametrize("where", ["stream", "handshake", "answer"])
async def test_a_machine_that_stalls(proxied: tuple[Lab, Node], monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    made, _ = proxied
    monkeypatch.setattr(machines, "CONNECT_TIMEOUT", 0.2)
    context = tls.server_context(maintenance_identity())
    left = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if where == "answer":
            stream = tls.TlsStream(reader, writer, context, server_side=True)
            await stream.handshake()
            while await stream.read():
                pass
        while await reader.read(1000):
            pass
        writer.close()
        left.set()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)

    async def way() -> Stream:
        if where == "stream":
            left.set()
            await asyncio.Event().wait()
        return await asyncio.open_connection(*silent.sockets[0].getsockname())

    made.node("stalled", way, uuid=OTHER)
    code, text = await failure(call(made, "Echo", "stalled"))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert text.startswith("node stalled cannot be reached: no answer in 0.2 s. See whether")
    await asyncio.wait_for(left.wait(), PATIENCE)
    silent.close()
    await ended(made, "UNAVAILABLE")


async def test_a_machine_that_dies_in_a_call(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    under_way = call(made, "Flood")
    assert await under_way.read() == FRAME
    machine.kill()
    code, text = await failure(under_way)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert text.startswith("the connection to node m broke: ")
    assert text.endswith(
        "Whether the call took effect is not known; see whether the node runs and is connected, then try again"
    )
    again = call(made, "Echo")
    await again.write(b"still here?")
    assert await again.read() == b"still here?"
    again.cancel()
    assert made.dialled == ["m", "m"]


@pytest.mark.parametrize("what", ["headers", "frames", "noise"])
async def test_a_machine_that_floods(proxied: tuple[Lab, Node], what: str) -> None:
    """What it sends breaks the connection, and not more."""
    made, machine = proxied
    under_way = call(made, "Logs")
    await under_way.read()
    (stream,) = machine.tls
    await stream.write(FLOODS[what])
    code, text = await failure(under_way)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert text.startswith("the connection to node m broke: HTTP/2: ")
    await machine.until(lambda: not machine.connections)


def test_messages_that_do_not_end_take_no_more_than_their_room() -> None:
    """Of calls whose machine begins long messages and never ends them, those end that hold much."""
    held = upstream.Held(150_000, upstream.Held(1_000_000))
    calls = [upstream.NodeCall(Mock(message_limit=1_000_000), upstream.raw("/a.B/C"), held) for _ in range(3)]
    for one in calls:
        one._stream = Mock()
    for one, size in zip(calls, (80_000, 1_000, 80_000), strict=True):
        one.data(b"\0" + struct.pack(">I", 900_000) + bytes(size))
    assert [one.over for one in calls] == [False, False, True]
    assert calls[2].status is not None
    assert calls[2].status.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    calls[2].close()
    calls[1].data(bytes(50_000))
    assert [one.over for one in calls[:2]] == [False, False]
    for one in calls:
        one.close()
    assert held.bytes == 0


async def test_what_no_machine_takes_takes_no_more_than_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "ROOM_OF_ONE", 1_000_000)
    async with node(ONE) as machine, lab() as made:
        made.node("m", machine.way, uuid=ONE)
        one = call(made, "Swallow")
        await one.write(bytes(3_000_000))
        code, text = await failure(one)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "fewer calls at once" in text
        assert made.proxy._machines.held.bytes == 0


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


_MESSAGES = (b"\0" + struct.pack(">I", 1000) + bytes(1000)) * 16
FLOODS = {
    "headers": _frame(1, 0, 3, b"") + _frame(9, 0, 3, bytes(16_000)) * 6,
    "frames": _frame(0, 0, 3, _MESSAGES) * 100,  # nobody reads as fast as they come at once
    "noise": b"\xff" * 1000,
}


async def test_another_machine_at_a_reused_address(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    made.node("gone", machine.way, uuid=OTHER)
    code, text = await failure(call(made, "Echo", "gone"))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text.startswith(f"node gone was not called: the machine that answers says it is {ONE}, not {OTHER}.")
    assert not machine.called
    await machine.until(lambda: not machine.connections)
    await ended(made, "FAILED_PRECONDITION")


async def test_an_address_that_passes_to_another_machine_later(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    first = call(made, "Logs")
    await first.read()
    async with node(OTHER) as stranger:
        made.ways["m"] = stranger.way
        machine.kill()
        assert (await failure(first))[0] is grpc.StatusCode.UNAVAILABLE
        assert (await failure(call(made, "Echo")))[0] is grpc.StatusCode.FAILED_PRECONDITION
        assert not stranger.called


async def test_hardware_that_was_exchanged(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    made.gate.targets["m"] = replace(made.gate.targets["m"], fingerprint="00" * 32)
    code, text = await failure(call(made, "Echo"))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text.startswith("node m was not called: ")
    assert not machine.called


async def test_a_machine_that_was_configured_meanwhile(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    made.gate.targets["m"] = replace(made.gate.targets["m"], credentials=impersonator())
    code, text = await failure(call(made, "Echo"))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "it may just be changing its mode or its certificates" in text
    assert not machine.called


async def test_a_machine_that_lost_its_power(proxied: tuple[Lab, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection stays open and nobody is there: the next call goes over a new one."""
    monkeypatch.setattr(machines, "FRESH", 0.0)
    made, machine = proxied
    before = call(made, "Echo")
    await before.write(b"1")
    assert await before.read() == b"1"
    await before.done_writing()
    assert await before.code() is grpc.StatusCode.OK
    assert await echoed(made)  # it answers: the connection is good
    assert made.dialled == ["m"]
    monkeypatch.setattr(machines, "SIGN_OF_LIFE", 0.2)
    machine.freeze()
    assert await echoed(made)
    assert made.dialled == ["m", "m"]


async def echoed(made: Lab) -> bool:
    again = call(made, "Echo")
    await again.write(b"2")
    async with asyncio.timeout(PATIENCE):
        answer = await again.read()
    await again.done_writing()
    return bool(answer == b"2" and await again.code() is grpc.StatusCode.OK)


# Connections


async def test_calls_share_a_connection_until_it_is_idle(
    proxied: tuple[Lab, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "IDLE", 0.2)
    made, machine = proxied
    some = [call(made, "Echo") for _ in range(20)]
    for one in some:
        await one.write(b"x")
        assert await one.read() == b"x"
        await one.done_writing()
        assert await one.code() is grpc.StatusCode.OK
    held = call(made, "Hang")
    await machine.until(lambda: machine.open["Hang"] == 1)
    assert made.dialled == ["m"]
    await asyncio.sleep(0.5)  # in use is not idle, however long
    assert len(machine.connections) == 1
    held.cancel()
    await machine.until(lambda: not machine.connections)


async def test_other_credentials_make_another_connection(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    before = call(made, "Echo")
    await before.write(b"1")
    assert await before.read() == b"1"
    made.ways["moved"] = machine.way
    made.gate.targets["m"] = replace(made.gate.targets["m"], address="moved")
    after = call(made, "Echo")
    await after.write(b"2")
    assert await after.read() == b"2"
    assert made.dialled == ["m", "moved"]
    await before.write(b"3")
    assert await before.read() == b"3"
    await before.done_writing()
    assert await before.code() is grpc.StatusCode.OK
    await machine.until(lambda: len(machine.connections) == 1)
    after.cancel()


async def test_so_many_machines_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "LIMIT", 2)
    async with node(ONE) as one, node(OTHER) as other, node("3" * 36) as third, lab() as made:
        for name, machine in (("one", one), ("other", other), ("third", third)):
            made.node(name, machine.way, uuid=machine.uuid)
        held = call(made, "Hang", "one")
        await one.until(lambda: one.open["Hang"] == 1)
        second = call(made, "Echo", "other")
        await second.done_writing()
        assert await second.code() is grpc.StatusCode.OK
        also = call(made, "Hang", "third")  # in the place of the one that nobody uses
        await third.until(lambda: third.open["Hang"] == 1)
        await other.until(lambda: not other.connections)
        code, text = await failure(call(made, "Echo", "other"))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert text.startswith("node other was not called: calls to 2 other machines are under way")
        held.cancel()
        also.cancel()


# Tickets and callers


@pytest.mark.parametrize("method", ["Hang", "Logs", "Flood"])
async def test_a_withdrawn_ticket_ends_its_call(proxied: tuple[Lab, Node], method: str) -> None:
    made, machine = proxied
    under_way = call(made, method)
    await machine.until(lambda: machine.open[method] == 1)
    made.gate.ticket.withdrawn.set_result("your key was revoked")
    assert await failure(under_way) == (grpc.StatusCode.PERMISSION_DENIED, "your key was revoked")
    await machine.until(lambda: machine.open[method] == 0)
    await ended(made, "PERMISSION_DENIED")


async def test_a_withdrawn_ticket_ends_the_call_of_a_caller_who_does_not_read(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    under_way = call(made, "Flood")
    await under_way.read()
    before = -1
    while before != machine.sent:
        before = machine.sent
        await asyncio.sleep(0.3)  # nothing happens: that is what is looked for
    made.gate.ticket.withdrawn.set_result("your key was revoked")
    await machine.until(lambda: machine.open["Flood"] == 0)
    await ended(made, "PERMISSION_DENIED")
    under_way.cancel()


async def test_a_ticket_that_is_withdrawn_before_the_machine_answers(proxied: tuple[Lab, Node]) -> None:
    made, _ = proxied
    asked = asyncio.Event()

    async def slow() -> Stream:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    made.node("slow", slow, uuid=OTHER)
    under_way = call(made, "Echo", "slow")
    await under_way.write(b"")
    await asyncio.wait_for(asked.wait(), PATIENCE)
    made.gate.ticket.withdrawn.set_result("the session ended")
    assert await failure(under_way) == (grpc.StatusCode.PERMISSION_DENIED, "the session ended")
    await ended(made, "PERMISSION_DENIED")


async def test_nothing_is_left_of_a_caller_who_leaves(proxied: tuple[Lab, Node]) -> None:
    made, machine = proxied
    first = call(made, "Echo")
    await first.done_writing()
    assert await first.code() is grpc.StatusCode.OK
    tasks = len(asyncio.all_tasks())
    async with grpc.aio.insecure_channel(made.address) as channel:
        for method in ("Hang", "Logs", "Flood", "Swallow") * 5:
            under_way = channel.stream_stream(DEBUG + method)(metadata=at("m"))
            await under_way.write(b"x")
        several = channel.unary_stream(MACHINE + "Logs")(b"", metadata=at("m", style="nodes"))
        await several.read()
        await machine.until(lambda: machine.open.total() == 21)
    await machine.until(lambda: machine.open.total() == 0)
    await ended(made, "OK", *["CANCELLED"] * 21)
    async with asyncio.timeout(PATIENCE):
        while len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.01)
    assert len(machine.connections) == 1


async def test_too_many_calls_of_one_caller(proxied: tuple[Lab, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "AT_ONCE", 3)
    made, machine = proxied
    held = [call(made, "Hang") for _ in range(3)]
    await machine.until(lambda: machine.open["Hang"] == 3)
    code, text = await failure(call(made, "Echo"))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "3 calls from" in text
    for one in held:
        one.cancel()
    await machine.until(lambda: machine.open["Hang"] == 0)
    again = call(made, "Echo")
    await again.done_writing()
    assert await again.code() is grpc.StatusCode.OK


class _Ignoring:
    """A client that wants no answers."""

    def __getattr__(self, _: str) -> object:
        return lambda *_: None


async def test_rapid_reset(proxied: tuple[Lab, Node]) -> None:
    """Streams that are opened and reset by the thousand leave nothing behind, and others are served meanwhile."""
    made, machine = proxied
    reader, writer = await asyncio.open_unix_connection(made.address.removeprefix("unix:"))
    draining = asyncio.create_task(reader.read(-1))
    http2 = Connection()
    block = encode_headers(
        [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", f"{DEBUG}Hang".encode()),
            (b":authority", b"omni"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"runtime", b"Talos"),
            (b"node", b"m"),
        ]
    )
    tasks = len(asyncio.all_tasks())
    for _ in range(50):
        for _ in range(100):
            http2.cancel(http2.request(block, _Ignoring()))  # type: ignore[arg-type]
        writer.write(http2.take())
        await writer.drain()
        other = call(made, "Echo")
        await other.write(b"x")
        async with asyncio.timeout(PATIENCE):
            assert await other.read() == b"x"
        await other.done_writing()
        assert await other.code() is grpc.StatusCode.OK
    writer.close()
    draining.cancel()
    await machine.until(lambda: machine.open.total() == 0)
    async with asyncio.timeout(PATIENCE):
        for ticket in made.gate.tickets:
            await ticket.ended.wait()
        while len(asyncio.all_tasks()) > tasks + 10:
            await asyncio.sleep(0.01)
    assert all(len(ticket.outcomes) == 1 for ticket in made.gate.tickets)
