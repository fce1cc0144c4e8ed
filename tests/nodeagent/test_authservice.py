"""Registering a key and waiting for a person, over real gRPC, with a registry in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.timestamp_pb2 import Timestamp

from nodeagent import authservice
from nodeagent.authservice import AuthServer, KeyRefused, NewKey, read_key
from nodeagent.pace import Pace
from talos import openpgp, signing
from talos.gen.omni import auth_pb2, auth_pb2_grpc

EMAIL = "a@example.com"
NOW = datetime.now(UTC)
Start = Callable[..., Awaitable[auth_pb2_grpc.AuthServiceStub]]


def key(lifetime: timedelta = timedelta(hours=4)) -> openpgp.PrivateKey:
    return openpgp.generate(f"Talos (linux/amd64) <{EMAIL}>", NOW, lifetime)


def request(public: bytes | str | None = None, email: str = EMAIL, **fields: Any) -> auth_pb2.RegisterPublicKeyRequest:
    data = key().public.armored if public is None else public
    given = auth_pb2.PublicKey(pgp_data=data.encode() if isinstance(data, str) else data)
    return auth_pb2.RegisterPublicKeyRequest(public_key=given, identity=auth_pb2.Identity(email=email), **fields)


class Registry:
    """Remembers what it was asked, accepts what it is told to."""

    def __init__(self) -> None:
        self.registered: list[tuple[str, NewKey, str]] = []
        self.revoked: list[tuple[Mapping[str, Sequence[str]], str, str]] = []
        self.good: set[str] = set()
        self.asked = asyncio.Event()

    async def register(self, email: str, key: NewKey, source: str) -> str:
        self.registered.append((email, key, source))
        return "https://omni.example.com/grant/1"

    async def accepted(self, fingerprint: str) -> bool:
        self.asked.set()
        return fingerprint in self.good

    async def revoke(self, metadata: Mapping[str, Sequence[str]], method: str, fingerprint: str, source: str) -> None:
        if "x-sidero-signature" not in metadata:
            raise KeyRefused("UNAUTHENTICATED", "invalid signature")
        self.revoked.append((metadata, method, fingerprint))


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def start(registry: Registry, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a server and gives a client of it."""
    servers: list[grpc.aio.Server] = []
    channels: list[grpc.aio.Channel] = []

    async def begin(**options: float) -> auth_pb2_grpc.AuthServiceStub:
        server = grpc.aio.server()
        begin.served = AuthServer(registry, "https://omni.example.com", **{"answer_after": 0.0, **options})
        begin.served.add_to(server)
        server.add_insecure_port(f"unix:{tmp_path}/auth.sock")
        await server.start()
        servers.append(server)
        channels.append(grpc.aio.insecure_channel(f"unix:{tmp_path}/auth.sock"))
        return auth_pb2_grpc.AuthServiceStub(channels[0])

    yield begin
    for channel in channels:
        await channel.close()
    for server in servers:
        await server.stop(None)


async def refusal(call: Awaitable[Any]) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code().name, raised.value.details() or ""


async def test_a_key_is_registered_whatever_node_the_call_names(start: Start, registry: Registry) -> None:
    made = key()
    stub = await start()
    node = (("node", "10.5.0.2"), ("runtime", "Talos"), ("nodes", "no-such-machine"))
    answer = await stub.RegisterPublicKey(request(made.public.armored, " A@Example.com "), metadata=node)
    assert (answer.login_url, answer.public_key_id) == ("https://omni.example.com/grant/1", made.public.fingerprint)
    [(email, got, _)] = registry.registered
    assert (email, got.kind, got.name, got.expires) == (EMAIL, "pgp", "Talos (linux/amd64)", made.public.expires)
    assert signing.parse_public(got.kind, got.public) == made.public


async def test_who_waits_is_woken_when_the_key_is_accepted(start: Start, registry: Registry) -> None:
    stub = await start()
    call = asyncio.ensure_future(_wait(stub, "ab" * 20))
    await registry.asked.wait()
    registry.good.add("ab" * 20)
    start.served.wake("cd" * 20)
    start.served.wake("ab" * 20)
    await asyncio.wait_for(call, 5)
    assert not start.served.awaited


async def test_who_waits_too_long(start: Start) -> None:
    stub = await start(patience=0.05)
    code, text = await refusal(stub.AwaitPublicKeyConfirmation(_id("ab" * 20)))
    assert code == "DEADLINE_EXCEEDED"
    assert "nobody accepted the key" in text
    assert not start.served.awaited


async def test_who_hangs_up_leaves_nothing(start: Start, registry: Registry) -> None:
    stub = await start()
    call = stub.AwaitPublicKeyConfirmation(_id("ab" * 20))
    task = asyncio.ensure_future(call.wait_for_connection())
    await registry.asked.wait()
    call.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        while start.served.awaited:  # until the server has heard of it
            await asyncio.sleep(0)


async def test_only_so_many_wait(start: Start, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    monkeypatch.setattr(authservice, "WAITING_OF_ONE", 1)
    stub = await start()
    first = asyncio.ensure_future(_wait(stub, "ab" * 20))
    await registry.asked.wait()
    code, _ = await refusal(stub.AwaitPublicKeyConfirmation(_id("cd" * 20)))
    assert code == "RESOURCE_EXHAUSTED"
    registry.good.add("ab" * 20)
    start.served.wake()
    await first


async def test_a_flood_of_registrations_is_slowed(start: Start, registry: Registry) -> None:
    stub = await start()
    asked = request()
    for _ in range(10):
        await stub.RegisterPublicKey(asked)
    code, text = await refusal(stub.RegisterPublicKey(asked))
    assert code == "RESOURCE_EXHAUSTED"
    assert "wait a minute" in text
    assert len(registry.registered) == 10


async def test_confirming_is_for_a_browser(start: Start) -> None:
    stub = await start()
    code, text = await refusal(stub.ConfirmPublicKey(auth_pb2.ConfirmPublicKeyRequest(public_key_id="ab" * 20)))
    assert code == "FAILED_PRECONDITION"
    assert "https://omni.example.com" in text


async def test_revoking_is_for_the_registry_to_allow(start: Start, registry: Registry) -> None:
    stub = await start()
    asked = auth_pb2.RevokePublicKeyRequest(public_key_id="ab" * 20)
    assert (await refusal(stub.RevokePublicKey(asked)))[0] == "UNAUTHENTICATED"
    metadata = (("x-sidero-signature", "x"), ("nodes", "a"), ("nodes", "b"), ("odd-bin", b"\xff"))
    await stub.RevokePublicKey(asked, metadata=metadata)
    [(seen, method, fingerprint)] = registry.revoked
    assert (seen["nodes"], method, fingerprint) == (["a", "b"], "/auth.AuthService/RevokePublicKey", "ab" * 20)
    assert "odd-bin" not in seen


@pytest.mark.parametrize("text", ["", "x" * 65, "a\x00", "ä"])
async def test_fingerprints_that_are_none(start: Start, text: str) -> None:
    stub = await start()
    assert (await refusal(stub.AwaitPublicKeyConfirmation(_id(text))))[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("email", ["", "nobody", "a@" + "b" * 260, "a@b\x00"])
async def test_addresses_that_are_none(start: Start, email: str, registry: Registry) -> None:
    stub = await start()
    assert (await refusal(stub.RegisterPublicKey(request(email=email))))[0] == "INVALID_ARGUMENT"
    assert not registry.registered


async def test_a_message_that_is_none(start: Start, tmp_path: Path) -> None:
    await start()
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/auth.sock") as channel:
        for name in ("RegisterPublicKey", "AwaitPublicKeyConfirmation", "ConfirmPublicKey", "RevokePublicKey"):
            code, text = await refusal(channel.unary_unary(f"/auth.AuthService/{name}")(b"\xff\xff"))
            assert (code, text) == ("INVALID_ARGUMENT", f"the message is not a {name}Request")


async def test_a_registry_that_fails(start: Start, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(fingerprint: str) -> bool:
        raise OSError("a secret place is away")

    monkeypatch.setattr(registry, "accepted", fail)
    code, text = await refusal((await start()).AwaitPublicKeyConfirmation(_id("ab")))
    assert code == "UNAVAILABLE"
    assert "secret" not in text


def refused(asked: auth_pb2.RegisterPublicKeyRequest) -> str:
    with pytest.raises(KeyRefused) as raised:
        read_key(asked, datetime.now(UTC))
    return f"{raised.value.code}: {raised.value}"


def test_openpgp_keys_that_are_refused() -> None:
    cases = {
        "not an OpenPGP public key": b"\xcd\x01x",
        "neither armored": b"",
        "private key": key().armored,
        "lives too long": key(timedelta(hours=9)).public.armored,
        "never expires": key(timedelta(0)).public.armored,
        "longer than 16 KiB": b"\xc6" * 20_000,
        "no e-mail address": openpgp.generate("nobody", datetime.now(UTC), timedelta(hours=1)).public.armored,
    }
    for text, data in cases.items():
        assert text in (found := refused(request(data)))
        assert found.startswith("INVALID_ARGUMENT: public_key: ")
    security_device = auth_pb2.RegisterPublicKeyRequest(public_key=auth_pb2.PublicKey(webauthn_data=b"x"))
    assert refused(security_device).startswith("UNIMPLEMENTED")
    assert refused(auth_pb2.RegisterPublicKeyRequest()).startswith("INVALID_ARGUMENT")


def test_a_name_is_fit_to_be_shown_and_text_around_the_key_is_dropped() -> None:
    made = openpgp.generate(f"a\x1b[31m\0 <{EMAIL}>", datetime.now(UTC), timedelta(hours=1))
    got = read_key(request(f"nul \0 before\n{made.public.armored}"), datetime.now(UTC))
    assert got.name == "a?[31m?"
    assert b"\0" not in got.public


def test_a_role_is_asked_for_only_where_it_is_meant() -> None:
    assert read_key(request(role="Reader"), datetime.now(UTC)).role == ""
    assert read_key(request(role="Reader", skip_user_role=True), datetime.now(UTC)).role == "reader"


def plain(begin: timedelta, end: timedelta, pem: str = "") -> auth_pb2.RegisterPublicKeyRequest:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    text = pem or public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    given = auth_pb2.PublicKey.Plain(key_pem=text, not_before=_stamp(begin), not_after=_stamp(end))
    return auth_pb2.RegisterPublicKeyRequest(public_key=auth_pb2.PublicKey(plain_key=given))


def test_a_plain_key() -> None:
    got = read_key(plain(timedelta(0), timedelta(hours=8)), NOW)
    assert got.kind == "plain"
    assert signing.parse_public(got.kind, got.public).fingerprint == got.fingerprint


def test_plain_keys_that_are_refused() -> None:
    hour = timedelta(hours=1)
    assert "too long" in refused(plain(0 * hour, 9 * hour))
    assert "after not_before" in refused(plain(hour, hour))
    assert "expired" in refused(plain(-3 * hour, -hour))
    assert "not valid yet" in refused(plain(hour, 2 * hour))
    assert "PEM" in refused(plain(0 * hour, hour, "x"))
    assert "longer than" in refused(plain(0 * hour, hour, "x" * 20_000))
    far = auth_pb2.PublicKey.Plain(key_pem=plain(0 * hour, hour).public_key.plain_key.key_pem)
    far.not_after.seconds = 1 << 60
    assert "not both times" in refused(auth_pb2.RegisterPublicKeyRequest(public_key=auth_pb2.PublicKey(plain_key=far)))


def test_a_pace_recovers_as_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("nodeagent.pace.time.monotonic", lambda: now)
    pace = Pace(burst=2, per_minute=60)
    assert [pace.allows("a") for _ in range(3)] == [True, True, False]
    assert pace.allows("b")
    now += 1
    assert [pace.allows("a") for _ in range(2)] == [True, False]
    for number in range(10_001):
        pace.allows(str(number))
    assert pace.allows("a")  # forgotten


def _stamp(later: timedelta) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(NOW + later)
    return stamp


def _id(text: str) -> auth_pb2.AwaitPublicKeyConfirmationRequest:
    return auth_pb2.AwaitPublicKeyConfirmationRequest(public_key_id=text)


async def _wait(stub: auth_pb2_grpc.AuthServiceStub, fingerprint: str) -> None:
    await stub.AwaitPublicKeyConfirmation(_id(fingerprint))
