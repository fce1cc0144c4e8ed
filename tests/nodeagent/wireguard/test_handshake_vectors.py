"""Handshake, cookie and transport bytes against values that wireguard-go accepted field by field."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from nodeagent.wireguard import cookie, noise


def private(byte: int) -> bytes:
    key = bytearray([byte] * 32)
    key[0] &= 248
    key[31] = key[31] & 127 | 64
    return bytes(key)


INITIATOR = noise.Identity(private(0x11))
RESPONDER = noise.Identity(private(0x22))
INITIATOR_EPHEMERAL = X25519PrivateKey.from_private_bytes(private(0x33))
RESPONDER_EPHEMERAL = X25519PrivateKey.from_private_bytes(private(0x44))
PRESHARED = bytes([0x55] * 32)
COOKIE = bytes([0x66] * 16)
LABEL = bytes.fromhex("400000006b49d20a00000000")
INITIATION = bytes.fromhex(
    "01000000040302017b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b1481e498317da959fba46669572516a5e6"
    "c021bfa620bb6c56ca0082e1feae14988c2c64d024c617734a263f76a008df04d0f94bad80fd7dc8e1c269552695f9208423b102638603fe"
    "6bca59723482e2685842e5323761c12271a88c5d" + "00" * 16
)
RESPONSE = bytes.fromhex(
    "020000000d0c0b0a04030201ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b2ba4794816b02bf91155ee7b"
    "313ded3aa269f52c8fcea71068f21f6e09068cc1" + "00" * 16
)
TO_RESPONDER = bytes.fromhex("a007faf842d83f5bd3be20a14e0ffcec34c84867b78b051980602713205922de")
TO_INITIATOR = bytes.fromhex("d982d5cd10d34a7802b6c19fa441cd9164d70e4f4d62007ab416879ee8bd1b99")
COOKIE_REPLY = bytes.fromhex(
    "0300000004030201000102030405060708090a0b0c0d0e0f10111213141516177c57851bedad0fbdbae90ec658d2734db5bd25b585719eee"
    "486c98719e987627"
)


def initiation() -> tuple[bytes, noise.SentInitiation]:
    shared = INITIATOR.shared_with(RESPONDER.public)
    return noise.create_initiation(INITIATOR, RESPONDER.public, shared, 0x01020304, LABEL, INITIATOR_EPHEMERAL)


def test_public_keys():
    assert INITIATOR.public.hex() == "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"
    assert RESPONDER.public.hex() == "0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20"


def test_timestamp():
    assert noise.timestamp(0x6B49D200 * 10**9) == LABEL
    assert noise.timestamp(123456789)[8:] == bytes.fromhex("07000000")


def test_initiation():
    message, sent = initiation()
    assert cookie.sign(message, RESPONDER.public, None) == INITIATION
    assert sent.chain.hex() == "24eca314409f2ca9ccbf8d50ebb72b7235d67ed11b21eeefc67942a2596df51e"
    assert sent.transcript.hex() == "594f672dd28ed4ecffb3e1fc378e0f2cffbe2b94541990b6c60d6cd761b1263c"
    received = noise.read_initiation(RESPONDER, INITIATION)
    assert received.static == INITIATOR.public
    assert received.authenticate(RESPONDER.shared_with(INITIATOR.public)) == LABEL
    assert (received.chain, received.transcript) == (sent.chain, sent.transcript)


def test_response_and_keys():
    received = noise.read_initiation(RESPONDER, INITIATION)
    received.authenticate(RESPONDER.shared_with(INITIATOR.public))
    message, responder_keys = noise.create_response(received, 0x0A0B0C0D, RESPONDER_EPHEMERAL, PRESHARED)
    assert cookie.sign(message, INITIATOR.public, None) == RESPONSE
    assert (responder_keys.receive, responder_keys.send) == (TO_RESPONDER, TO_INITIATOR)
    _, sent = initiation()
    assert noise.read_response(INITIATOR, sent, RESPONSE, PRESHARED) == noise.SessionKeys(
        TO_RESPONDER, TO_INITIATOR, 0x01020304, 0x0A0B0C0D, True
    )


@pytest.mark.parametrize("at", [8, 40, 90])
def test_forged_initiation_is_refused(at):
    forged = bytearray(INITIATION)
    forged[at] ^= 1
    with pytest.raises(noise.InvalidMessage):
        noise.read_initiation(RESPONDER, bytes(forged)).authenticate(RESPONDER.shared_with(INITIATOR.public))


def test_forged_response_is_refused():
    _, sent = initiation()
    with pytest.raises(noise.InvalidMessage):
        noise.read_response(INITIATOR, sent, RESPONSE, bytes(32))
    with pytest.raises(noise.InvalidMessage):
        noise.read_response(INITIATOR, sent, RESPONSE[:12] + bytes(32) + RESPONSE[44:], PRESHARED)


def test_macs():
    key = cookie.mac1_key(RESPONDER.public)
    assert cookie.has_valid_mac1(INITIATION, key)
    assert not cookie.has_valid_mac1(b"\2" + INITIATION[1:], key)
    signed = cookie.sign(INITIATION[:116], RESPONDER.public, COOKIE)
    assert signed[132:].hex() == "acc68336e19b9d27cf5cc8eabc3b2c64"
    assert cookie.has_valid_mac2(signed, COOKIE)
    assert not cookie.has_valid_mac2(INITIATION, COOKIE)


def test_cookie_reply():
    key = noise.hash_of(b"cookie--", RESPONDER.public)
    nonce = bytes(range(24))
    mac1 = cookie.mac1_of(INITIATION)
    assert cookie.create_cookie_reply(key, INITIATION[4:8], nonce, COOKIE, mac1) == COOKIE_REPLY
    assert cookie.open_cookie_reply(COOKIE_REPLY, RESPONDER.public, mac1) == COOKIE
    with pytest.raises(noise.InvalidMessage):
        cookie.open_cookie_reply(COOKIE_REPLY, RESPONDER.public, bytes(16))


def test_cookie_depends_on_address_and_time():
    secrets = iter(range(1, 10))
    jar = cookie.CookieJar(RESPONDER.public, random_bytes=lambda size: bytes([next(secrets)] * size))
    first = jar.cookie(0.0, b"192.0.2.1")
    assert jar.cookie(cookie.COOKIE_LIFE - 1, b"192.0.2.1") == first
    assert jar.cookie(1.0, b"192.0.2.2") != first
    assert jar.cookie(cookie.COOKIE_LIFE, b"192.0.2.1") != first


def test_transport_message_bytes():
    data = ChaCha20Poly1305(TO_RESPONDER).encrypt(bytes(4) + (1).to_bytes(8, "little"), bytes(16), None)
    assert data.hex() == "c81cd7aab3b14856178d13ab4ed0ffa0afe1e3dbc5963b9b6be960feef31284f"
