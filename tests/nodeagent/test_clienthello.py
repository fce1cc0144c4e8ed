"""What clients offer, read from messages that OpenSSL wrote."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.clienthello import LIMIT, ClientHello, NotTls, parse


def hello(protocols: list[str], name: str | None = "omni.example.com") -> bytes:
    """The first bytes of a client."""
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    if protocols:
        context.set_alpn_protocols(protocols)
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def records(data: bytes, size: int) -> bytes:
    """The same message in records of at most `size` bytes."""
    body = data[5:]
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


@pytest.mark.parametrize("protocols", [[], ["h2"], ["http/1.1"], ["h2", "http/1.1"], ["grpc-exp", "h2"], ["x" * 255]])
def test_what_a_client_offers(protocols: list[str]) -> None:
    assert parse(hello(protocols)) == ClientHello("omni.example.com", tuple(protocols))
    assert parse(hello(protocols, name=None)) == ClientHello("", tuple(protocols))


def test_what_follows_the_message_is_not_looked_at() -> None:
    assert parse(hello(["h2"]) + b"\x14\x03\x03\x00\x01\x01") == ClientHello("omni.example.com", ("h2",))


@given(size=st.integers(30, 700))
def test_a_message_may_span_records(size: int) -> None:
    assert parse(records(HELLO, size)) == parse(HELLO)


@given(end=st.integers(0), size=st.integers(30, 700))
def test_a_part_is_incomplete(end: int, size: int) -> None:
    whole = records(HELLO, size)
    assert parse(whole[: end % len(whole)]) is None


def test_a_message_without_extensions() -> None:
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    message = b"\1" + len(body).to_bytes(3, "big") + body
    assert parse(b"\x16\3\1" + len(message).to_bytes(2, "big") + message) == ClientHello("", ())


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x02",
        b"\x16\x03\x01\x00\x00",  # an empty record
        b"\x16\x03\x01\x40\x01",  # one that is too large
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",  # a ServerHello
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",  # an empty message
        b"\x16\x03\x01\x00\x04\x01\x01\x00\x00",  # 64 kB are announced
        b"\x16\x03\x01\x00\x04\x01\x00\x3f\xff\x17",  # followed by something else
        b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfd" + bytes(LIMIT),
        records(hello(["h2"]), 1),
    ],
)
def test_what_is_no_client(data: bytes) -> None:
    with pytest.raises(NotTls):
        parse(data)


@given(data=st.binary(max_size=600), start=st.sampled_from([b"", b"\x16\x03", b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c"]))
def test_random_bytes_do_no_harm(data: bytes, start: bytes) -> None:
    judge(start + data)


@given(at=st.integers(0), byte=st.integers(0, 255))
def test_a_changed_byte_does_no_harm(at: int, byte: int) -> None:
    changed = bytearray(HELLO)
    changed[at % len(changed)] = byte
    judge(bytes(changed))


def judge(data: bytes) -> None:
    try:
        found = parse(data)
    except NotTls:
        return
    assert found is None or isinstance(found, ClientHello)


HELLO = hello(["h2", "http/1.1"])
