"""PEM as Talos writes and reads it.

Talos labels keys by algorithm: `ED25519 PRIVATE KEY` around PKCS#8, `EC PRIVATE KEY` around SEC 1, `RSA PRIVATE KEY`
around PKCS#1; it also reads `PRIVATE KEY` around PKCS#8 of all three. The first of these is known to nobody else: to
`ssl`, such a key has to be given as `standard_key` writes it.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from talos.config.errors import quote

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

CERTIFICATE = "CERTIFICATE"
CERTIFICATE_REQUEST = "CERTIFICATE REQUEST"
#: PKCS#8 of any algorithm: the label everybody else reads.
PRIVATE = "PRIVATE KEY"
RSA_PRIVATE = "RSA PRIVATE KEY"
EC_PRIVATE = "EC PRIVATE KEY"
ED25519_PRIVATE = "ED25519 PRIVATE KEY"

#: What Talos calls the algorithm of a label when it cannot read the key.
_ALGORITHM = {PRIVATE: "", RSA_PRIVATE: "RSA ", EC_PRIVATE: "ECDSA ", ED25519_PRIVATE: "Ed25519 "}

#: The curves Go knows.
_CURVES = (ec.SECP224R1, ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

_BEGIN = re.compile(rb"^-----BEGIN ([^\n]*)-----[ \t\r]*\n", re.MULTILINE)
_END = re.compile(rb"^-----END ([^\n]*?)-----[ \t\r]*$", re.MULTILINE)
_HEADERS = re.compile(rb"\A(?:[^\n:]*:[^\n]*\n)*")


class PEMError(ValueError):
    """PEM text, or what it holds, cannot be used. The text never holds key material."""


class KeyLabelError(PEMError):
    """The first PEM block has a label that is not one of a private key."""

    def __init__(self, label: str) -> None:
        super().__init__(f"unsupported key type {quote(label)}")
        self.label = label


def encode(label: str, der: bytes) -> bytes:
    """One block: lines of 64 characters, LF, a final newline."""
    text = base64.b64encode(der).decode()
    lines = "".join(f"{text[start : start + 64]}\n" for start in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}-----END {label}-----\n".encode()


def blocks(text: bytes) -> Iterator[tuple[str, bytes]]:
    """The label and content of each well-formed block; what is between blocks, or malformed, is passed over."""
    position = 0
    while begin := _BEGIN.search(text, position):
        position = begin.end()
        end = _END.search(text, position)
        if end is None or end[1] != begin[1]:
            continue
        body = text[position : end.start()]
        try:
            der = base64.b64decode(b"".join(body[_end_of_headers(body) :].split()), validate=True)
        except binascii.Error:
            continue
        yield begin[1].decode(errors="replace"), der
        position = end.end()


def _end_of_headers(body: bytes) -> int:
    match = _HEADERS.match(body)
    return match.end() if match else 0


def first_block(text: bytes) -> tuple[str, bytes]:
    """The first block of `text`; PEMError if there is none."""
    for block in blocks(text):
        return block
    raise PEMError("failed to parse PEM block")


def load_certificate(text: bytes) -> x509.Certificate:
    """The certificate in the first block, whatever its label; PEMError if there is none."""
    _, der = first_block(text)
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        raise PEMError("failed to parse certificate: not a DER encoded X.509 certificate") from None


def load_key(text: bytes) -> PrivateKey:
    """The private key in the first block. Its content has to be what its label says; PEMError otherwise."""
    label, der = first_block(text)
    if label not in _ALGORITHM:
        raise KeyLabelError(label)
    standard = encode(PRIVATE if label == ED25519_PRIVATE else label, der)
    try:
        # OpenSSL's own check of an RSA key takes 200 ms; the one below takes none.
        key = load_pem_private_key(standard, password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PEMError(f"failed to parse {_ALGORITHM[label]}key: its content is not what its label says") from None
    if label == ED25519_PRIVATE and not isinstance(key, ed25519.Ed25519PrivateKey):
        raise PEMError("failed parsing Ed25519 key, got wrong key type")
    if not isinstance(key, PrivateKey):
        raise PEMError(f"failed to parse {_ALGORITHM[label]}key: it is neither RSA, ECDSA nor Ed25519")
    if isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, _CURVES):
        raise PEMError(f"failed to parse {_ALGORITHM[label]}key: unknown elliptic curve {key.curve.name}")
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        if numbers.p * numbers.q != numbers.public_numbers.n:
            raise PEMError("failed to parse RSA key: its primes are not those of its modulus")
    return key


def encode_key(key: PrivateKey) -> bytes:
    """A private key under the label Talos gives its algorithm."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return encode(ED25519_PRIVATE, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def standard_key(text: bytes) -> bytes:
    """The key of `text` as PKCS#8 under `PRIVATE KEY`, which `ssl` and other tools read. PEMError if it has none."""
    return load_key(text).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def encode_public_key(key: PublicKey) -> bytes:
    """A public key under the label Talos gives its algorithm."""
    if isinstance(key, rsa.RSAPublicKey):
        label = "PUBLIC KEY"
    else:
        label = "EC PUBLIC KEY" if isinstance(key, ec.EllipticCurvePublicKey) else "ED25519 PUBLIC KEY"
    return encode(label, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@dataclass(frozen=True)
class CertKey:
    """A certificate and its private key, both PEM, the key under its Talos label."""

    crt: bytes
    key: bytes = field(repr=False)

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The parsed certificate; PEMError if it is none."""
        return load_certificate(self.crt)

    @cached_property
    def private_key(self) -> PrivateKey:
        """The parsed key; PEMError if it is none."""
        try:
            return load_key(self.key)
        except KeyLabelError as error:
            raise PEMError(f"unsupported key type: {quote(error.label)}") from None

    @property
    def standard_key(self) -> bytes:
        """The key as PKCS#8 under `PRIVATE KEY`, for `ssl` and other tools."""
        return standard_key(self.key)
