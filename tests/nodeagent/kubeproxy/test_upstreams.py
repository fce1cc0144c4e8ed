"""The proxy in front of API servers that behave badly, and of good ones."""

import asyncio
from datetime import UTC, datetime

import h11
import pytest

from nodeagent.kubeproxy import upstream as upstreams
from nodeagent.tls import TlsStream
from talos import pki
from tests.nodeagent.kubeproxy.bed import PREFIX, Bed, api_server, bed, head, said

OK = "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 2\n\n{}"
WATCH = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n"
HUGE = 200 * 1024 * 1024
PIECE = b"x" * 64 * 1024
BOUND = 4 * 1024 * 1024
"""Bytes that may be under way between two ends, sockets included."""


async def good(stream: TlsStream) -> None:
    while True:
        await head(stream)
        await stream.write(OK.replace("\n", "\r\n").encode())


async def silent(stream: TlsStream) -> None:
    """Takes requests and says nothing, until the other end leaves."""
    while await stream.read():
        pass


async def test_one_request_after_another_on_kept_connections():
    seen = []

    async def handler(stream: TlsStream) -> None:
        while True:
            seen.append(await head(stream))
            await stream.write(OK.replace("\n", "\r\n").encode())

    async with bed(handler) as b:
        client = await b.client()
        for _ in range(3):
            assert await client.get("/api/v1/nodes?limit=500") == (200, {})
        assert b.planes.dialled == ["fd00::1"]
        assert [await b.over(number) for number in range(3)] == ["200"] * 3
        request = b.gate.requests[0]
        assert (request.organisation, request.cluster, request.target) == ("acme", "prod", "/api/v1/nodes?limit=500")
        assert request.token == "let-me-in"
        assert request.caller.address == "198.51.100.7"
        assert request.caller.certificate == "0a1b"
        lines = seen[0].decode().split("\r\n")
        assert lines[0] == "GET /api/v1/nodes?limit=500 HTTP/1.1"
        assert set(lines[1:-2]) == {
            "Host: kubernetes",
            "Impersonate-User: ann@example.com",
            "Impersonate-Group: omni:operator",
            "Impersonate-Group: dev",
            "X-Forwarded-For: 198.51.100.7",
        }


# --- which control plane


async def test_a_control_plane_without_a_link_is_passed_over():
    async with bed(good, good) as b:
        del b.planes.handlers["fd00::1"]
        assert await (await b.client()).get("/version") == (200, {})
        assert b.planes.dialled == ["fd00::1", "fd00::2"]


async def test_a_control_plane_that_does_not_answer_is_passed_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upstreams, "CONNECT_TIMEOUT", 0.5)
    async with bed(None, good) as b:
        assert await (await b.client()).get("/version") == (200, {})


async def test_no_control_plane_answers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upstreams, "CONNECT_TIMEOUT", 0.2)
    async with bed(None, None) as b:
        code, status = await (await b.client()).get("/version")
        assert (code, status["kind"], status["code"], status["reason"]) == (504, "Status", 504, "Timeout")
        assert status["message"] == (
            "no control plane of cluster prod could be reached: it does not answer; see what its machines say"
        )
        assert await b.over() == "504"


async def test_no_control_plane_is_connected():
    async with bed() as b:
        code, status = await (await b.client()).get("/version")
        assert code == 503
        assert "cluster prod has no control plane that is connected" in status["message"]


@pytest.mark.parametrize("other_authority", [True, False])
async def test_another_server_at_the_address_gets_no_request(*, other_authority: bool):
    """One of another cluster, or something of this cluster that is no API server."""
    identity = api_server("worker-1")
    if other_authority:
        identity = api_server(ca=pki.kubernetes_ca(datetime.now(UTC)))
    async with bed(good, identity=identity) as b:
        code, status = await (await b.client()).get("/version")
        assert code == 502
        assert "shows a certificate that is not of this cluster" in status["message"]
        assert await b.over() == "502"


# --- how they answer


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (said(""), "cluster prod closed the connection before it answered"),
        (said("SSH-2.0-OpenSSH\n\n"), "illegal status line"),
        (said("HTTP/1.1 200 OK\n" + "X-Header: " + "a" * 70000), "too long"),
        (said("HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\n"), "Content-Length"),
    ],
)
async def test_an_answer_that_is_none(handler, text: str):
    async with bed(handler) as b:
        code, status = await (await b.client()).get("/version")
        assert code == 502
        assert text in status["message"]
        assert "cluster prod" in status["message"]
        assert await b.over() == "502"


async def test_an_answer_that_breaks_off():
    """What came of it arrives, however late it is read."""
    async with bed(said("HTTP/1.1 200 OK\nContent-Length: 1000000\n\n", b"x" * 900_000)) as b:
        client = await b.client()
        await client.send("GET", PREFIX + "/api")
        assert (await client.event()).status_code == 200
        read = 0
        with pytest.raises(h11.RemoteProtocolError):  # noqa: PT012
            while True:
                read += len((await client.event()).data)
        assert read == 900_000
        assert await b.over() == "502"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        ("HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\nLink: x\n\n" + OK, b"{}"),
        ("HTTP/1.0 200 OK\n\nuntil the end", b"until the end"),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nab\n1\nc\n0\nX-Trailer: 1\n\n", b"abc"),
        ("HTTP/1.1 204 No Content\n\n", b""),
    ],
)
async def test_answers_of_every_form(answer: str, body: bytes):
    async with bed(said(answer)) as b:
        client = await b.client()
        await client.send("GET", PREFIX + "/api")
        response, read = await client.answer()
        assert read == body
        assert await b.over() == str(response.status_code)


async def test_head_has_a_length_and_no_body():
    async with bed(good) as b:
        client = await b.client()
        await client.send("HEAD", PREFIX + "/api")
        response, body = await client.answer()
        assert (response.status_code, body) == (200, b"")
        assert (b"content-length", b"2") in response.headers


async def test_a_kept_connection_that_was_closed_is_replaced_for_reading_only():
    closing = asyncio.Event()

    async def handler(stream: TlsStream) -> None:
        await head(stream)
        await stream.write(OK.replace("\n", "\r\n").encode())
        await head(stream)  # and closes without an answer
        closing.set()

    async with bed(handler) as b:
        client = await b.client()
        assert (await client.get("/api"))[0] == 200
        assert (await client.get("/api"))[0] == 200
        assert b.planes.dialled == ["fd00::1"] * 2
        await client.send("POST", PREFIX + "/api", body=b"{}")
        response, _ = await client.answer()
        assert response.status_code == 502
        assert b.planes.dialled == ["fd00::1"] * 2


async def test_a_kept_connection_that_closes_is_forgotten():
    async with bed(said(OK)) as b:
        client = await b.client()
        for _ in range(2):
            await client.send("POST", PREFIX + "/api", body=b"{}")
            response, _ = await client.answer()
            assert response.status_code == 200
            while b.planes.tasks:
                await asyncio.wait(b.planes.tasks)
            await asyncio.sleep(0.01)
        assert b.planes.dialled == ["fd00::1"] * 2


# --- streams


async def test_a_watch_comes_line_by_line_and_ends_with_the_client():
    more, gone = asyncio.Event(), asyncio.Event()

    async def handler(stream: TlsStream) -> None:
        await head(stream)
        await stream.write(WATCH)
        await more.wait()
        await stream.write(b"7\r\nsecond\n\r\n")
        assert await stream.read() == b""
        gone.set()

    async with bed(handler) as b:
        client = await b.client()
        await client.send("GET", PREFIX + "/api/v1/pods?watch=1")
        assert (await client.event()).status_code == 200
        assert bytes((await client.event()).data) == b"first\n"
        more.set()
        assert bytes((await client.event()).data) == b"second\n"
        client.writer.close()
        await gone.wait()
        assert await b.over() == "200"


async def test_a_client_that_leaves_before_the_answer():
    asked, gone = asyncio.Event(), asyncio.Event()

    async def handler(stream: TlsStream) -> None:
        await head(stream)
        asked.set()
        assert await stream.read() == b""
        gone.set()

    async with bed(handler) as b:
        client = await b.client()
        await client.send("GET", PREFIX + "/api")
        await asked.wait()
        client.writer.close()
        await gone.wait()
        assert await b.over() == "499"


async def test_a_slow_reader_slows_the_cluster():
    written, stalled = 0, asyncio.Event()

    async def handler(stream: TlsStream) -> None:
        nonlocal written
        await head(stream)
        await stream.write(f"HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n".encode())
        while written < HUGE:
            try:
                async with asyncio.timeout(0.5):
                    await asyncio.shield(writing := asyncio.ensure_future(stream.write(PIECE)))
            except TimeoutError:
                stalled.set()
                await writing
            written += len(PIECE)

    async with bed(handler) as b:
        client = await b.client()
        await client.send("GET", PREFIX + "/api")
        await stalled.wait()
        assert written < BOUND
        assert (await client.event()).status_code == 200
        read = 0
        while isinstance(event := await client.event(), h11.Data):
            read += len(event.data)
        assert read == HUGE
        assert await b.over() == "200"


async def test_a_slow_cluster_slows_the_client():
    go, read = asyncio.Event(), 0

    async def handler(stream: TlsStream) -> None:
        nonlocal read
        _, _, early = (await head(stream)).partition(b"\r\n\r\n")
        await go.wait()
        read = len(early)
        while read < HUGE:
            read += len(await stream.read())
        await stream.write(OK.replace("\n", "\r\n").encode())

    async with bed(handler) as b:
        client = await b.client()
        headers = [("Host", "a"), ("Authorization", "Bearer let-me-in"), ("Content-Length", str(HUGE))]
        client.writer.write(client.http.send(h11.Request(method="PUT", target=PREFIX + "/a", headers=headers)) or b"")
        written = 0
        while written < HUGE:
            client.writer.write(client.http.send(h11.Data(data=PIECE)) or b"")
            written += len(PIECE)
            try:
                async with asyncio.timeout(0.5):
                    await client.writer.drain()
            except TimeoutError:
                assert written < BOUND
                assert not go.is_set()
                go.set()
                await client.writer.drain()
        assert go.is_set()
        client.http.send(h11.EndOfMessage())
        assert (await client.answer())[0].status_code == 200
        assert read == HUGE


async def test_a_chunked_body_that_waits_for_leave():
    async def handler(stream: TlsStream) -> None:
        data = await head(stream)
        assert b"expect" not in data.lower()
        while not data.endswith(b"0\r\n\r\n"):
            data += await stream.read()
        assert data.partition(b"\r\n\r\n")[2] == b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"
        await stream.write(OK.replace("\n", "\r\n").encode())

    async with bed(handler) as b:
        client = await b.client()
        headers = [("Host", "a"), ("Authorization", "Bearer let-me-in"), ("Transfer-Encoding", "chunked")]
        request = h11.Request(method="POST", target=PREFIX + "/a", headers=[*headers, ("Expect", "100-continue")])
        client.writer.write(client.http.send(request) or b"")
        assert (await client.event()).status_code == 100
        for data in (b"first", b"second"):
            client.writer.write(client.http.send(h11.Data(data=data)) or b"")
        client.writer.write(client.http.send(h11.EndOfMessage()) or b"")
        assert (await client.answer())[0].status_code == 200


async def test_an_answer_before_the_end_of_the_body():
    async with bed(said("HTTP/1.1 413 Too Large\nContent-Length: 0\nConnection: close\n\n")) as b:
        client = await b.client()
        headers = [("Host", "a"), ("Authorization", "Bearer let-me-in"), ("Content-Length", str(HUGE))]
        client.writer.write(client.http.send(h11.Request(method="PUT", target=PREFIX + "/a", headers=headers)) or b"")
        client.writer.write(client.http.send(h11.Data(data=PIECE)) or b"")
        assert (await client.event()).status_code == 413
        assert await b.over() == "413"
        client.writer.write_eof()
        assert await client.until_closed() == b""


async def test_a_body_that_is_malformed():
    async with bed(silent) as b:
        client = await b.client()
        head_ = f"POST {PREFIX}/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer let-me-in\r\n"
        client.writer.write(head_.encode() + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        assert b"the request's body is malformed" in await client.until_closed()
        assert await b.over() == "400"


# --- upgrades

SWITCH = "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Accept: x\n\n"
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "abc")]


async def echo(stream: TlsStream) -> None:
    data = await head(stream)
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket" in data
    assert b"\r\nSec-WebSocket-Key: abc\r\n" in data
    await stream.write(SWITCH.replace("\n", "\r\n").encode() + b"hello")
    while data := await stream.read():
        await stream.write(data)


async def switched(b: Bed):
    client = await b.client()
    await client.send("GET", PREFIX + "/api/v1/namespaces/a/pods/b/exec", UPGRADE)
    answer = await client.event()
    assert answer.status_code == 101
    assert {(b"upgrade", b"websocket"), (b"sec-websocket-accept", b"x")} <= set(answer.headers)
    early = client.http.trailing_data[0]
    return client, early + await client.reader.readexactly(5 - len(early))


async def test_after_an_upgrade_bytes_go_both_ways():
    async with bed(echo) as b:
        client, early = await switched(b)
        assert early == b"hello"
        assert b.gate.requests[0].upgrade
        for data in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 1000):
            client.writer.write(data)
            assert await client.reader.readexactly(len(data)) == data
        client.writer.close()
        assert await b.over() == "101"


async def test_an_upgrade_that_the_cluster_refuses():
    async with bed(said("HTTP/1.1 403 Forbidden\nContent-Type: application/json\nContent-Length: 2\n\n{}")) as b:
        assert await (await b.client()).get("/api/v1/namespaces/a/pods/b/exec", *UPGRADE) == (403, {})


async def test_an_upgrade_ends_with_the_cluster():
    async with bed(said(SWITCH, b"bye")) as b:
        client = await b.client()
        await client.send("GET", PREFIX + "/exec", UPGRADE)
        assert (await client.event()).status_code == 101
        assert client.http.trailing_data[0] + await client.until_closed() == b"bye"
        assert await b.over() == "101"


# --- withdrawn


async def test_withdrawn_before_the_answer():
    async with bed(silent) as b:
        client = await b.client()
        await client.send("GET", PREFIX + "/api")
        while not b.gate.tickets:
            await asyncio.sleep(0)
        b.gate.tickets[0].withdrawn.set_result("this key was revoked; log in again")
        response, body = await client.answer()
        assert response.status_code == 403
        assert b'"this key was revoked; log in again"' in body
        assert await b.over() == "403"
        while b.planes.tasks:  # the cluster's end is closed, too
            await asyncio.wait(b.planes.tasks)


async def test_withdrawn_while_connecting():
    async with bed(None) as b:
        client = await b.client()
        await client.send("GET", PREFIX + "/api")
        while not b.planes.dialled:
            await asyncio.sleep(0)
        b.gate.tickets[0].withdrawn.set_result("this key was revoked")
        assert (await client.answer())[0].status_code == 403


async def test_withdrawn_during_a_watch():
    async def handler(stream: TlsStream) -> None:
        await head(stream)
        await stream.write(WATCH)
        await silent(stream)

    async with bed(handler) as b:
        client = await b.client()
        await client.send("GET", PREFIX + "/api?watch=1")
        assert (await client.event()).status_code == 200
        assert (await client.event()).data == b"first\n"
        b.gate.tickets[0].withdrawn.set_result("the session ended")
        with pytest.raises(h11.RemoteProtocolError):
            await client.event()
        assert await b.over() == "403"
        while b.planes.tasks:
            await asyncio.wait(b.planes.tasks)


async def test_withdrawn_after_an_upgrade():
    async with bed(echo) as b:
        client, _ = await switched(b)
        b.gate.tickets[0].withdrawn.set_result("the session ended")
        assert await client.until_closed() == b""
        assert await b.over() == "403"
        while b.planes.tasks:
            await asyncio.wait(b.planes.tasks)


async def test_closing_ends_everything():
    async with bed(echo) as b:
        client, _ = await switched(b)
        await b.proxy.close()
        assert await client.until_closed() == b""
        await b.over()
        while b.planes.tasks:
            await asyncio.wait(b.planes.tasks)
