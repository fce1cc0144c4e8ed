"""Sealing what nodes publish, and opening what a service relays, whoever made it."""

import contextlib
from ipaddress import ip_address, ip_interface

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from kubespan import affiliates
from kubespan.affiliates import Affiliate, ControlPlanePart, Endpoint, KubeSpanPart, Unreadable
from kubespan.crypto import ClusterKey, parse_secret
from talos.gen.sidero import discovery_affiliate_pb2 as pb

SECRET = bytes(range(32))
KEY = ClusterKey(SECRET)

addresses = st.ip_addresses()
ports = st.integers(0, 65535)
endpoints = st.builds(Endpoint, addresses, ports)
text = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-é", max_size=20)
prefixes = addresses.flatmap(lambda ip: st.integers(0, ip.max_prefixlen).map(lambda bits: ip_interface(f"{ip}/{bits}")))
prefix_lists = st.lists(prefixes, max_size=3).map(tuple)
described = st.builds(
    Affiliate,
    text,
    st.lists(addresses, max_size=4).map(tuple),
    text,
    text,
    text,
    text,
    st.none() | st.builds(KubeSpanPart, text, st.none() | addresses, prefix_lists, prefix_lists),
    st.none() | st.builds(ControlPlanePart, ports),
)


@given(described)
def test_a_description_comes_back(affiliate):
    assert KEY.open(KEY.seal(affiliate)) == affiliate


@given(endpoints)
def test_an_endpoint_comes_back_and_is_always_the_same_bytes(endpoint):
    sealed = KEY.seal_endpoint(endpoint)
    assert sealed == ClusterKey(SECRET).seal_endpoint(endpoint)
    assert len(sealed) == (16 if endpoint.ip.version == 4 else 32)
    assert KEY.open_endpoint(sealed) == endpoint
    assert Endpoint.parse(str(endpoint)) == endpoint


@given(st.binary(max_size=80))
def test_whatever_is_relayed_is_opened_or_refused(data):
    for opened in (KEY.open, KEY.open_endpoint, affiliates.decode, affiliates.decode_endpoint):
        with contextlib.suppress(Unreadable):
            opened(data)


@given(st.binary(min_size=32, max_size=32))
def test_what_is_sealed_in_an_endpoint_is_an_endpoint_or_refused(plain):
    cipher = Cipher(AES256(SECRET), ECB()).encryptor()
    try:
        read = KEY.open_endpoint(cipher.update(plain) + cipher.finalize())
    except Unreadable:
        return
    assert plain[1 : 1 + plain[0]] + bytes(31 - plain[0]) == plain[1:]
    assert read == affiliates.decode_endpoint(plain[1 : 1 + plain[0]])


def sealed_block(plain: bytes) -> bytes:
    cipher = Cipher(AES256(SECRET), ECB()).encryptor()
    return cipher.update(plain) + cipher.finalize()


MESSAGE = affiliates.encode_endpoint(Endpoint(ip_address("10.0.0.2"), 51820))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        bytes(16),  # its first byte says 109
        bytes(range(48)),  # sealed with nothing
        sealed_block(bytes(16)),  # nothing in it
        sealed_block(bytes((15,)) + MESSAGE + bytes(5)),  # zeros belong to the message
        sealed_block(bytes((200,)) + MESSAGE + bytes(5)),  # longer than there is
        sealed_block(bytes((10,)) + MESSAGE + b"\0\0\0\0\1"),  # padding that is none
        sealed_block(bytes((10,)) + MESSAGE + bytes(21)),  # a block too many
        sealed_block(bytes((4,)) + b"\x0a\x02\1\2" + bytes(11)),  # an address of two bytes
        sealed_block(bytes((10,)) + MESSAGE[:6] + b"\x10\xff\xff\x07" + bytes(5)),  # port 131071
    ],
)
def test_an_endpoint_that_is_none_is_refused(data):
    with pytest.raises(Unreadable):
        KEY.open_endpoint(data)


def test_each_sealing_has_a_nonce_of_its_own():
    affiliate = Affiliate("a")
    assert KEY.seal(affiliate)[:12] != KEY.seal(affiliate)[:12]


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: data[:20], lambda data: data[:-1] + b"x"])
def test_spoiled_data_is_refused(spoil):
    with pytest.raises(Unreadable):
        KEY.open(spoil(KEY.seal(Affiliate("a"))))


def test_another_clusters_data_is_refused():
    with pytest.raises(Unreadable, match="this cluster's secret"):
        KEY.open(ClusterKey(bytes(32)).seal(Affiliate("a")))


def test_what_is_no_address_is_left_out():
    message = pb.Affiliate(
        node_id="a",
        addresses=[b"\x0a\0\0\2", b"\1\2\3", b"", b"\xfe\x80" + bytes(14) + b"%eth0"],
        kubespan=pb.KubeSpan(
            public_key="k",
            address=b"\1",
            additional_addresses=[
                pb.IPPrefix(ip=b"\x0a\0\0\0", bits=33),
                pb.IPPrefix(ip=b"\x0a", bits=8),
                pb.IPPrefix(ip=b"\x0a\1\2\3", bits=16),
            ],
        ),
    )
    newer = message.SerializeToString() + b"\xa2\x06\x03new"  # a field of tomorrow
    assert affiliates.decode(newer) == Affiliate(
        "a", (ip_address("10.0.0.2"),), kubespan=KubeSpanPart("k", None, (ip_interface("10.1.2.3/16"),))
    )


@pytest.mark.parametrize(
    "wrong", ["", "1.2.3.4", "1.2.3.4:", "1.2.3.4:x", "::1:5", "[1.2.3.4]:5", "1.2.3.4:65536", "h:1"]
)
def test_a_text_that_is_no_endpoint_is_refused(wrong):
    with pytest.raises(ValueError, match="write IP:PORT"):
        Endpoint.parse(wrong)


@pytest.mark.parametrize("wrong", ["", "c2VjcmV0", "not base64 at all", "AA" * 40])
def test_a_secret_that_is_none_is_refused_without_repeating_it(wrong):
    with pytest.raises(ValueError, match="cluster's secret") as raised:
        parse_secret(wrong)
    assert not wrong or wrong not in str(raised.value)


def test_a_secret_is_base64_of_32_bytes():
    assert parse_secret("q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n").hex().startswith("abcdef12")
    with pytest.raises(ValueError, match="32 bytes"):
        ClusterKey(b"short")
