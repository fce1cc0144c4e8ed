"""The proxy in front of API servers that behave badly."""

import asyncio

from nodeagent.tls import TlsStream
from tests.nodeagent.kubeproxy.bed import PREFIX, bed, head

OK = "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 2\n\n{}"


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


async def test_a_watch_comes_line_by_line_and_ends_with_the_client():
    more, gone = asyncio.Event(), asyncio.Event()

    async def handler(stream: TlsStream) -> None:
        await head(stream)
        await stream.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n")
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
