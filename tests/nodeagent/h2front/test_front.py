"""Requests over HTTP/2 in front of servers that speak HTTP/1.1."""

import asyncio
import contextlib
import gc

import h11
import pytest
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from nodeagent.h2front import exchange
from nodeagent.h2front import front as module
from nodeagent.h2front import upstream as upstream_module
from tests.nodeagent.h2front.lab import Lab, echo, fields, opened, says, until

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_a_request_and_its_answer() -> None:
    async with opened(echo) as lab:
        answer = await (await lab.client()).ask("GET", "/a?b=c", ("cookie", "x=1"), ("cookie", "y=2"))
        assert answer.status == 200
        assert answer.reset is None
        assert answer.told_request["target"] == "/a?b=c"
        assert answer.told_request["headers"] == [["host", "omni.example.com"], ["cookie", "x=1; y=2"]]


@pytest.mark.parametrize("size", [0, 1, 16_384, 1_000_000])
async def test_bodies_with_and_without_a_length(size: int) -> None:
    async with opened(echo) as lab:
        client, body = await lab.client(), b"x" * size
        for more in ([], [("content-length", str(size))]):
            told = (await client.ask("POST", "/", *more, body=body)).told_request
            assert told["body"] == body.decode()
            names = [name for name, _ in told["headers"]]
            assert ("content-length" in names) == bool(more)
        assert lab.connections == 1


async def test_many_requests_at_once_each_get_their_own_answer() -> None:
    async with opened(echo) as lab:
        client = await lab.client()
        answers = await asyncio.gather(*(client.ask("PUT", f"/{number}", body=b"%d" % number) for number in range(100)))
        for number, answer in enumerate(answers):
            assert (answer.told_request["target"], answer.told_request["body"]) == (f"/{number}", str(number))


async def test_upstream_connections_are_kept_for_the_same_client_only() -> None:
    async with opened(echo) as lab:
        first, second = await lab.client(), await lab.client()
        for _ in range(5):
            await first.ask()
        assert lab.connections == 1
        await second.ask()
        assert lab.connections == 2
        await first.close()
        await until(lambda: lab.open == 1)


async def test_idle_upstream_connections_do_not_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "REST", 0.05)
    async with opened(echo) as lab:
        client = await lab.client()
        await client.ask()
        await until(lambda: lab.open == 0)
        await client.ask()
        assert lab.connections == 2


async def test_a_server_that_closes_between_requests_is_opened_again() -> None:
    async with opened(says(EMPTY, close=True)) as lab:
        client = await lab.client()
        for number in range(1, 4):
            assert (await client.ask()).status == 200
            await until(lambda: lab.open == 0)
            assert lab.connections == number


async def test_what_a_server_says_unasked_is_nobodys_answer() -> None:
    async with opened(says(EMPTY + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")) as lab:
        client = await lab.client()
        for _ in range(3):
            answer = await client.ask()
            assert (answer.status, answer.body) == (200, b"")
        assert lab.connections == 3


async def test_paths_lead_to_servers() -> None:
    async with opened(says(EMPTY), other=echo) as lab:
        client = await lab.client()
        assert (await client.ask("GET", "/")).body == b""
        assert (await client.ask("GET", "/other/x")).told_request["target"] == "/other/x"


@pytest.mark.parametrize(
    ("method", "said", "status", "body"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, b""),
        ("GET", CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n", 200, b"abcde"),
        ("GET", b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!", 404, b"no!"),
    ],
)
async def test_how_answers_end(method: str, said: bytes, status: int, body: bytes) -> None:
    async with opened(says(said)) as lab:
        client = await lab.client()
        for _ in range(2):
            answer = await client.ask(method)
            assert (answer.status, answer.body, answer.reset, answer.trailers) == (status, body, None, False)
            assert not {"connection", "transfer-encoding"} & answer.headers.keys()


async def test_an_answer_that_ends_with_the_connection() -> None:
    async with opened(says(b"HTTP/1.0 200 OK\r\n\r\nold", close=True)) as lab:
        answer = await (await lab.client()).ask()
        assert (answer.status, answer.body, answer.reset) == (200, b"old", None)


async def test_what_is_told_on_the_way() -> None:
    said = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + EMPTY
    async with opened(says(said)) as lab:
        answer = await (await lab.client()).ask("POST", "/", ("expect", "100-continue"), body=b"x")
        assert (answer.told, answer.status) == ([103, 100], 200)


async def test_parts_of_an_answer_come_when_they_are_said() -> None:
    more = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED)
        for part in (b"one", b"two"):
            await more.wait()
            more.clear()
            writer.write(b"3\r\n" + part + b"\r\n")
        await reader.read()

    async with opened(drip) as lab:
        client = await lab.client()
        _, answer = client.begin(fields())
        await until(lambda: answer.status == 200)  # the head alone
        for body in (b"one", b"onetwo"):
            more.set()
            await until(lambda body=body: answer.body == body)
        assert not answer.over.is_set()


async def test_parts_of_a_request_arrive_when_they_are_said() -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        while data := await reader.read(100):
            got.put_nowait(data)

    async with opened(listen) as lab:
        client = await lab.client()
        stream, _ = client.begin(fields("POST"), end=False)
        for part in (b"one", b"two"):
            await client.send(stream, part)
            assert await asyncio.wait_for(got.get(), 5) == b"3\r\n" + part + b"\r\n"


async def test_an_answer_may_come_before_the_request_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "HEAR_OUT", 0.01)
    async with opened(says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", close=True)) as lab:
        client = await lab.client()
        stream, answer = client.begin(fields("POST"), end=False)
        await client.send(stream, b"x" * 1000)
        await until(lambda: answer.reset is not None)
        assert (answer.status, answer.body, answer.reset) == (413, b"no", ErrorCodes.NO_ERROR)
        for _ in range(100):  # what nobody reads does not eat up the connection's window
            stream, answer = client.begin(fields("POST"), end=False)
            await client.send(stream, b"x" * 60_000)
            await until(lambda answer=answer: answer.reset is not None)
        assert client.ended is None


async def test_who_is_answered_early_may_say_the_rest() -> None:
    """Clients take the end of a stream that they still write to for a failure."""
    async with opened(says(EMPTY)) as lab:
        client = await lab.client()
        stream, answer = client.begin(fields("POST"), end=False)
        await until(lambda: answer.status == 200)
        await client.send(stream, b"x" * 1000, end=True)
        assert (await client.ask()).status == 200
        assert answer.reset is None


async def test_who_loses_interest_is_heard_by_the_server() -> None:
    gone = asyncio.Event()

    async def stream_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED + b"3\r\none\r\n")
        assert await reader.read() == b""
        gone.set()

    async with opened(stream_on, other=echo) as lab:
        client = await lab.client()
        stream, answer = client.begin(fields())
        await until(lambda: answer.body == b"one")
        client.http.reset_stream(stream, ErrorCodes.CANCEL)
        client.push()
        await asyncio.wait_for(gone.wait(), 5)
        assert (await client.ask("GET", "/other/")).status == 200


async def test_who_leaves_ends_every_request() -> None:
    async with opened(says(CHUNKED)) as lab:
        client = await lab.client()
        answers = [client.begin(fields())[1] for _ in range(20)]
        await until(lambda: all(answer.status == 200 for answer in answers))
        assert lab.open == 20
        client.writer.transport.abort()
        await until(lambda: lab.open == 0)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000 + b"\r\n\r\n",
    ],
)
async def test_a_server_that_gives_no_answer(said: bytes) -> None:
    async with opened(says(said, close=True), other=echo) as lab:
        client = await lab.client()
        answer = await client.ask()
        assert answer.status == 502
        assert b"Try again" in answer.body
        assert (await client.ask("GET", "/other/")).status == 200


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        CHUNKED + b"3\r\nabc\r\n",
        CHUNKED + b"3\r\nabc\r\nnonsense\r\n",
    ],
)
async def test_a_server_that_dies_in_its_answer(said: bytes) -> None:
    async with opened(says(said, close=True), other=echo) as lab:
        client = await lab.client()
        answer = await client.ask()
        assert (answer.status, answer.reset) == (200, ErrorCodes.INTERNAL_ERROR)
        assert b"abc".startswith(bytes(answer.body))
        assert (await client.ask("GET", "/other/")).status == 200


async def test_a_server_that_is_not_there() -> None:
    async with opened(echo) as lab:
        client = await lab.client()
        await client.ask()

    async def nobody() -> None:
        raise ConnectionRefusedError

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await module.serve((reader, writer), lambda target: nobody)  # type: ignore[arg-type,return-value]
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        client = await Lab(server.sockets[0].getsockname()[1]).client()
        for method, text in (("GET", b"Try again shortly"), ("HEAD", b"")):
            answer = await client.ask(method)
            assert answer.status == 503
            assert text in answer.body
        await client.close()


async def test_slow_readers_stop_the_server() -> None:
    """What waits for a reader is a few buffers, however much the server has to say."""
    written = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(500):
            writer.write(b"x" * 100_000)
            await writer.drain()
            written += 100_000

    async with opened(pour, other=echo) as lab:
        client = await lab.client(reads=False)
        client.http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        client.push()
        stream, answer = client.begin(fields())
        await until(lambda: len(answer.body) == 1000)
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.2)
        assert written < 20_000_000  # of sockets' buffers for the most part
        assert (await client.ask("GET", "/other/")).status == 200  # others go on
        client.reads = True
        client.http.acknowledge_received_data(1000, stream)
        client.http.increment_flow_control_window(2**30, stream)
        client.http.increment_flow_control_window(2**30)
        client.push()
        await asyncio.wait_for(answer.over.wait(), 30)
        assert len(answer.body) == 50_000_000


async def test_slow_servers_stop_the_sender() -> None:
    goes_on = asyncio.Event()
    got = 0

    async def sleep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        http = h11.Connection(h11.SERVER)
        await goes_on.wait()
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Data):
                got += len(event.data)
        writer.write(EMPTY)

    async with opened(sleep, other=echo) as lab:
        client = await lab.client()
        stream, answer = client.begin(fields("POST"), end=False)
        sending = asyncio.create_task(client.send(stream, b"x" * 15_000_000, end=True))
        before = -1
        while before != (now := client.http.local_flow_control_window(stream)) or now:
            before = now
            await asyncio.sleep(0.1)
        assert not sending.done()
        assert (await client.ask("PUT", "/other/", body=b"y")).told_request["body"] == "y"  # others go on
        goes_on.set()
        await asyncio.wait_for(answer.over.wait(), 30)
        assert (answer.status, got) == (200, 15_000_000)


async def test_a_client_that_is_gone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.1)
    monkeypatch.setattr(module, "ANSWER", 0.1)
    async with opened(says(CHUNKED)) as lab:
        present, gone = await lab.client(), await lab.client()
        for client in (present, gone):
            answer = client.begin(fields())[1]
            await until(lambda answer=answer: answer.status == 200)
        gone.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: lab.open == 1)
        await asyncio.sleep(0.5)
        assert lab.open == 1  # who answers stays
        assert not present.closed.is_set()


async def test_a_client_that_wants_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.1)
    async with opened(echo) as lab:
        client = await lab.client()
        await client.ask()
        await asyncio.wait_for(client.closed.wait(), 5)
        assert client.ended == ErrorCodes.NO_ERROR


async def test_nothing_is_left_behind() -> None:
    async with opened(echo) as lab:
        for _ in range(5):
            client = await lab.client()
            await asyncio.gather(*(client.ask("PUT", "/", body=b"x") for _ in range(10)))
            client.begin(fields("POST"), end=False)
            await client.close()
        await until(lambda: lab.open == 0)
    gc.collect()
    names = [repr(task.get_coro()) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not [name for name in names if "h2front" in name or "Exchange" in name or "Upstream" in name]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (("POST", "/machine.MachineService/Version", ("content-type", "application/grpc")), 415),
        (("CONNECT", "/o/acme/live", (":protocol", "websocket")), 501),
        (("GET", "/a b"), 400),
    ],
)
@pytest.mark.parametrize("body", [None, b"x" * 200_000])
async def test_what_is_refused_is_told_in_a_sentence(said: tuple[str, ...], status: int, body: bytes | None) -> None:
    async with opened(echo) as lab:
        client = await lab.client()
        stream, answer = client.begin(fields(*said), end=body is None)
        if body is not None:
            with contextlib.suppress(ProtocolError):  # it may be told before it has said everything
                await client.send(stream, body, end=True)
        await asyncio.wait_for(answer.over.wait(), 5)
        assert answer.status == status
        assert answer.body.endswith(b".\n")
        assert lab.connections == 0
        assert (await client.ask()).status == 200
