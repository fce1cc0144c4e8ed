"""What clients send, and what of it never reaches a cluster."""

import json

import pytest

from nodeagent.kubeproxy.ports import Passage, Request
from nodeagent.tls import TlsStream
from tests.nodeagent.kubeproxy.bed import PREFIX, TOKEN, FakeGate, bed, head, said
from tests.nodeagent.kubeproxy.test_upstreams import OK, good


async def unreached(stream: TlsStream) -> None:
    raise AssertionError("a request got through")


@pytest.mark.parametrize(
    ("target", "token", "code", "message"),
    [
        (PREFIX + "/api", "unknown", 401, "log in again: this token is not known"),
        ("/k8s/acme/other/api", TOKEN, 404, "there is no cluster other"),
    ],
)
async def test_what_the_gate_refuses(target: str, token: str, code: int, message: str):
    async with bed(unreached) as b:
        client = await b.client()
        for _ in range(2):  # on one connection
            headers = f"Host: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}"
            client.writer.write(f"POST {target} HTTP/1.1\r\n{headers}".encode())
            line = await client.reader.readuntil(b"\r\n\r\n")
            assert line.startswith(f"HTTP/1.1 {code} ".encode())
            length = int(line.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            status = json.loads(await client.reader.readexactly(length))
            assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", code)
            assert status["message"] == message
        assert not b.gate.tickets
        assert not b.planes.dialled


async def test_a_gate_that_fails_says_nothing_of_why():
    class Failing(FakeGate):
        async def admit(self, request: Request) -> Passage:
            raise RuntimeError("a secret of the database")

    async with bed(unreached) as b:
        b.proxy._gate = Failing()
        code, status = await (await b.client()).get("/api")
        assert code == 500
        assert "its log says more" in status["message"]


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ("GET /api HTTP/1.1\r\nHost: a", 421, "not of a cluster's API"),
        ("GET /k8s/acme HTTP/1.1\r\nHost: a", 421, "not of a cluster's API"),
        (f"GET http://omni{PREFIX}/api HTTP/1.1\r\nHost: a", 400, "not a path"),
        (f"GET {PREFIX}/../other/api HTTP/1.1\r\nHost: a", 400, "upwards"),
        (f"CONNECT {PREFIX}/api HTTP/1.1\r\nHost: a", 405, "not asked this way"),
        (f"TRACE {PREFIX}/api HTTP/1.1\r\nHost: a", 405, "not asked this way"),
        (f"GET {PREFIX}/api HTTP/1.1\r\nHost: a\r\nHost: b", 400, "Host"),
        (f"GET {PREFIX}/api HTTP/1.1\r\nHost: a\r\nImpersonate-User : b", 400, "no HTTP"),
        (f"GET {PREFIX}/api HTTP/1.1\r\nHost: a\r\nAccept: a\x00b", 400, "no HTTP"),
        (f"GET {PREFIX}/api HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2", 400, "Content-Length"),
        (f"GET {PREFIX}/api HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400, "both"),
        (f"GET {PREFIX}/api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked", 501, "Transfer-Encoding"),
        (f"GET {PREFIX}/api HTTP/1.1\r\nHost: a\r\nContent_Length: 1", 400, "some take for"),
        ("PRI * HTTP/2.0\r\n\r\nSM", 405, ""),
        ("\x16\x03\x01\x02\x00\x01", 400, ""),
        (f"GET {PREFIX}/api HTTP/1.1\r\nHost: a\r\nX-Long: " + "a" * 200_000, 431, "no HTTP"),
    ],
)
async def test_what_is_no_clear_request(request_: str, code: int, text: str):
    async with bed(unreached) as b:
        client = await b.client()
        client.writer.write(request_.encode("latin-1") + b"\r\n\r\n")
        client.writer.write_eof()
        answer = await client.until_closed()
        first, _, body = answer.partition(b"\r\n\r\n")
        assert first.startswith(f"HTTP/1.1 {code} ".encode())
        assert b"connection: close" in first.lower()
        assert text in json.loads(body)["message"]
        assert not b.gate.requests
        assert not b.planes.dialled


async def test_a_second_request_inside_the_first_ones_body():
    """Both ends see the same end of a body: what looks like a request in it is none."""
    hidden = b"GET /api/v1/secrets HTTP/1.1\r\nHost: a\r\n\r\n"
    seen = []

    async def handler(stream: TlsStream) -> None:
        data = await head(stream)
        while len(data.partition(b"\r\n\r\n")[2]) < len(hidden):
            data += await stream.read()
        seen.append(data)
        await stream.write(OK.replace("\n", "\r\n").encode())

    async with bed(handler) as b:
        client = await b.client()
        await client.send("POST", PREFIX + "/api", body=hidden)
        assert (await client.answer())[0].status_code == 200
        assert len(seen) == len(b.gate.requests) == 1
        assert f"Content-Length: {len(hidden)}\r\n".encode() in seen[0]


async def test_requests_that_are_sent_ahead_are_each_admitted():
    async with bed(good) as b:
        client = await b.client()
        head_ = "Host: a\r\nAuthorization: Bearer {}\r\n\r\n"
        first, second = (head_.format(token) for token in (TOKEN, "another"))
        client.writer.write(f"GET {PREFIX}/a HTTP/1.1\r\n{first}GET {PREFIX}/b HTTP/1.1\r\n{second}".encode())
        answers = await client.reader.readuntil(b'"code": 401}')
        assert answers.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 401 " in answers
        assert [request.target for request in b.gate.requests] == ["/a", "/b"]


async def test_an_identity_that_is_claimed_is_not_believed():
    seen = []

    async def handler(stream: TlsStream) -> None:
        seen.append(await head(stream))
        await stream.write(OK.replace("\n", "\r\n").encode())

    async with bed(handler) as b:
        claims = [
            ("impersonate-user", "root"),
            ("Impersonate-Group", "system:masters"),
            ("Impersonate_Uid", "1"),
            ("Impersonate-Extra-scopes", "all"),
            ("X-Remote-User", "root"),
            ("Connection", "Impersonate-User, X-Forwarded-For"),
            ("X-Forwarded-For", "192.0.2.66"),
            ("Accept", "a\r\n Impersonate-Group: system:masters"),
        ]
        client = await b.client()
        lines = "".join(f"{name}: {value}\r\n" for name, value in claims)
        client.writer.write(
            f"GET {PREFIX}/api HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n{lines}\r\n".encode()
        )
        await client.reader.readuntil(b"{}")
        sent = [line for line in seen[0].decode().split("\r\n") if line]
        assert [line for line in sent if line.lower().startswith(("imp", "x-"))] == [
            "Impersonate-User: ann@example.com",
            "Impersonate-Group: omni:operator",
            "Impersonate-Group: dev",
            "X-Forwarded-For: 198.51.100.7",
        ]
        assert TOKEN not in seen[0].decode()


async def test_a_user_that_no_header_can_hold():
    async with bed(unreached) as b:
        b.gate.user = "ann\r\nImpersonate-Group: system:masters"
        client = await b.client()
        await client.send("GET", PREFIX + "/api")
        assert await client.until_closed() == b""
        assert await b.over() == "500"


async def test_a_refused_client_that_goes_on_sending_reads_why():
    async with bed(said(OK)) as b:
        client = await b.client()
        client.writer.write(f"PUT {PREFIX}/api HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n".encode())
        for _ in range(20):
            client.writer.write(b"x" * 1000)
        await client.writer.drain()
        answer = await client.reader.readuntil(b'"code": 401}')
        assert b"log in again" in answer
        assert b"connection: close" in answer.lower()
