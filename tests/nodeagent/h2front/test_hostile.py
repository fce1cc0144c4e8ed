"""Clients that want nothing but trouble: they are sent away, it costs little, and others are served."""

import asyncio
import contextlib
import socket
import struct
import tracemalloc
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack import Encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodeagent.h2front import front
from nodeagent.quiet import Quiet
from tests.nodeagent.h2front.lab import Client, Lab, echo, fields, opened, says, until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 0x1, 0x4
CALM = ErrorCodes.ENHANCE_YOUR_CALM
HANGING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def block(*more: tuple[str, str]) -> bytes:
    return Encoder().encode(fields("GET", "/", *more))


def rapid_resets(number: int) -> bytes:
    said = block()
    streams = range(1, 2 * number, 2)
    return b"".join(
        frame(HEADERS, said, END_STREAM | END_HEADERS, stream) + frame(RST_STREAM, bytes(4), stream=stream)
        for stream in streams
    )


def bomb() -> bytes:
    """A header of 4 kB that the rest of the block names 10,000 times, a byte each."""
    large = b"\x40\x01a\x7f" + bytes([3900 - 127 & 0x7F | 0x80, (3900 - 127) >> 7]) + b"x" * 3900
    return frame(HEADERS, block() + large + b"\xbe" * 10_000, END_STREAM | END_HEADERS, 1)


def open_streams(number: int) -> bytes:
    said = block()
    return b"".join(frame(HEADERS, said, END_HEADERS, stream) for stream in range(1, 2 * number, 2))


FLOODS = {
    "rapid reset": rapid_resets(2000),
    "requests without end": open_streams(251),
    "settings": frame(SETTINGS, struct.pack(">HI", SettingCodes.INITIAL_WINDOW_SIZE, 1)) * 5000,
    "settings, empty": frame(SETTINGS) * 5000,
    "pings": frame(PING, bytes(8)) * 5000,
    "priorities": frame(PRIORITY, struct.pack(">IB", 1, 1), stream=3) * 5000,
    "window updates": frame(WINDOW_UPDATE, struct.pack(">I", 1)) * 5000,
    "frames of unknown types": frame(0xBB) * 5000,
    "parts without data": frame(HEADERS, block(), END_HEADERS, 1) + frame(DATA, stream=1) * 5000,
    "continuations": frame(HEADERS, block(), 0, 1) + frame(CONTINUATION, stream=1) * 5000,
    "continuations with data": frame(HEADERS, block(), 0, 1) + frame(CONTINUATION, b"x" * 16_000, stream=1) * 100,
    "a header bomb": bomb(),
    "large headers": frame(HEADERS, block(*[("x", "y" * 4000)] * 3), 0, 1)
    + frame(CONTINUATION, b"".join(b"\0\1x\x7f\xa1\x1e" + b"z" * 4000 for _ in range(4)), stream=1) * 4,
    "a frame of 16 MB": frame(DATA, b"x" * 2**20 * 15, stream=1),
}


async def sent_away(lab: Lab, data: bytes) -> Client:
    """A client that the front does not want any more after these bytes."""
    client = await lab.client()
    with contextlib.suppress(OSError):
        client.writer.write(data)
        await client.writer.drain()
    await asyncio.wait_for(client.closed.wait(), 10)
    return client


@pytest.mark.parametrize("name", FLOODS)
async def test_floods_are_ended_and_others_are_served(name: str) -> None:
    async with opened(says(HANGING), other=echo) as lab:
        good = await lab.client()
        tracemalloc.start()
        bad = await sent_away(lab, FLOODS[name])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert bad.ended == CALM
        assert most < 40_000_000  # what the test itself holds included
        assert (await good.ask("GET", "/other/")).status == 200
        await until(lambda: lab.open <= 1)  # nothing of the bad one goes on
        assert (await (await lab.client()).ask("GET", "/other/")).status == 200


async def test_the_most_requests_that_are_allowed_at_once() -> None:
    async with opened(says(HANGING)) as lab:
        client = await lab.client()
        answers = [client.begin(fields())[1] for _ in range(100)]
        await until(lambda: client.http.remote_settings.max_concurrent_streams == 250)
        answers += [client.begin(fields())[1] for _ in range(150)]
        await until(lambda: all(answer.status == 200 for answer in answers))
        assert client.ended is None


async def test_a_page_that_is_left_is_no_flood() -> None:
    """A browser ends what it has asked for; it may do so more than once."""
    async with opened(says(HANGING), other=echo) as lab:
        client = await lab.client()
        for _ in range(2):
            streams = [client.begin(fields())[0] for _ in range(90)]
            for stream in streams:
                client.http.reset_stream(stream, ErrorCodes.CANCEL)
            client.push()
            await until(lambda: lab.open == 0)
        assert (await client.ask("GET", "/other/")).status == 200


async def test_who_reads_nothing_is_not_listened_to() -> None:
    """Heads of answers pass every window, and have to be kept until they are read: so nothing more is taken."""
    asked, said = 0, block(("x", "y" * 5000))

    async def boast(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while await reader.readuntil(b"\r\n\r\n"):
            asked += 1
            writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 30_000 + b"\r\nContent-Length: 0\r\n\r\n")

    async with opened(boast, other=echo) as lab:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        deaf.connect(("127.0.0.1", lab.port))
        _, writer = await asyncio.open_connection(sock=deaf)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(PREFACE + frame(SETTINGS))
        for stream in range(1, 4000, 2):
            writer.write(frame(HEADERS, said, END_STREAM | END_HEADERS, stream))
            try:
                await asyncio.wait_for(writer.drain(), 1)
            except TimeoutError:
                break  # nobody takes any more
        assert 0 < asked < 300
        assert (await (await lab.client()).ask("GET", "/other/")).status == 200
        writer.transport.abort()
        await until(lambda: lab.open <= 1)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: omni.example.com\r\n\r\n",
        b"\0" * 100,
        PREFACE + frame(HEADERS, block(), END_STREAM | END_HEADERS, 2),
        PREFACE + frame(SETTINGS) + frame(HEADERS, b"\xff" * 30, END_STREAM | END_HEADERS, 1),
        PREFACE + frame(SETTINGS) + frame(HEADERS, block(), END_HEADERS, 1) + frame(HEADERS, block(), END_HEADERS, 1),
        PREFACE + frame(SETTINGS) + frame(HEADERS, block(), 0, 1) + frame(PING, bytes(8)),
        PREFACE + frame(SETTINGS) + frame(CONTINUATION, block(), END_HEADERS, 1),
        PREFACE + frame(SETTINGS) + frame(DATA, b"x", stream=1),
        PREFACE + frame(SETTINGS) + frame(PING, b"short"),
        PREFACE + frame(SETTINGS) + frame(WINDOW_UPDATE, bytes(4)),
        PREFACE + frame(SETTINGS) + frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff"),
        PREFACE + frame(SETTINGS, struct.pack(">HI", SettingCodes.INITIAL_WINDOW_SIZE, 2**31)),
        PREFACE + frame(SETTINGS) + frame(5, bytes(4) + block(), END_HEADERS, 1),
    ],
)
async def test_what_is_no_http2_ends_the_connection(data: bytes) -> None:
    async with opened(echo) as lab:
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
        writer.write(data)
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert bytes([GOAWAY, 0, 0, 0, 0, 0]) in answer
        writer.close()
        assert lab.connections == 0


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", PREFACE, PREFACE + frame(SETTINGS)]))
def test_random_bytes_do_no_harm(data: bytes, start: bytes) -> None:
    async def run() -> None:
        async with opened(echo) as lab:
            reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
            writer.write(start + data)
            writer.write_eof()
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionError):
                    await reader.read()
            writer.close()
            assert (await (await lab.client()).ask()).status == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    "more",
    [
        [("x", "a\r\nx-forged: 1")],
        [("x", "a\0b")],
        [("x\r\nx-forged", "1")],
        [("X-Upper", "1")],
        [("x y", "1")],
        [("x:", "1")],
        [("", "1")],
        [("connection", "x-secret")],
        [("transfer-encoding", "chunked")],
        [("te", "gzip")],
        [("content-length", "5"), ("content-length", "6")],
        [("content-length", "+5")],
        [("host", "other.example.com")],
        [(":path", "/again")],
        [(":made-up", "1")],
        [("upgrade", "websocket")],
        [("x", " padded")],
    ],
)
async def test_headers_that_would_smuggle(
    more: list[tuple[str, str]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is refused or the connection ended; no server hears of it, and no log of what they hold."""
    caplog.set_level("INFO")
    monkeypatch.setattr(front, "_quiet", Quiet())
    async with opened(echo) as lab:
        client = await lab.client()
        stream, answer = client.begin(fields("POST", "/", *more), end=False)
        with contextlib.suppress(OSError):
            await client.send(stream, b"hello", end=True)
        await asyncio.wait_for(answer.over.wait(), 5)
        assert answer.status == 400 or client.ended == ErrorCodes.PROTOCOL_ERROR
        assert lab.connections == 0
    assert "padded" not in caplog.text
    assert ("is ended: ProtocolError" in caplog.text) == (answer.status != 400)


@pytest.mark.parametrize(
    ("length", "body"), [("5", b"hell"), ("5", b"hello!"), ("5", b"hello" * 9), ("0", b"POST / HTTP/1.1\r\n\r\n")]
)
async def test_a_length_that_is_not_true(length: str, body: bytes) -> None:
    """What is said beyond it never becomes a request."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            heard.extend(data)

    async with opened(listen) as lab:
        client = await lab.client()
        said = Encoder().encode(fields("POST", "/", ("content-length", length)))
        client.writer.write(frame(HEADERS, said, END_HEADERS, 1) + frame(DATA, body, END_STREAM, 1))
        await asyncio.wait_for(client.closed.wait(), 5)
        assert client.ended == ErrorCodes.PROTOCOL_ERROR
        await until(lambda: lab.open == 0)
    assert heard.count(b"HTTP/1.1") <= 1


async def test_frames_of_streams_that_ended_do_no_harm() -> None:
    async with opened(says(HANGING), other=echo) as lab:
        client = await lab.client()
        stream, _ = client.begin(fields("POST"), end=False)
        await until(lambda: lab.open == 1)
        client.writer.write(frame(RST_STREAM, bytes(4), stream=stream))
        for _ in range(20):  # what comes late counts against the connection's window, and is given back
            client.writer.write(
                frame(DATA, b"x" * 16_000, stream=stream) + frame(WINDOW_UPDATE, b"\0\0\0\1", 0, stream)
            )
        assert (await client.ask("PUT", "/other/", body=b"y" * 500_000)).status == 200


@pytest.mark.parametrize("change", [lambda size: 0, lambda size: 2**31 - 1])
async def test_windows_that_come_and_go(change: Callable[[int], int]) -> None:
    async with opened(echo) as lab:
        client = await lab.client()
        client.http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: change(0)})
        client.push()
        stream, answer = client.begin(fields("GET", "/"))
        if not change(0):
            await until(lambda: answer.status == 200)
            assert answer.body == b""
            client.http.increment_flow_control_window(1000, stream)
            client.push()
        await asyncio.wait_for(answer.over.wait(), 5)
        assert answer.told_request["target"] == "/"


async def test_our_compression_state_stays_small() -> None:
    """A client may offer to remember gigabytes of headers; we use 4 kB of it."""
    numbers = iter(range(10**6))

    async def unique(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nX: %d%s\r\nContent-Length: 0\r\n\r\n" % (next(numbers), b"y" * 900))

    async with opened(unique) as lab:
        client = await lab.client()
        client.http.update_settings({SettingCodes.HEADER_TABLE_SIZE: 2**30})
        client.http.decoder.max_allowed_table_size = 2**30
        client.push()
        for _ in range(50):
            assert (await client.ask()).status == 200
        assert client.http.decoder.header_table._current_size <= 4096
