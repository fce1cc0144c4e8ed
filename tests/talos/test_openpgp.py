"""OpenPGP keys: what is made is read again, and whatever else is read gives a sentence, never a crash."""

import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos import openpgp
from talos.openpgp_packets import OpenPGPError, Packet, armor, dearmor, packets, subpackets
from tests.talos.vectors import DEFAULT_FOLDER

NOW = datetime(2025, 6, 15, 12, tzinfo=UTC)
KEY = openpgp.generate("Talos (linux/amd64) <user@example.com>", NOW, timedelta(hours=4))
PUBLIC = dearmor(KEY.public.armored.encode())
PRIVATE = dearmor(KEY.armored.encode())
SIGNATURE = KEY.sign(b"message", NOW)
VECTORS = json.loads((DEFAULT_FOLDER / "request_signing.json").read_text())["keys"]


def test_a_new_key_is_what_was_asked_for():
    key = openpgp.read_public(KEY.public.armored.encode())
    assert (key.email, key.created, key.lifetime) == ("user@example.com", NOW, timedelta(hours=4))
    assert key.check_lifetime(NOW, timedelta(hours=8)) == NOW + timedelta(hours=4)
    assert openpgp.read_private(KEY.armored.encode()).armored == KEY.armored
    key.verify(b"message", SIGNATURE)


def test_nothing_secret_is_shown():
    assert KEY.secret.private_bytes_raw().hex() not in repr(KEY) + repr(openpgp.read_private(PRIVATE))


@pytest.mark.parametrize(
    ("user_id", "email"),
    [("a@b", "a@b"), ("<a@b.c>", "a@b.c"), ("Somebody (x) <a.b+c@d.example>", "a.b+c@d.example"), ("ünï <ü@ï>", "ü@ï")],
)
def test_addresses(user_id: str, email: str):
    assert openpgp.generate(user_id, NOW, timedelta(hours=1)).public.email == email


@pytest.mark.parametrize("user_id", ["", "nobody", "x <not an email>", "a@", "@b", "<a@b> c"])
def test_user_ids_without_an_address(user_id: str):
    key = openpgp.generate(user_id, NOW, timedelta(hours=1)).public
    with pytest.raises(openpgp.UnusableKey, match="e-mail"):
        _ = key.email


@pytest.mark.parametrize(
    ("lifetime", "later", "text"),
    [
        (timedelta(0), timedelta(0), "never expires"),
        (timedelta(hours=9), timedelta(0), "lives too long; make one that lives 8 hours"),
        (timedelta(hours=1), timedelta(hours=1, minutes=6), "expired"),
        (timedelta(hours=1), timedelta(minutes=-6), "not valid yet"),
    ],
)
def test_lifetimes_that_are_refused(lifetime: timedelta, later: timedelta, text: str):
    key = openpgp.generate("a@b", NOW, lifetime).public
    with pytest.raises(openpgp.UnusableKey, match=text):
        key.check_lifetime(NOW + later, timedelta(hours=8))


def test_a_message_or_a_key_that_is_another():
    other = openpgp.generate("user@example.com", NOW, timedelta(hours=4))
    with pytest.raises(openpgp.SignatureMismatch):
        KEY.public.verify(b"massage", SIGNATURE)
    with pytest.raises(openpgp.SignatureMismatch):
        other.public.verify(b"message", SIGNATURE)


@pytest.mark.parametrize("whole", [b"", SIGNATURE + SIGNATURE, bytes(Packet(13, b"x")), PUBLIC])
def test_what_is_not_one_signature(whole: bytes):
    with pytest.raises(OpenPGPError, match="not one detached signature"):
        KEY.public.verify(b"message", whole)


def parts(data: bytes = PUBLIC) -> list[Packet]:
    return list(packets(data))


def joined(*given: Packet) -> bytes:
    return b"".join(map(bytes, given))


def self_signature(kind: int, *fields: bytes) -> Packet:
    """A signature by the key over its user id."""
    key, user, _ = parts()
    return openpgp._sign(KEY.secret, key.body, kind, b"".join(fields), openpgp._framed(key.body, user.body))


CREATED = openpgp.subpacket(2, int(NOW.timestamp()).to_bytes(4))


def test_keys_that_are_refused():
    key, user, signature = parts()
    other = openpgp.generate("user@example.com", NOW, timedelta(hours=4))
    foreign = parts(dearmor(other.public.armored.encode()))
    cases = {
        "not an OpenPGP public key": joined(user),
        "no user id that is signed": joined(key),
        "signed by the key itself": joined(key, user),
        "private key": PRIVATE,
        "more than one key": joined(key, user, signature, *foreign),
        "revoked": joined(key, self_signature(0x20, CREATED), user, signature),
        "not made for signing": joined(key, user, self_signature(0x13, CREATED, openpgp.subpacket(27, b"\x01"))),
        "demands that field 99": joined(key, user, self_signature(0x13, CREATED, b"\x02" + bytes([99 | 0x80, 1]))),
        "longer than its kind": joined(Packet(6, key.body + b"x"), user, signature),
        "another kind": joined(Packet(6, b"\x05" + key.body[1:]), user, signature),
    }
    for text, data in cases.items():
        with pytest.raises(OpenPGPError, match=text):
            openpgp.read_public(data)
    with pytest.raises(OpenPGPError, match="signed by the key itself"):  # its only user id was taken back
        openpgp.read_public(joined(key, user, signature, self_signature(0x30, CREATED)))
    with pytest.raises(openpgp.SignatureMismatch):
        openpgp.read_public(joined(key, foreign[1], Packet(2, signature.body[:-1] + b"x")))


def test_unknown_fields_and_packets_are_passed_over():
    key, user, signature = parts()
    signed = self_signature(0x13, CREATED, openpgp.subpacket(99, b"?"), openpgp.subpacket(9, (60).to_bytes(4)))
    read = openpgp.read_public(joined(key, Packet(60, b"?"), user, signed, Packet(14, b"an encryption subkey")))
    assert read.lifetime == timedelta(seconds=60)
    by_another = parts(dearmor(VECTORS["other"]["public"].encode()))[2]
    assert openpgp.read_public(joined(key, user, signature, by_another)) == KEY.public


def test_the_primary_user_id_counts_and_its_latest_signature():
    key, user, _ = parts()
    other = Packet(13, b"other@example.com")

    def signed(name: Packet, hours: int, *fields: bytes) -> Packet:
        later = openpgp.subpacket(2, int(NOW.timestamp() + hours).to_bytes(4))
        lifetime = openpgp.subpacket(9, (3600 * hours).to_bytes(4))
        framed = openpgp._framed(key.body, name.body)
        return openpgp._sign(KEY.secret, key.body, 0x13, later + lifetime + b"".join(fields), framed)

    primary = openpgp.subpacket(25, b"\x01")
    whole = joined(key, user, signed(user, 9), other, signed(other, 2, primary), signed(other, 1, primary))
    read = openpgp.read_public(whole)
    assert (read.email, read.lifetime) == ("other@example.com", timedelta(hours=2))


def test_a_signature_ends_a_key_as_well():
    key, user, _ = parts()
    ends = self_signature(
        0x13, CREATED, openpgp.subpacket(9, (7200).to_bytes(4)), openpgp.subpacket(3, (60).to_bytes(4))
    )
    assert openpgp.read_public(joined(key, user, ends)).lifetime == timedelta(seconds=60)


def test_private_keys_that_are_refused():
    first, *rest = parts(PRIVATE)
    at = len(parts()[0].body)
    encrypted = Packet(5, first.body[:at] + b"\xfe" + first.body[at + 1 :])
    with pytest.raises(OpenPGPError, match="is encrypted"):
        openpgp.read_private(joined(encrypted, *rest))
    foreign = parts(dearmor(VECTORS["key"]["private"].encode()))[0]
    mixed = Packet(5, first.body[:at] + foreign.body[at:])
    with pytest.raises(OpenPGPError, match="do not belong together"):
        openpgp.read_private(joined(mixed, *rest))
    with pytest.raises(OpenPGPError, match="not an OpenPGP private key"):
        openpgp.read_private(PUBLIC)


def test_armor():
    text = KEY.public.armored
    with_headers = text.replace("BLOCK-----\n\n", "BLOCK-----\nVersion: 1\nComment: none\n\n", 1)
    for form in (with_headers, text.replace("\n", "\r\n"), f"before\n{text}after", text.replace("\n\n", "\n", 1)):
        assert dearmor(form.encode()) == PUBLIC
    for broken, reason in (
        (text[: len(text) // 2], "last line"),
        (text.replace("x", "!").replace("B", "?", 9), "armored|base64|last line"),
        ("ssh-ed25519 AAAA", "neither armored"),
        ("", "neither armored"),
    ):
        with pytest.raises(OpenPGPError, match=reason):
            openpgp.read_public(broken.encode())
    with pytest.raises(OpenPGPError, match="64 KiB"):
        openpgp.read_public(b"\xc6" * 70_000)


@given(st.binary(max_size=300).filter(bool), st.integers(0, 9000))
def test_packets_of_any_length_are_read_again(body: bytes, repeat: int):
    packet = Packet(13, body[:1] * repeat + body)
    assert list(packets(bytes(packet))) == [packet]
    assert dearmor(armor("MESSAGE", bytes(packet)).encode()) == bytes(packet)


def every_reader(data: bytes) -> None:
    """Read it as everything there is; only OpenPGPError may come of it."""
    for read in (openpgp.read_public, openpgp.read_private, lambda data: KEY.public.verify(b"message", data)):
        with contextlib.suppress(OpenPGPError):
            read(data)
    with contextlib.suppress(OpenPGPError):
        list(subpackets(data))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes):
    every_reader(data)


@given(st.text(max_size=200))
def test_any_armor(text: str):
    every_reader(f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n{text}\n-----END PGP PUBLIC KEY BLOCK-----".encode())


@given(st.sampled_from([PUBLIC, PRIVATE, SIGNATURE]), st.integers(0, 400), st.binary(max_size=4))
def test_any_cut_and_any_splice(whole: bytes, at: int, spliced: bytes):
    every_reader(whole[:at])
    every_reader(whole[:at] + spliced + whole[at:])
    every_reader(whole[:at] + spliced + whole[at + len(spliced) :])


@given(st.integers(0, 8 * len(SIGNATURE) - 1))
def test_no_flipped_bit_of_a_signature_goes_unseen(bit: int):
    """But where it says nothing: in the hint who made it, and in how its own lengths are written."""
    flipped = bytearray(SIGNATURE)
    flipped[bit // 8] ^= 1 << bit % 8
    hint = SIGNATURE.index(openpgp.subpacket(16, bytes.fromhex(KEY.public.fingerprint)[-8:]))
    first = hint + 12  # the lengths of two numbers, in bits
    second = first + 2 + (int.from_bytes(SIGNATURE[first : first + 2]) + 7) // 8
    silent = {0, 1, *range(hint - 2, hint + 10), first, first + 1, second, second + 1}
    try:
        KEY.public.verify(b"message", bytes(flipped))
    except OpenPGPError:
        return
    assert bit // 8 in silent


@given(st.integers(0, 8 * len(PUBLIC) - 1))
def test_no_flipped_bit_of_a_key_changes_what_it_says(bit: int):
    flipped = bytearray(PUBLIC)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        key = openpgp.read_public(bytes(flipped))
    except OpenPGPError:
        return
    assert key == KEY.public
