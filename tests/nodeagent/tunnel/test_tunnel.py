"""Connections through an agent, from the server to a machine: over the real public port, TLS and gRPC."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from nodeagent.dial import Stream
from nodeagent.tunnel import protocol, server, session
from nodeagent.tunnel.carried import HIGH_WATER, READER_LIMIT
from nodeagent.tunnel.protocol import API_PORT, CONNECTION_KEY
from talos.gen.omni import agent_pb2_grpc
from talos.gen.omni.agent_pb2 import Found, FromAgent, Hello, Lost, Piece, Refused
from tests.nodeagent.tunnel.lab import (
    PATIENCE,
    TOKEN,
    Handler,
    Lab,
    echo,
    lab,
    machine,
    new_credential,
    new_host,
)


@contextlib.asynccontextmanager
async def carried(one: Lab, agent_id: str, host: str, port: int = API_PORT) -> AsyncIterator[Stream]:
    async with asyncio.timeout(PATIENCE):
        stream = await one.agents.dial(agent_id, host, port)
        try:
            yield stream
        finally:
            stream[1].close()


@contextlib.asynccontextmanager
async def reached(one: Lab, handler: Handler, port: int = API_PORT) -> AsyncIterator[Stream]:
    """A connection to a machine with this handler, through the agent `a-1`."""
    async with (
        machine(handler, port=port) as host,
        one.connected(host) as agent_id,
        carried(one, agent_id, host, port) as stream,
    ):
        yield stream


@contextlib.asynccontextmanager
async def stub(one: Lab) -> AsyncIterator[agent_pb2_grpc.AgentServiceStub]:
    """An agent made by hand, over grpcio: one that does as a test wants."""
    roots = grpc.ssl_channel_credentials(one.authority.crt)
    async with asyncio.timeout(PATIENCE), grpc.aio.secure_channel(f"127.0.0.1:{one.port}", roots) as channel:
        yield agent_pb2_grpc.AgentServiceStub(channel)


async def status(call: Any) -> grpc.StatusCode:
    """How a call ended, once everything that came before was read."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await call.read():
            pass
    return await call.code()  # type: ignore[no-any-return]


def hello(*nodes: str, credential: str = "", token: str = TOKEN) -> FromAgent:
    return FromAgent(hello=Hello(name="hand", credential=credential or new_credential(), token=token, nodes=nodes))


async def test_bytes_go_both_ways_and_each_way_ends_by_itself() -> None:
    async def reverse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello ")
        writer.write((await reader.read())[::-1])  # all of it: the end came through
        writer.write_eof()

    async with lab() as one, reached(one, reverse) as (reader, writer):
        assert await reader.readexactly(6) == b"hello "
        writer.write(b"abc")
        writer.write_eof()
        assert await reader.read() == b"cba"


async def test_a_machine_may_end_first_and_still_listen() -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"that is all")
        writer.write_eof()
        heard.set_result(await reader.read())

    async with lab() as one, reached(one, greet) as (reader, writer):
        assert await reader.read() == b"that is all"
        writer.write(b"understood")
        writer.close()
        assert await asyncio.wait_for(heard, PATIENCE) == b"understood"


async def test_a_reset_is_a_reset_at_the_other_end() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        session.reset(writer)

    async with lab() as one, reached(one, reset) as (reader, writer):
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_an_abort_here_is_a_reset_at_the_machine() -> None:
    ended: asyncio.Future[OSError] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        try:
            await reader.read()
        except OSError as error:
            ended.set_result(error)

    async with lab() as one, reached(one, listen) as (reader, writer):
        await reader.readexactly(1)
        writer.transport.abort()
        assert isinstance(await asyncio.wait_for(ended, PATIENCE), ConnectionResetError)


async def test_an_abort_reaches_a_machine_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be said on the connection itself: its windows are full."""
    was_reset = asyncio.Event()
    reset = session.reset

    def noted(writer: asyncio.StreamWriter) -> None:
        reset(writer)
        was_reset.set()

    monkeypatch.setattr(session, "reset", noted)

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with lab() as one, reached(one, ignore) as (_, writer):
        writer.write(b"x" * (16 << 20))
        before = -1
        while before != (before := writer.transport.get_write_buffer_size()):  # type: ignore[attr-defined]
            await asyncio.sleep(0.3)
        assert before
        writer.transport.abort()
        await asyncio.wait_for(was_reset.wait(), PATIENCE)


async def test_a_connection_that_nobody_holds_any_more_ends() -> None:
    ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            ended.set()

    async with lab() as one, machine(listen) as host, one.connected(host) as agent_id:
        stream = await one.agents.dial(agent_id, host, API_PORT)
        del stream
        await asyncio.wait_for(ended.wait(), PATIENCE)


SIZE = 64 << 20


async def test_much_data_passes_a_slow_reader_and_little_waits() -> None:
    """64 MiB from the machine; meanwhile the reader sleeps, and neither end holds more than its windows."""
    block = bytes(range(256)) * 256
    written = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        for _ in range(SIZE // len(block)):
            writer.write(block)
            await writer.drain()
            written += len(block)
        writer.write_eof()

    async with lab() as one, machine(pour) as host, machine(echo) as other, one.connected(host, other) as agent_id:
        async with asyncio.timeout(120):
            reader, writer = await one.agents.dial(agent_id, host, API_PORT)
            before = -1
            while before != written:  # until the machine cannot write on
                before = written
                await asyncio.sleep(0.3)
            assert written < SIZE // 2  # what is under way fits into windows and the kernel's buffers
            assert len(reader._buffer) <= 2 * READER_LIMIT + protocol.PIECE  # type: ignore[attr-defined]
            async with carried(one, agent_id, other) as (quick, answer):  # and nobody else waits for it
                answer.write(b"hello")
                assert await quick.readexactly(5) == b"hello"
            digest, size = hashlib.sha256(), 0
            while data := await reader.read(1 << 20):
                digest.update(data)
                size += len(data)
            writer.close()
    assert size == SIZE
    assert digest.digest() == hashlib.sha256(block * (SIZE // len(block))).digest()


async def test_much_data_waits_here_for_a_slow_machine() -> None:
    started, taken = asyncio.Event(), asyncio.Event()
    size = 32 << 20
    received: list[int] = []

    async def sip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await taken.wait()
        while data := await reader.read(1 << 20):
            received.append(len(data))
        writer.write(b"done")
        writer.write_eof()

    async with lab() as one, machine(sip) as host, one.connected(host) as agent_id:
        reader, writer = await one.agents.dial(agent_id, host, API_PORT)
        sent = 0

        async def pour() -> None:
            nonlocal sent
            while sent < size:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536
                started.set()
            writer.write_eof()

        pouring = asyncio.create_task(pour())
        await started.wait()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < size // 2
        assert writer.transport.get_write_buffer_size() <= HIGH_WATER + 65536  # type: ignore[attr-defined]
        taken.set()
        async with asyncio.timeout(60):
            assert await reader.read() == b"done"
            await pouring
        assert sum(received) == size
        writer.close()


async def test_many_connections_at_once_keep_apart() -> None:
    async with lab() as one, machine(echo) as host, one.connected(host) as agent_id:

        async def talk(number: int) -> bool:
            async with carried(one, agent_id, host) as (reader, writer):
                text = f"connection {number} ".encode() * 5000
                writer.write(text)
                writer.write_eof()
                return await reader.read() == text

        assert all(await asyncio.gather(*map(talk, range(100))))


@pytest.mark.parametrize("port", [22, 50001])
async def test_other_ports_are_never_dialled(port: int) -> None:
    async with lab() as one, machine(echo, port=50001) as host, one.connected(host) as agent_id:
        with pytest.raises(OSError, match=f"agent 'rack-7': {host}:{port} is not among the nodes"):
            await one.agents.dial(agent_id, host, port)


async def test_the_kubernetes_port_is_dialled() -> None:
    async with lab() as one, reached(one, echo, port=6443) as (reader, writer):
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"


async def test_other_hosts_are_never_dialled() -> None:
    async with lab() as one, machine(echo) as host, machine(echo) as other, one.connected(host) as agent_id:
        with pytest.raises(OSError, match="is not among the nodes, networks and ports"):
            await one.agents.dial(agent_id, other, API_PORT)


async def test_an_address_that_does_not_answer_is_an_error_with_its_reason() -> None:
    silent = new_host()
    async with lab() as one, one.connected(silent) as agent_id:
        await one.registry.hears("lost", agent_id, silent)
        with pytest.raises(ConnectionRefusedError, match=f"agent 'rack-7': {silent}:50000: connection refused"):
            await one.agents.dial(agent_id, silent, API_PORT)


async def test_an_agent_that_is_not_there() -> None:
    async with lab() as one, one.serving():
        with pytest.raises(OSError, match="its agent is not connected"):
            await one.agents.dial("a-9", "127.0.0.1", API_PORT)


async def test_an_agent_turned_away_loses_everything_at_once() -> None:
    async with lab() as one, reached(one, echo) as (reader, writer):
        writer.write(b"x")
        await reader.readexactly(1)
        one.agents.drop("a-1", "its join token was revoked")
        assert one.registry.told[-1] == ("disconnected", "a-1", "its join token was revoked")
        with pytest.raises(ConnectionAbortedError, match="its join token was revoked"):
            await reader.read()
        with pytest.raises(OSError, match="not connected"):
            await one.agents.dial("a-1", "127.0.0.1", API_PORT)


async def test_turned_away_while_it_is_let_in() -> None:
    """A token revoked between the look at it and the welcome lets nobody in."""
    async with lab() as one, one.serving(), stub(one) as api:
        enrol = one.registry.enrol

        async def slow(said: object) -> str:
            agent_id = await enrol(said)  # type: ignore[arg-type]
            one.agents.drop(agent_id, "its join token was revoked")
            return agent_id

        one.registry.enrol = slow  # type: ignore[method-assign]
        control = api.Control()
        await control.write(hello())
        assert await status(control) is grpc.StatusCode.PERMISSION_DENIED
        assert await control.details() == "its join token was revoked"
        assert not any(entry[0] == "connected" for entry in one.registry.told)


async def test_of_two_connections_of_one_agent_the_newer_stays() -> None:
    async with lab() as one, one.serving(), stub(one) as api:
        who = hello("10.0.0.1")
        older, newer = api.Control(), api.Control()
        await older.write(who)
        await older.read()
        await newer.write(who)
        await newer.read()
        assert await status(older) is grpc.StatusCode.ABORTED
        assert "the same agent connected again, from 127.0.0.1" in await older.details()
        assert one.registry.told == [("connected", "a-1"), ("connected", "a-1")]
        assert one.agents.is_connected("a-1")


async def test_a_silent_agent_is_gone() -> None:
    async with lab(heartbeat=0.1) as one, one.serving(), stub(one) as api:
        control = api.Control()
        await control.write(hello("10.0.0.1"))
        dialling = asyncio.create_task(_dial_once_in(one))
        assert await status(control) is grpc.StatusCode.UNAVAILABLE
        assert await control.details() == "nothing was heard of it for 0.3 s"
        with pytest.raises(OSError, match=r"agent 'hand': nothing was heard of it for 0.3 s"):
            await dialling


async def _dial_once_in(one: Lab) -> Stream:
    _, agent_id = await one.registry.hears("connected")
    return await one.agents.dial(agent_id, "10.0.0.1", API_PORT)


async def test_a_dial_has_an_end_and_comes_too_late_after_it() -> None:
    async with lab() as one, one.serving(), stub(one) as api:
        control = api.Control()
        await control.write(hello("10.0.0.1"))
        await control.read()
        with pytest.raises(TimeoutError, match=r"agent 'hand' did not reach 10.0.0.1:50000 within 0.1 s"):
            await one.agents.dial("a-1", "10.0.0.1", API_PORT, timeout=0.1)
        order = (await control.read()).open
        late = api.Carry(metadata=((CONNECTION_KEY, order.connection.hex()),))
        assert await status(late) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("value", [None, "", "zz", "00" * 16, "00" * 2000])
async def test_a_connection_that_nobody_awaits_is_refused(value: str | None) -> None:
    async with lab() as one, one.serving(), stub(one) as api:
        call = api.Carry(metadata=((CONNECTION_KEY, value),) if value is not None else ())
        assert await status(call) is grpc.StatusCode.NOT_FOUND
        assert await call.details() == "no connection is awaited under this id"


async def test_an_id_serves_once() -> None:
    async with lab() as one, one.serving(), stub(one) as api:
        control = api.Control()
        await control.write(hello("10.0.0.1"))
        await control.read()
        dialling = asyncio.create_task(one.agents.dial("a-1", "10.0.0.1", API_PORT))
        metadata = ((CONNECTION_KEY, (await control.read()).open.connection.hex()),)
        first = api.Carry(metadata=metadata)
        reader, _writer = await dialling
        assert await status(api.Carry(metadata=metadata)) is grpc.StatusCode.NOT_FOUND
        await first.write(Piece(data=b"x", end=True))
        assert await reader.read() == b"x"


async def test_oversized_messages_end_their_call_alone() -> None:
    async with lab() as one, one.serving(), stub(one) as api:
        control, other = api.Control(), api.Control()
        for call in (control, other):
            await call.write(hello("10.0.0.1"))
            await call.read()
        dialling = asyncio.create_task(one.agents.dial("a-1", "10.0.0.1", API_PORT))
        carry = api.Carry(metadata=((CONNECTION_KEY, (await control.read()).open.connection.hex()),))
        reader, _writer = await dialling
        await carry.write(Piece(data=b"x" * 100_000))
        assert await status(carry) is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert one.agents.is_connected("a-1")
        await control.write(FromAgent(lost=Lost(address="10.0.0.1", reason="x" * 100_000)))
        assert await status(control) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await one.registry.hears("disconnected"))[1] == "a-1"
        assert one.agents.is_connected("a-2")


async def test_a_half_open_call_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HELLO_TIMEOUT", 0.1)
    async with lab() as one, one.serving(), stub(one) as api:
        call = api.Control()
        assert await status(call) is grpc.StatusCode.DEADLINE_EXCEEDED
        assert one.registry.hellos == []


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (FromAgent(found=Found(address="10.0.0.1")), "the first message must be hello"),
        (FromAgent(), "the first message must be hello"),
        (FromAgent(hello=Hello(name="", credential="x" * 43)), "name must be"),
        (FromAgent(hello=Hello(name="a\nb", credential="x" * 43)), "name must be"),
        (FromAgent(hello=Hello(name="a", credential="short")), "credential must be"),
        (FromAgent(hello=Hello(name="a", credential="x" * 43, token="x" * 9000)), "token or version"),
        (FromAgent(hello=Hello(name="a", credential="x" * 43, nodes=["a b"])), "neither a host name nor an IP"),
        (FromAgent(hello=Hello(name="a", credential="x" * 43, networks=["10.0.0.0/8"])), "16,777,216 addresses"),
        (FromAgent(hello=Hello(name="a", credential="x" * 43, networks=["fd00::/8"])), "are too many"),
        (FromAgent(hello=Hello(name="a", credential="x" * 43, nodes=[f"h{n}" for n in range(600)])), "at most 512"),
    ],
)
async def test_hellos_no_agent_says(message: FromAgent, text: str) -> None:
    async with lab() as one, one.serving(), stub(one) as api:
        control = api.Control()
        await control.write(message)
        assert await status(control) is grpc.StatusCode.INVALID_ARGUMENT
        assert text in await control.details()
        assert one.registry.hellos == []


async def test_offers_outside_of_what_it_looks_at_end_an_agent() -> None:
    async with lab() as one, one.serving(), stub(one) as api:
        control = api.Control()
        await control.write(hello("10.0.0.1"))
        await control.read()
        await control.write(FromAgent(lost=Lost(address="192.0.2.1", reason="never offered")))
        await control.write(FromAgent(refused=Refused(connection=b"?", reason="never asked")))
        await control.write(FromAgent(found=Found(address="10.0.0.1")))
        await control.write(FromAgent(found=Found(address="10.0.0.1")))
        await control.write(FromAgent(found=Found(address="192.0.2.1")))
        assert await status(control) is grpc.StatusCode.INVALID_ARGUMENT
        assert "'192.0.2.1' is not one of the hosts" in await control.details()
        assert [entry[:3] for entry in one.registry.told] == [
            ("connected", "a-1"),
            ("found", "a-1", "10.0.0.1"),
            ("disconnected", "a-1", "'192.0.2.1' is not one of the hosts that it said it looks at"),
        ]


async def test_what_an_agent_says_is_made_fit_for_people() -> None:
    async with lab() as one, one.serving(), stub(one) as api:
        control, first = api.Control(), hello("10.0.0.1")
        first.hello.version = "1.0\0\n"
        await control.write(first)
        await control.read()
        await control.write(FromAgent(lost=Lost(address="10.0.0.1", reason="a\0b\x1b[31m" + "x" * 1000)))
        reason = (await one.registry.hears("lost"))[3]
        assert (reason[:9], len(reason)) == ("a b [31mx", 500)
        assert one.registry.hellos[0].version == "1.0  "


async def test_what_one_agent_carries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTION_LIMIT", 3)
    async with lab() as one, machine(echo) as host, one.connected(host) as agent_id:
        streams = [await one.agents.dial(agent_id, host, API_PORT) for _ in range(3)]
        with pytest.raises(OSError, match="agent 'rack-7' carries 3 connections already"):
            await one.agents.dial(agent_id, host, API_PORT)
        reader, writer = streams[0]
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), PATIENCE)
        async with carried(one, agent_id, host) as (again, back):
            back.write(b"x")
            assert await again.readexactly(1) == b"x"
        for _, open_writer in streams[1:]:
            open_writer.close()


async def test_what_an_agent_does_not_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "OPENING_LIMIT", 5)
    async with lab() as one, one.serving(), stub(one) as api:
        control = api.Control()
        await control.write(hello("10.0.0.1"))
        await control.read()
        waiting = [asyncio.create_task(one.agents.dial("a-1", "10.0.0.1", API_PORT)) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="agent 'hand' is still connecting to 5 others"):
            await one.agents.dial("a-1", "10.0.0.1", API_PORT)
        control.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {str(result) for result in results} == {"agent 'hand': the connection to it was lost"}
