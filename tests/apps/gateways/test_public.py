"""The public port: what the first bytes of a connection decide."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.accounts.models import Authority as AuthorityRow
from apps.gateways import public
from apps.gateways.authorities import Authorities
from apps.gateways.public import PublicPort, is_for_kubernetes
from apps.gateways.upstream import on_socket
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent import tls
from nodeagent.caller import Caller, caller_of
from nodeagent.dial import Stream
from talos import pki
from tests.apps.gateways.certificates import Authority
from tests.apps.gateways.lab import free_port
from tests.nodeagent.h2front.lab import Client, says

HOST = "127.0.0.1"
GET = b"GET /a HTTP/1.1\r\nHost: omni.example.com\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass
class Front:
    """The public port with two servers behind it that say who they are, then echo."""

    port: int
    folder: Path
    roots: bytes
    callers: list[Caller | None] = field(default_factory=list)
    public: PublicPort = None  # type: ignore[assignment]

    def context(self, protocols: list[str]) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.roots.decode())
        if protocols:
            context.set_alpn_protocols(protocols)
        return context

    async def connect(self, tls_protocols: list[str] | None = None) -> Stream:
        context = self.context(tls_protocols) if tls_protocols is not None else None
        return await asyncio.open_connection(HOST, self.port, ssl=context)

    async def shows(self, context: ssl.SSLContext) -> str:
        """What the gRPC server is told of the certificate in a client's context. Raises OSError when it is refused."""
        reader, writer = await asyncio.open_connection(HOST, self.port, ssl=context)
        try:
            if await reader.read(5) != b"grpc:":
                raise ConnectionResetError
        finally:
            writer.close()
        assert self.callers[-1] is not None
        return self.callers[-1].certificate

    async def say(self, data: bytes, tls_protocols: list[str] | None = None) -> bytes:
        """Everything that is answered to some bytes and the end of them."""
        reader, writer = await self.connect(tls_protocols)
        writer.write(data)
        if writer.can_write_eof():
            writer.write_eof()
        if tls_protocols is None:
            answer = await reader.read()
        else:
            answer = await reader.readuntil(b":") + await reader.readexactly(len(data))
        writer.close()
        return answer


@contextlib.asynccontextmanager
async def opened(*roles: str, host: str = HOST) -> AsyncIterator[Front]:
    with tempfile.TemporaryDirectory(prefix="omni-") as name:
        folder, now = Path(name), datetime.now(UTC)
        authority = pki.kubernetes_ca(now)
        identity = pki.kube_apiserver(authority, now, [ip_address(HOST)])
        front = Front(free_port(socket.SOCK_STREAM), folder, authority.crt)

        def server(role: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]:
            async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                front.callers.append(caller_of(writer.get_extra_info("peername")))
                writer.write(f"{role}:".encode())
                while data := await reader.read(65536):
                    if data.startswith(b"bye"):
                        break
                    writer.write(data)
                writer.close()

            return echo

        servers = [await asyncio.start_unix_server(server(role), str(folder / role)) for role in roles]  # type: ignore[arg-type]
        front.public = PublicPort(
            lambda: tls.server_context(identity), *(on_socket(folder / role) for role in ("web", "grpc", "kubernetes"))
        )
        serving = asyncio.create_task(front.public.serve(host, front.port))
        await asyncio.sleep(0)  # it listens before it waits
        try:
            yield front
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            for one in servers:
                one.close()


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.01)


BOTH = ("web", "grpc")
ALL = (*BOTH, "kubernetes")


@pytest.mark.parametrize(
    ("protocols", "role"),
    [(["h2"], "grpc"), (["http/1.1"], "web"), ([], "web"), (["acme-tls/1"], "web")],
)
async def test_inside_tls_the_protocol_decides(protocols: list[str], role: str) -> None:
    async with opened(*BOTH) as front:
        if protocols == ["acme-tls/1"]:
            with contextlib.suppress(ssl.SSLError):  # some versions of OpenSSL end the handshake instead
                assert (await front.say(GET, protocols)).startswith(b"web:")
            return
        assert (await front.say(GET, protocols)).startswith(f"{role}:".encode())
        assert front.callers[0] is not None
        assert (front.callers[0].scheme, front.callers[0].address) == ("https", HOST)


async def test_without_tls_grpc_is_told_by_its_preface() -> None:
    async with opened(*BOTH) as front:
        assert await front.say(PREFACE) == b"grpc:" + PREFACE
        assert front.callers[0] is not None
        assert (front.callers[0].scheme, front.callers[0].address) == ("http", HOST)


async def test_plain_http_is_relayed_on_loopback() -> None:
    async with opened(*BOTH) as front:
        assert await front.say(GET) == b"web:" + GET


async def test_first_bytes_may_come_in_pieces() -> None:
    async with opened(*BOTH) as front:
        for data, role in ((PREFACE, b"grpc:"), (GET, b"web:")):
            reader, writer = await front.connect()
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in data[:5]:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.01)
            writer.write(data[5:])
            writer.write_eof()
            assert await reader.read() == role + data
            writer.close()


@pytest.mark.parametrize("tls_protocols", [None, ["http/1.1"]])
async def test_when_the_server_ends_the_client_hears_of_it(tls_protocols: list[str] | None) -> None:
    """A server that closes an idle connection must not leave the browser with a dead one."""
    async with opened(*BOTH) as front:
        reader, writer = await front.connect(tls_protocols)
        writer.write(b"bye and more")
        async with asyncio.timeout(5):
            assert await reader.read() == b"web:"
        writer.close()


async def test_who_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "FIRST_BYTES_TIMEOUT", 0.1)
    async with opened(*BOTH) as front:
        for start in (b"", b"GE", b"\x16", b"\x16\x03\x01\x02\x00"):
            reader, writer = await front.connect()
            writer.write(start)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        assert front.callers == []
        assert await front.say(GET) == b"web:" + GET


@pytest.mark.parametrize(
    "data", [b"\x16garbage that is no handshake at all" * 10, b"\x16\x03\x01\xff\xff" + b"\0" * 9000]
)
async def test_garbage_ends_the_connection_and_nothing_else(data: bytes) -> None:
    async with opened(*BOTH) as front:
        reader, writer = await front.connect()
        writer.write(data)
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        assert front.callers == []
        assert await front.say(GET) == b"web:" + GET


async def test_who_closes_at_once_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(*BOTH) as front:
        for _ in range(20):
            _, writer = await front.connect()
            writer.transport.abort()
        assert await front.say(GET) == b"web:" + GET
    assert "public port" not in caplog.text


async def test_while_the_web_process_starts() -> None:
    async with opened("grpc") as front:
        answer = await front.say(GET)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Try again shortly" in answer
        assert await front.say(PREFACE) == b"grpc:" + PREFACE


async def test_while_the_grpc_server_starts() -> None:
    async with opened("web") as front:
        with contextlib.suppress(ConnectionResetError):
            assert await front.say(PREFACE) == b""


SERIAL = UUID("0198c0de-0000-7000-8000-00000000cafe")


async def test_a_client_certificate_is_told_by_its_serial_number() -> None:
    async with opened(*ALL) as front:
        one, other = Authority(), Authority()  # of the same name
        front.public.trust([one.pem, other.pem])
        for authority, serial in ((one, SERIAL.int), (other, SERIAL.int + 1), (one, 2**159 - 1)):
            shown = await front.shows(authority.give(front.context(["h2"]), serial))
            assert shown == f"{serial:032x}"
        assert await front.shows(one.give(front.context(["h2"]), SERIAL.int)) == SERIAL.hex


async def test_nobody_needs_a_client_certificate() -> None:
    async with opened(*ALL) as front:
        front.public.trust([Authority().pem])
        assert await front.shows(front.context(["h2"])) == ""


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
async def test_browsers_are_not_asked_for_a_certificate(protocols: list[str]) -> None:
    """A foreign certificate would end the handshake if it were shown."""
    async with opened(*ALL) as front:
        front.public.trust([Authority().pem])
        context = Authority().give(front.context(protocols), 7)
        _, writer = await asyncio.open_connection(HOST, front.port, ssl=context)
        writer.write(GET)
        await until(lambda: bool(front.callers))
        assert front.callers[0] is not None
        assert front.callers[0].certificate == ""
        writer.close()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda known: (Authority(), {}), "unable to get local issuer certificate"),
        (lambda known: (Authority("somebody else"), {}), "unable to get local issuer certificate"),
        (lambda known: (known, {"hours": 0}), "certificate has expired"),
        (lambda known: (known, {"server": True}), "unsuitable certificate purpose"),
    ],
)
async def test_a_certificate_that_does_not_count(
    make: Callable[[Authority], tuple[Authority, dict[str, Any]]], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends in the handshake, is told once, and others go on."""
    caplog.set_level("INFO")
    async with opened(*ALL) as front:
        known = Authority()
        front.public.trust([known.pem])
        authority, given = make(known)
        context = authority.give(front.context(["h2"]), 7, **given)
        for _ in range(3):
            with pytest.raises(OSError):
                await front.shows(context)
        assert front.callers == []
        assert await front.shows(known.give(front.context(["h2"]), 8)) == f"{8:032x}"
    said = [record.message for record in caplog.records if "certificate shown by" in record.message]
    assert len(said) == 1
    assert reason in said[0]
    assert {record.levelname for record in caplog.records} <= {"INFO"}


async def test_an_authority_that_left_counts_no_more() -> None:
    async with opened(*ALL) as front:
        staying, leaving = Authority(), Authority()
        front.public.trust([staying.pem, b"no certificate", leaving.pem])
        contexts = [authority.give(front.context(["h2"]), 7) for authority in (staying, leaving)]
        for context in contexts:
            assert await front.shows(context) == f"{7:032x}"
        front.public.trust([staying.pem])
        assert await front.shows(contexts[0]) == f"{7:032x}"
        with pytest.raises(OSError):
            await front.shows(contexts[1])


async def test_authorities_follow_the_database(organisation: Organisation, transactional_db: None) -> None:
    trusted: asyncio.Queue[list[bytes]] = asyncio.Queue()
    authorities = Authorities(trusted.put_nowait)
    await authorities.load()
    assert trusted.empty()

    def make() -> None:
        with tenant_scope(organisation.id):
            AuthorityRow.objects.create(organisation=organisation, certificate=b"PEM", sealed_key=b"sealed")

    await in_thread(make)
    following = asyncio.create_task(authorities.run())
    async with asyncio.timeout(10):
        assert await trusted.get() == [b"PEM"]
    authorities.look()
    await asyncio.sleep(0.2)
    assert trusted.empty()  # nothing changed
    following.cancel()


@pytest.mark.parametrize("secure", [False, True])
async def test_the_first_request_decides_who_answers(secure: bool) -> None:
    async with opened(*ALL) as front:
        for path, role in (
            ("/k8s/acme/prod/api", "kubernetes"),
            ("/k8s/", "kubernetes"),
            ("/k8s", "web"),
            ("/k8sx/", "web"),
            ("/x/k8s/", "web"),
            ("//k8s/", "web"),
            ("https://omni.example.com/k8s/", "web"),
        ):
            request = f"PATCH {path} HTTP/1.1\r\nHost: omni.example.com\r\n\r\n".encode()
            assert await front.say(request, ["http/1.1"] if secure else None) == role.encode() + b":" + request


@given(cut=st.integers(0, 12), method=st.sampled_from(["GET", "POST", "DELETE", "OPTIONS"]))
def test_a_part_of_a_request_decides_nothing_wrong(cut: int, method: str) -> None:
    request = f"{method} /k8s/a/b HTTP/1.1\r\n".encode()
    assert is_for_kubernetes(request[:cut]) in (None, True)
    assert is_for_kubernetes(request) is True


@pytest.mark.parametrize("data", [b"\n", b"nonsense\r\n /k8s/", b"x" * 20, b"GET /\r\n", b"GET  /k8s/", b" GET /k8s/"])
def test_what_is_no_request_goes_to_the_web_process(data: bytes) -> None:
    assert is_for_kubernetes(data) is False


async def test_who_offers_http2_and_http1_gets_http2() -> None:
    """A browser: it is not asked for a certificate, and each of its requests goes where it belongs."""
    callers = []

    def server(role: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            callers.append(caller_of(writer.get_extra_info("peername")))
            await says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(role), role))(reader, writer)

        return take

    async with opened() as front:
        front.public.trust([Authority().pem])
        for role in ("web", "kubernetes"):
            await asyncio.start_unix_server(server(role.encode()), str(front.folder / role))  # type: ignore[arg-type]
        context = Authority().give(front.context(["h2", "http/1.1"]), 7)
        client = Client(await asyncio.open_connection(HOST, front.port, ssl=context))
        for path, body in (("/", b"web"), ("/k8s/acme/prod/api", b"kubernetes"), ("/k8s", b"web")):
            answer = await client.ask("GET", path)
            assert (answer.status, answer.body) == (200, body)
        await client.close()
    assert len(callers) == 2
    assert {(caller.scheme, caller.address, caller.certificate) for caller in callers if caller} == {
        ("https", HOST, "")
    }


async def test_http2_while_the_web_process_starts() -> None:
    async with opened() as front:
        client = Client(await front.connect(["h2", "http/1.1"]))
        answer = await client.ask()
        assert answer.status == 503
        assert b"Try again shortly" in answer.body
        await client.close()


async def test_while_the_kubernetes_proxy_starts() -> None:
    async with opened(*BOTH) as front:
        answer = await front.say(b"GET /k8s/acme/prod/version HTTP/1.1\r\nHost: omni.example.com\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Try again shortly" in answer


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every caller is from another network."""
    monkeypatch.setattr(public, "_plain", lambda address: "192.0.2.7")


async def test_plain_http_from_elsewhere_is_sent_to_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(monkeypatch)
    async with opened(*BOTH) as front:
        answer = await front.say(b"GET /a?b=c HTTP/1.1\r\nHost: omni.example.com:8443\r\nCookie: secret\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 308 ")
        assert b"\r\nLocation: https://omni.example.com:8443/a?b=c\r\n" in answer
        assert b"secret" not in answer
        assert front.callers == []
        assert await front.say(PREFACE) == b"grpc:" + PREFACE


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nSet-Cookie: b\r\n\r\n",
        b"GET /\nSet-Cookie:b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_what_cannot_be_redirected(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    elsewhere(monkeypatch)
    async with opened(*BOTH) as front:
        answer = await front.say(data)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"Set-Cookie" not in answer


async def test_an_endless_head_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(monkeypatch)
    async with opened(*BOTH) as front:
        reader, writer = await front.connect()
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(b"X: " + b"y" * 10_000 + b"\r\n")
                await writer.drain()
            assert await reader.read() == b""
        writer.close()


async def test_connections_beyond_the_limit_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "CONNECTION_LIMIT", 1)
    async with opened(*BOTH) as front:
        first, writer = await front.connect()
        writer.write(GET)
        assert await first.readexactly(4) == b"web:"
        second = asyncio.create_task(front.say(GET))
        done, _ = await asyncio.wait({second}, timeout=0.1)
        assert not done
        writer.close()
        assert await second == b"web:" + GET


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this kernel has no IPv6")
async def test_the_ipv6_wildcard_takes_ipv4_too() -> None:
    async with opened(*BOTH, host="::") as front:
        assert await front.say(GET) == b"web:" + GET
        assert front.callers[0] is not None
        assert front.callers[0].address == HOST


def test_addresses_as_people_write_them() -> None:
    assert public._plain("::ffff:192.0.2.7") == "192.0.2.7"
    assert public._plain("fe80::1%eth0") == "fe80::1"
    assert public._plain("2001:DB8::1") == "2001:db8::1"
