"""PEM: what is read, under which label, and what is written."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from talos import pem
from talos.pem import PEMError

LABELS = st.sampled_from([pem.CERTIFICATE, pem.PRIVATE, pem.ED25519_PRIVATE, "X"])


@given(st.lists(st.tuples(LABELS, st.binary(max_size=200)), max_size=4), st.sampled_from(["", "note\n", "\n\n"]))
def test_blocks_come_back_as_they_were_written(written, between):
    text = b"".join(between.encode() + pem.encode(label, der) for label, der in written)
    assert list(pem.blocks(text)) == written
    assert list(pem.blocks(text.replace(b"\n", b"\r\n"))) == written


@given(st.binary(max_size=300))
def test_anything_is_either_read_or_refused(junk):
    for text in (junk, pem.encode(pem.EC_PRIVATE, junk), pem.encode(pem.PRIVATE, junk)):
        with pytest.raises(PEMError):
            pem.load_key(text)


@pytest.mark.parametrize(
    ("key", "label"),
    [
        (ed25519.Ed25519PrivateKey.generate(), pem.ED25519_PRIVATE),
        (ec.generate_private_key(ec.SECP256R1()), pem.EC_PRIVATE),
        (rsa.generate_private_key(65537, 2048), pem.RSA_PRIVATE),
    ],
    ids=["ed25519", "ecdsa", "rsa"],
)
def test_a_key_goes_through_both_labels(key, label):
    text = pem.encode_key(key)
    assert pem.first_block(text)[0] == label
    standard = pem.standard_key(text)
    assert pem.first_block(standard)[0] == pem.PRIVATE
    assert load_pem_private_key(standard, None).public_key() == key.public_key()
    assert pem.load_key(standard).public_key() == key.public_key()


def test_headers_and_a_broken_block_before_are_passed_over():
    good = pem.encode(pem.CERTIFICATE, b"content")
    headed = good.replace(b"-----\n", b"-----\nName: value\n", 1)
    broken = b"-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n"
    assert pem.first_block(broken + headed) == (pem.CERTIFICATE, b"content")


def test_an_rsa_key_with_foreign_primes_is_refused():
    one, other = (rsa.generate_private_key(65537, 1024) for _ in range(2))
    moduli = [key.private_numbers().public_numbers.n.to_bytes(128, "big") for key in (one, other)]
    label, der = pem.first_block(pem.encode_key(one))
    with pytest.raises(PEMError, match="failed to parse RSA key"):
        pem.load_key(pem.encode(label, der.replace(*moduli)))
