"""How an agent gets to its server: URLs, trust, proxies."""

import asyncio
import base64
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from nodeagent import tls
from nodeagent.dial import join
from nodeagent.tunnel.reach import Address, Proxy, Trust, Untrusted, Way, proxy_for
from talos import pki
from talos.pem import CertKey
from tests.nodeagent.tunnel.lab import HOST, PATIENCE, lab


def fingerprint(pem: bytes) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest()


@dataclass
class Authority:
    """An authority and what it issued for a host, shown with the authority or alone."""

    ca: CertKey = field(default_factory=lambda: pki.kubernetes_ca(datetime.now(UTC)))

    def issue(self, host: str = HOST, chain: bool = True) -> CertKey:
        leaf = pki.kube_apiserver(self.ca, datetime.now(UTC), [ip_address(host)])
        return CertKey(leaf.crt + self.ca.crt if chain else leaf.crt, leaf.key)


@contextlib.asynccontextmanager
async def serving(identity: CertKey, protocol: str = "h2") -> AsyncIterator[Address]:
    """Something with a certificate that sends its protocol's name and leaves."""
    context = tls.server_context(identity)
    context.set_alpn_protocols([protocol])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0, ssl=context)
    try:
        yield Address(HOST, server.sockets[0].getsockname()[1], secure=True)
    finally:
        server.close()


async def greeted(way: Way) -> bytes:
    wire = await asyncio.wait_for(way.open(), PATIENCE)
    try:
        return await asyncio.wait_for(wire.read(), PATIENCE)
    finally:
        wire.close()


@pytest.mark.parametrize("chain", [True, False])
async def test_an_authority_proves_what_it_issued(chain: bool) -> None:
    authority = Authority()
    async with serving(authority.issue(chain=chain)) as address:
        assert await greeted(Way(address, Trust(ca=authority.ca.crt.decode()))) == b"hello"


async def test_system_roots_do_not_know_a_private_authority() -> None:
    async with serving(Authority().issue()) as address:
        with pytest.raises(Untrusted, match=r"certificate is not accepted: .*; for an authority of its own give --ca"):
            await greeted(Way(address, Trust()))


async def test_another_authority_proves_nothing() -> None:
    async with serving(Authority().issue()) as address:
        with pytest.raises(Untrusted, match="certificate is not accepted"):
            await greeted(Way(address, Trust(ca=Authority().ca.crt.decode())))


async def test_a_certificate_is_for_its_names() -> None:
    authority = Authority()
    async with serving(authority.issue("192.0.2.7")) as address:
        for trust in (Trust(ca=authority.ca.crt.decode()), Trust(fingerprint=fingerprint(authority.ca.crt))):
            with pytest.raises(Untrusted, match="certificate is not accepted: IP address mismatch"):
                await greeted(Way(address, trust))


async def test_the_fingerprint_of_the_authority_is_enough() -> None:
    authority = Authority()
    async with serving(authority.issue()) as address:
        shown = fingerprint(authority.ca.crt).upper()
        colons = ":".join(shown[index : index + 2] for index in range(0, 64, 2))
        for text in (shown, colons, f"sha256:{shown.lower()}"):
            assert await greeted(Way(address, Trust(fingerprint=text))) == b"hello"


async def test_the_fingerprint_of_the_certificate_is_enough_whatever_its_names() -> None:
    identity = Authority().issue("192.0.2.7", chain=False)
    async with serving(identity) as address:
        assert await greeted(Way(address, Trust(fingerprint=fingerprint(identity.crt)))) == b"hello"


async def test_another_fingerprint_is_refused_and_what_is_shown_is_said() -> None:
    authority = Authority()
    async with serving(authority.issue()) as address:
        with pytest.raises(Untrusted, match=f"it shows .*{fingerprint(authority.ca.crt)}"):
            await greeted(Way(address, Trust(fingerprint="ab" * 32)))


async def test_a_known_authority_beside_a_certificate_of_another_proves_nothing() -> None:
    """Anybody can send the certificate of an authority along."""
    known, other = Authority(), Authority()
    identity = other.issue(chain=False)
    async with serving(CertKey(identity.crt + known.ca.crt, identity.key)) as address:
        with pytest.raises(Untrusted, match="certificate is not accepted"):
            await greeted(Way(address, Trust(fingerprint=fingerprint(known.ca.crt))))


async def test_what_does_not_speak_http_2_is_named() -> None:
    authority = Authority()
    async with serving(authority.issue(), "http/1.1") as address:
        with pytest.raises((Untrusted, ssl.SSLError), match=r"does not speak HTTP/2|NO_APPLICATION_PROTOCOL"):
            await greeted(Way(address, Trust(ca=authority.ca.crt.decode())))


@pytest.mark.parametrize("given", ["", "zz" * 32, "ab" * 20, "ab" * 33])
def test_fingerprints_that_are_none(given: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        Trust(fingerprint=given)


def test_one_kind_of_trust_at_a_time() -> None:
    with pytest.raises(ValueError, match="not both"):
        Trust(ca=Authority().ca.crt.decode(), fingerprint="ab" * 32)


def test_a_file_that_is_no_authority() -> None:
    with pytest.raises(ValueError, match="holds no certificate"):
        Trust(ca="-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://omni.example.com", Address("omni.example.com", 443, True)),
        ("https://omni.example.com:8443/", Address("omni.example.com", 8443, True)),
        ("omni.example.com:8443", Address("omni.example.com", 8443, True)),
        ("https://[2001:db8::1]:8443", Address("2001:db8::1", 8443, True)),
        ("http://127.0.0.1:8443", Address("127.0.0.1", 8443, False)),
        ("http://localhost", Address("localhost", 80, False)),
        ("grpc://omni.example.com:8443", Address("omni.example.com", 8443, False)),
    ],
)
def test_urls(url: str, expected: Address) -> None:
    assert Address.parse(url) == expected


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://omni.example.com", "would show the token to everybody"),
        ("ftp://omni.example.com", "ftp:// is not spoken here"),
        ("https://", "is not a server's URL"),
        ("https://omni.example.com/o/acme", "is not a server's URL"),
        ("https://me:secret@omni.example.com", "is not a server's URL"),
        ("https://omni.example.com:notaport", "has no port"),
        ("https://omni.example.com:70000", "has no port"),
    ],
)
def test_urls_that_are_refused(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as refused:
        Address.parse(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "proxied"),
    [
        ({}, False),
        ({"HTTPS_PROXY": "http://proxy:3128"}, True),
        ({"https_proxy": "proxy:3128"}, True),
        ({"HTTPS_PROXY": "http://other:1", "https_proxy": ""}, False),  # the lower case goes first, as with curl
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "example.com"}, True),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost, 10.1.2.3"}, False),
        ({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "10.0.0.0/8,example.com"}, False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "10.2.0.0/16"}, True),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, False),
    ],
)
def test_which_proxy_the_environment_names(environment: dict[str, str], proxied: bool) -> None:
    found = proxy_for(Address("10.1.2.3", 443, True), environment)
    assert found == (Proxy("proxy", 3128) if proxied else None)


def test_names_are_kept_off_the_proxy_by_suffix() -> None:
    environment = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".example.com"}
    assert proxy_for(Address("omni.example.com", 443, True), environment) is None
    assert proxy_for(Address("omni.example.net", 443, True), environment) is not None


def test_a_proxy_that_cannot_be_used_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match="is not an http:// URL") as refused:
        Proxy.parse("socks5://me:secret@proxy:1080")
    assert "secret" not in str(refused.value)
    assert "secret" not in repr(Proxy.parse("http://me:secret@proxy:1080"))


@contextlib.asynccontextmanager
async def proxying(answer: bytes | None = None) -> AsyncIterator[tuple[int, list[str]]]:
    """A proxy that remembers what it was asked; with an answer it gives that and connects nobody."""
    asked: list[str] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head)
        if answer is not None:
            writer.write(answer)
            writer.close()
            return
        host, _, port = head.split()[1].rpartition(":")
        upstream = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n")
        await join((reader, writer), upstream)

    server = await asyncio.start_server(accept, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


async def test_through_a_proxy_that_asks_who_we_are() -> None:
    async with lab() as one, one.serving(), proxying() as (port, asked):
        proxy = Proxy.parse(f"http://me:s%40crit@{HOST}:{port}")
        async with one.agent(one.options("10.0.0.1", proxy=proxy)):
            await one.registry.hears("connected")
    lines = asked[0].split("\r\n")
    assert lines[0] == f"CONNECT {HOST}:{one.port} HTTP/1.1"
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:s@crit').decode()}" in lines


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "does not let us through to .*: 407 Proxy Auth"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno.", "does not let us through to .*: 403 Forbidden"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "gave no answer that HTTP knows"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 20_000, "gave no answer that HTTP knows"),
        (b"", "gave no answer that HTTP knows"),
    ],
)
async def test_a_proxy_that_says_no(answer: bytes, text: str) -> None:
    async with proxying(answer) as (port, _):
        with pytest.raises(OSError, match=text):
            await Way(Address(HOST, 1, True), Trust(), Proxy(HOST, port)).open()


async def test_a_proxy_that_is_not_there() -> None:
    with pytest.raises(OSError, match=rf"the proxy {HOST}:1 cannot be reached: Connection refused"):
        await Way(Address(HOST, 1, True), Trust(), Proxy(HOST, 1)).open()
