"""Signed calls, scheme SideroV1: how talosctl and omnictl prove with each call whose key they hold.

A call carries a timestamp, a payload (JSON: the method and the metadata that matters) and a signature over the
payload's bytes. The request itself is not signed, and a call may be repeated within the skew: TLS is what guards both.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from talos import gojson, openpgp, pem

SKEW = timedelta(minutes=5)
"""How far a call's timestamp may be from our clock."""

TIMESTAMP, PAYLOAD, SIGNATURE = "x-sidero-timestamp", "x-sidero-payload", "x-sidero-signature"
VERSION = "siderov1"

PGP, PLAIN = "pgp", "plain"
"""Kinds of keys: OpenPGP, and ECDSA keys without any wrapping."""

_SIGNED = (
    "authorization",
    "cluster",
    "context",
    "fieldSelectors",
    "namespace",
    "nodes",
    "runtime",
    "selectors",
    "uid",
    TIMESTAMP,
)
"""The metadata that is signed, in the order of a payload made by Go. `node` is not among it."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


class Unsigned(Exception):
    """A call without a signature."""


class BadSignature(Exception):
    """A call whose signature is malformed, out of time, by an unknown key, or not over this call."""


class PublicKey(Protocol):
    """A key that calls are verified with."""

    @property
    def fingerprint(self) -> str:
        """How clients name it."""

    def verify(self, message: bytes, signature: bytes) -> None:
        """Raises ValueError unless `signature` is this key's over `message`."""


Find = Callable[[str], PublicKey | None]
"""The key of a fingerprint, if it may be used now."""


def verify(metadata: Mapping[str, Sequence[str]], method: str, now: datetime, key_of: Find) -> str:
    """The fingerprint of the key that signed a call of `method` (`/machine.MachineService/Version`).

    `metadata` has all values of each key, in order; keys are in lower case. Raises Unsigned, BadSignature.
    """
    if not metadata.get(SIGNATURE):
        raise Unsigned("the call is not signed")
    _check_time(_only(metadata, TIMESTAMP), now)
    payload = _only(metadata, PAYLOAD)
    _check_payload(payload, method, metadata)
    return _check_signature(_only(metadata, SIGNATURE), _bytes(payload), key_of)


def verify_http(method: str, uri: str, body: bytes, timestamp: str, signature: str, now: datetime, key_of: Find) -> str:
    """The same for an HTTP request: its method, path with query, body, and the two headers. Raises BadSignature."""
    _check_time(timestamp, now)
    signed = "\n".join((method, uri, timestamp, hashlib.sha256(body).hexdigest()))
    return _check_signature(signature, _bytes(signed), key_of)


def sign(
    key: openpgp.PrivateKey, identity: str, method: str, metadata: Mapping[str, Sequence[str]], now: datetime
) -> dict[str, list[str]]:
    """The metadata that a client adds to a call to sign it. `identity`: an e-mail address, or a service account's bare
    name; servers do not look at it."""
    timestamp = {TIMESTAMP: [str(int(now.timestamp()))]}
    given = {**metadata, **timestamp}
    payload = gojson.dumps({"headers": {name: _values(given, name) for name in _SIGNED}, "method": method})
    signature = base64.b64encode(key.sign(payload.encode(), now)).decode()
    return {
        **timestamp,
        PAYLOAD: [payload],
        SIGNATURE: [f"{VERSION} {identity} {key.public.fingerprint} {signature}"],
    }


def parse_public(kind: str, data: bytes) -> PublicKey:
    """A stored key of kind `pgp` (armored) or `plain` (PEM). Raises ValueError."""
    return openpgp.read_public(data) if kind == PGP else PlainKey.from_pem(data)


@dataclass(frozen=True)
class PlainKey:
    """An ECDSA key without any wrapping, as browsers make them."""

    key: ec.EllipticCurvePublicKey = field(repr=False)

    @classmethod
    def from_pem(cls, data: bytes) -> "PlainKey":
        """Read a PEM block `PUBLIC KEY`. Raises ValueError."""
        label, der = pem.first_block(data)
        if label != "PUBLIC KEY":
            raise ValueError("the PEM block is not a PUBLIC KEY")
        try:
            key = load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("the public key's content is not what its label says") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVES):
            raise ValueError("only ECDSA keys over P-256, P-384 or P-521 sign calls")
        return cls(key)

    @property
    def pem(self) -> bytes:
        """The key as text, in the one form that has nothing else in it."""
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """base64url, padded, of the SHA-256 of the point."""
        point = self.key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return base64.urlsafe_b64encode(hashlib.sha256(point).digest()).decode()

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check a signature of two numbers of fixed width over SHA-256. Raises ValueError."""
        width = (self.key.curve.key_size + 7) // 8
        if len(signature) != 2 * width:
            raise ValueError(f"the signature is not two numbers of {width} bytes")
        pair = encode_dss_signature(int.from_bytes(signature[:width]), int.from_bytes(signature[width:]))
        try:
            self.key.verify(pair, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise ValueError("the signature is not this key's, or what it signs was changed") from None


def _check_time(text: str, now: datetime) -> None:
    if not _NUMBER.fullmatch(text):
        raise BadSignature(f"{TIMESTAMP} is not a number of seconds")
    if abs(now.timestamp() - int(text)) > SKEW.total_seconds():
        raise BadSignature("the call was signed more than 5 minutes before or after now; are both clocks right?")


def _check_payload(text: str, method: str, metadata: Mapping[str, Sequence[str]]) -> None:
    try:
        payload = gojson.loads(text)
    except ValueError:
        raise BadSignature(f"{PAYLOAD} is not JSON") from None
    if not isinstance(payload, dict):
        raise BadSignature(f"{PAYLOAD} is not an object")
    if gojson.field(payload, "method") != method:
        raise BadSignature("another method was signed")
    headers = gojson.field(payload, "headers") or {}
    if not isinstance(headers, dict):
        raise BadSignature(f"the headers in {PAYLOAD} are not an object")
    for name in _SIGNED:
        if headers.get(name) != _values(metadata, name):
            raise BadSignature(f"{name} in the call is not what was signed")


def _check_signature(text: str, message: bytes, key_of: Find) -> str:
    parts = text.split(" ")
    if len(parts) != 4:
        raise BadSignature(f"{SIGNATURE} has {len(parts)} parts, not 4")
    version, _, fingerprint, encoded = parts
    if version != VERSION:
        raise BadSignature(f"{SIGNATURE} is of another version than {VERSION}")
    try:
        signature = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise BadSignature(f"the signature in {SIGNATURE} is not base64") from None
    key = key_of(fingerprint)
    if key is None:
        raise BadSignature("the key is not known here, has expired or was revoked")
    try:
        key.verify(message, signature)
    except ValueError as error:
        raise BadSignature(str(error)) from None
    return key.fingerprint


def _values(metadata: Mapping[str, Sequence[str]], name: str) -> list[str] | None:
    """What metadata has under a name, in the spelling of a payload or, as on the wire, in lower case."""
    values = metadata.get(name, metadata.get(name.lower()))
    return None if values is None else list(values)


def _only(metadata: Mapping[str, Sequence[str]], name: str) -> str:
    values = metadata.get(name, ())
    if len(values) != 1:
        raise BadSignature(f"the call has {len(values)} times {name}, not once")
    return values[0]


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadSignature("what was signed is not UTF-8") from None
