"""What machines find on our overlay address: event sink, kernel log receiver, trustd."""

import asyncio
import json
import ssl
from datetime import UTC, datetime
from ipaddress import ip_address

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from nodeagent import tls
from nodeagent.siderolink import trustd
from nodeagent.siderolink.events import read_payload
from nodeagent.siderolink.kmsg import LINE_LIMIT, LineSplitter
from nodeagent.tls import Credentials
from talos import pki, siderolink
from talos.gen import security_pb2, security_pb2_grpc
from talos.gen.machine import machine_pb2
from talos.gen.sidero import events_pb2, events_pb2_grpc
from tests.nodeagent.siderolink.world import MACHINE, SERVER, Ports, World, world
from tests.nodeagent.tlsbridge import TlsBridge

NOW = datetime.now(UTC)


# --- events -------------------------------------------------------------------------------------------------------


async def publish(here: World, request: events_pb2.EventRequest) -> None:
    async with here.engine.door(siderolink.API_PORT) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await events_pb2_grpc.EventSinkServiceStub(channel).Publish(request)


def event(**fields: str) -> events_pb2.EventRequest:
    request = events_pb2.EventRequest(**fields)
    request.data.Pack(machine_pb2.SequenceEvent(sequence="boot", action=machine_pb2.SequenceEvent.START))
    return request


async def test_an_event_arrives_with_the_machines_address() -> None:
    async with world() as here:
        await publish(here, event(id="c0", actor_id="a"))
        ((address, identifier, payload, type_url),) = here.ports.events
        assert (address, identifier, type_url) == (MACHINE, "c0", "type.googleapis.com/machine.SequenceEvent")
        assert isinstance(payload, machine_pb2.SequenceEvent)
        assert payload.sequence == "boot"


async def test_events_we_do_not_know_are_acknowledged() -> None:
    async with world() as here:
        request = event(id="1")
        request.data.type_url = "type.googleapis.com/machine.FromTheFuture"
        await publish(here, request)
        assert here.ports.events[0][2] is None


async def test_a_machine_nobody_knows_is_told_to_try_again() -> None:
    async with world(Ports(unknown={MACHINE})) as here:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await publish(here, event(id="1"))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_an_envelope_with_a_broken_event_is_read_as_nothing() -> None:
    request = event()
    request.data.value = b"\xff"
    assert read_payload(request.data) is None


# --- kernel log ---------------------------------------------------------------------------------------------------


async def test_lines_arrive_in_order_whatever_the_packets() -> None:
    async with world() as here, here.engine.door(siderolink.LOG_PORT) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        line = json.dumps({"msg": "hello", "seq": 1}).encode()
        writer.write(line[:5])
        await writer.drain()
        writer.write(line[5:] + b"\n\nsecond\r\nthird")
        writer.write(b"\n")
        await writer.drain()
        while len(here.ports.log_lines) < 3:
            here.ports.logged.clear()
            await here.ports.logged.wait()
        assert here.ports.log_lines == [(MACHINE, line), (MACHINE, b"second"), (MACHINE, b"third")]
        writer.close()


async def test_the_join_token_of_a_command_line_is_not_passed_on() -> None:
    async with world() as here, here.engine.door(siderolink.LOG_PORT) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            rb'{"msg":"Command line: siderolink.api=grpc://omni?jointoken=s3cret\u0026grpc_tunnel=true quiet"}' + b"\n"
        )
        await here.ports.logged.wait()
        ((_, line),) = here.ports.log_lines
        assert b"s3cret" not in line
        assert json.loads(line)["msg"].endswith("●&grpc_tunnel=true quiet")
        writer.close()


async def test_a_machine_nobody_knows_is_hung_up_on() -> None:
    async with world(Ports(unknown={MACHINE})) as here, here.engine.door(siderolink.LOG_PORT) as port:
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        assert await ended(reader)


async def test_a_third_connection_of_one_machine_closes_the_first() -> None:
    async with world() as here, here.engine.door(siderolink.LOG_PORT) as port:
        streams = []
        for number in range(3):
            streams.append(await asyncio.open_connection("127.0.0.1", port))
            streams[-1][1].write(b"%d\n" % number)
            here.ports.logged.clear()
            await here.ports.logged.wait()
        assert await ended(streams[0][0])
        for _, writer in streams:
            writer.close()


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


@given(st.lists(st.binary(max_size=30)))
def test_splitting_does_not_depend_on_where_packets_end(packets: list[bytes]) -> None:
    splitter = LineSplitter()
    found = [line for packet in packets for line in splitter.feed(packet)]
    whole = b"".join(packets).split(b"\n")[:-1]
    assert found == [line for line in (piece.rstrip(b"\r") for piece in whole) if line]


def test_a_line_without_end_costs_bounded_memory() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 10_000) == []
    assert splitter.feed(b"y\nnext\n") == [b"x" * LINE_LIMIT, b"next"]


# --- trustd -------------------------------------------------------------------------------------------------------

CA = pki.talos_ca(NOW)
IDENTITY = pki.trustd_server(CA, "omni", NOW, [ip_address(SERVER)])


async def ask(here: World, csr: bytes, token: str | None = "t") -> security_pb2.CertificateResponse:
    async with here.engine.door(trustd.PORT) as port:

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection("127.0.0.1", port)

        client = Credentials(CA.crt, pki.talos_client(CA, ["os:reader"], NOW))
        async with (
            TlsBridge(connect, client, SERVER) as bridge,
            grpc.aio.insecure_channel(f"unix:{bridge.path}") as channel,
        ):
            metadata = (("token", token),) if token is not None else ()
            request = security_pb2.CertificateRequest(csr=csr)
            return await security_pb2_grpc.SecurityServiceStub(channel).Certificate(request, metadata=metadata)


async def test_a_worker_gets_its_certificate_from_its_own_clusters_authority() -> None:
    ports = Ports(certificate=(IDENTITY.crt, IDENTITY.key), signed=(CA.crt, b"signed"))
    async with world(ports) as here:
        answer = await ask(here, worker_csr())
        assert (answer.ca, answer.crt) == (CA.crt, b"signed")


@pytest.mark.parametrize(
    ("signed", "token", "code"),
    [
        (PermissionError("invalid token"), "wrong", grpc.StatusCode.PERMISSION_DENIED),
        ((b"", b""), None, grpc.StatusCode.PERMISSION_DENIED),
        (LookupError("in no cluster"), "t", grpc.StatusCode.PERMISSION_DENIED),
        (ValueError("key type"), "t", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_refusals_have_their_code(signed: object, token: str | None, code: grpc.StatusCode) -> None:
    ports = Ports(certificate=(IDENTITY.crt, IDENTITY.key), signed=signed)  # type: ignore[arg-type]
    async with world(ports) as here:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await ask(here, worker_csr(), token)
        assert error.value.code() is code


async def test_a_machine_in_no_cluster_gets_no_handshake() -> None:
    async with world() as here, here.engine.door(trustd.PORT) as port:
        context = tls.client_context(None, check_name=False)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=context)


def test_a_request_must_be_one_and_ask_for_no_role() -> None:
    trustd.check_request(worker_csr())
    with pytest.raises(ValueError, match="cannot be read"):
        trustd.check_request(b"junk")
    with pytest.raises(PermissionError, match="organisation"):
        trustd.check_request(worker_csr("os:admin"))


def worker_csr(*organizations: str) -> bytes:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, "w1")])
    request = x509.CertificateSigningRequestBuilder(subject).sign(Ed25519PrivateKey.generate(), None)
    return request.public_bytes(Encoding.PEM)
