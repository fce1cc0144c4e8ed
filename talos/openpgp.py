"""OpenPGP keys that sign calls: version 4, EdDSA over Ed25519 in its legacy encoding, as talosctl makes them.

A key is a public key packet, a user id and the key's own signature that binds both and says how long it lives; other
packets (encryption subkeys, signatures by others) are passed over.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from talos.openpgp_packets import (
    PUBLIC_KEY,
    PUBLIC_SUBKEY,
    SECRET_KEY,
    SECRET_SUBKEY,
    SIGNATURE,
    USER_ID,
    OpenPGPError,
    Packet,
    Reader,
    armor,
    dearmor,
    mpi,
    packets,
    subpacket,
    subpackets,
)

SKEW = timedelta(minutes=5)
"""How far a client's clock may be from ours."""

CAP_SLACK = timedelta(minutes=1)

_VERSION, _EDDSA = 4, 22
_CURVE = bytes.fromhex("092b06010401da470f01")  # length and object identifier of Ed25519
_POINT = 0x40  # says that the point is in the curve's own encoding
_HASHES = {8: hashlib.sha256, 9: hashlib.sha384, 10: hashlib.sha512}
_SHA512 = 10

# Types of signatures
_BINARY, _CERTIFICATIONS, _POSITIVE, _REVOKED, _USER_ID_REVOKED = 0x00, range(0x10, 0x14), 0x13, 0x20, 0x30

# Types of subpackets
_CREATED, _EXPIRES, _KEY_EXPIRES, _ISSUER, _PRIMARY, _FLAGS, _FINGERPRINT = 2, 3, 9, 16, 25, 27, 33
_UNDERSTOOD = {_CREATED, _EXPIRES, _KEY_EXPIRES, 11, _ISSUER, 21, 22, 23, _PRIMARY, _FLAGS, 30, _FINGERPRINT, 34}
_CERTIFY, _SIGN = 1, 2

_ADDRESS = re.compile(r"(?:.*<)?([^\s<>()@]+@[^\s<>()@]+)>?", re.DOTALL)


class UnusableKey(OpenPGPError):
    """A sound key that may not be used here: its lifetime, or its e-mail address. The text says what to do."""


class SignatureMismatch(OpenPGPError):
    """A signature that is not this key's over this message."""


@dataclass(frozen=True)
class PublicKey:
    """A key as read, its own signature verified. Times in UTC."""

    body: bytes = field(repr=False)  # of the public key packet
    certificate: bytes = field(repr=False, compare=False)  # packets of user id and self-signature
    user_id: str
    created: datetime
    lifetime: timedelta | None  # None: for ever

    @property
    def fingerprint(self) -> str:
        """40 hexadecimal digits."""
        return _fingerprint(self.body).hex()

    @property
    def expires(self) -> datetime | None:
        return None if self.lifetime is None else self.created + self.lifetime

    @property
    def email(self) -> str:
        """The address in the user id. Raises UnusableKey when there is none."""
        found = _ADDRESS.fullmatch(self.user_id.strip())
        if found is None:
            raise UnusableKey("the key's user id has no e-mail address; it has to end with <name@example.com>")
        return found[1]

    @property
    def armored(self) -> str:
        """The key as text, without what is passed over."""
        return armor("PUBLIC KEY BLOCK", bytes(Packet(PUBLIC_KEY, self.body)) + self.certificate)

    def is_expired(self, now: datetime, skew: timedelta = SKEW) -> bool:
        """Whether it is over, or not there yet, for a clock that may be `skew` off either way."""
        if self.lifetime is not None and self.lifetime < skew:
            skew = self.lifetime / 2
        return not any(self._lives_at(moment) for moment in (now - skew, now + skew))

    def _lives_at(self, moment: datetime) -> bool:
        return self.created <= moment and (self.expires is None or moment <= self.expires)

    def check_lifetime(self, now: datetime, longest: timedelta) -> datetime:
        """When it ends, which may not be further off than `longest`. Raises UnusableKey."""
        if self.expires is None:
            raise UnusableKey(f"the key never expires; make one that lives {_hours(longest)} at most")
        if self.is_expired(now):
            raise UnusableKey("the key has expired, or is not valid yet: make a new one, and see that clocks are right")
        if self.expires > now + longest + CAP_SLACK:
            raise UnusableKey(f"the key lives too long; make one that lives {_hours(longest)} at most")
        return self.expires

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check a detached signature, a binary packet, over `message`.

        Raises OpenPGPError for what is no signature, SignatureMismatch for one that is not this key's over it. When it
        was made is not looked at: whether a key is alive is for whoever keeps it.
        """
        found = list(packets(signature))
        if len(found) != 1 or found[0].tag != SIGNATURE:
            raise OpenPGPError("this is not one detached signature")
        made = _read_signature(found[0].body)
        if made.kind != _BINARY:
            raise OpenPGPError("this is not a signature of binary data")
        made.verify(self._point, message)

    @cached_property
    def _point(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.body[-32:])


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs."""

    public: PublicKey
    secret: Ed25519PrivateKey = field(repr=False)

    def sign(self, message: bytes, now: datetime) -> bytes:
        """A detached signature, a binary packet."""
        fields = subpacket(_CREATED, _seconds(now)) + subpacket(_FINGERPRINT, b"\x04" + _fingerprint(self.public.body))
        return bytes(_sign(self.secret, self.public.body, _BINARY, fields, message))

    @property
    def armored(self) -> str:
        """The private key, not encrypted, as text."""
        number = mpi(self.secret.private_bytes_raw())
        checksum = (sum(number) & 0xFFFF).to_bytes(2)
        packet = Packet(SECRET_KEY, self.public.body + b"\0" + number + checksum)
        return armor("PRIVATE KEY BLOCK", bytes(packet) + self.public.certificate)


def generate(user_id: str, now: datetime, lifetime: timedelta) -> PrivateKey:
    """Make a key for `NAME (COMMENT) <ADDRESS>`."""
    secret = Ed25519PrivateKey.generate()
    point = secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    body = bytes([_VERSION]) + _seconds(now) + bytes([_EDDSA]) + _CURVE + mpi(bytes([_POINT]) + point)
    name = user_id.encode()
    fields = b"".join(
        (
            subpacket(_CREATED, _seconds(now)),
            subpacket(_KEY_EXPIRES, int(lifetime.total_seconds()).to_bytes(4)),
            subpacket(_PRIMARY, b"\x01"),
            subpacket(_FLAGS, bytes([_CERTIFY | _SIGN])),
            subpacket(_FINGERPRINT, b"\x04" + _fingerprint(body)),
        )
    )
    signature = _sign(secret, body, _POSITIVE, fields, _framed(body, name))
    return PrivateKey(_read_certificate(body, [Packet(USER_ID, name), signature]), secret)


def read_public(data: bytes) -> PublicKey:
    """Read a public key, armored or binary, and verify its own signature. Raises OpenPGPError."""
    first, *rest = list(packets(dearmor(data))) or [Packet(0, b"")]
    if first.tag == SECRET_KEY:
        raise OpenPGPError("this is a private key: keep it to yourself and give the public one")
    if first.tag != PUBLIC_KEY:
        raise OpenPGPError("this is not an OpenPGP public key")
    reader = Reader(first.body)
    _read_key(reader)
    if reader:
        raise OpenPGPError("the public key is longer than its kind allows")
    return _read_certificate(first.body, rest)


def read_private(data: bytes) -> PrivateKey:
    """Read a private key that is not encrypted, armored or binary. Raises OpenPGPError."""
    first, *rest = list(packets(dearmor(data))) or [Packet(0, b"")]
    if first.tag != SECRET_KEY:
        raise OpenPGPError("this is not an OpenPGP private key")
    reader = Reader(first.body)
    point = _read_key(reader)
    body = first.body[: reader.position]
    if reader.number(1) != 0:
        raise OpenPGPError("the private key is encrypted; give one without a passphrase")
    secret = Ed25519PrivateKey.from_private_bytes(reader.mpi(32).rjust(32, b"\0"))
    if secret.public_key().public_bytes_raw() != point:
        raise OpenPGPError("the private key's two halves do not belong together")
    return PrivateKey(_read_certificate(body, rest), secret)


# Reading


def _read_key(reader: Reader) -> bytes:
    """The point of the key at the front."""
    version, _, algorithm = reader.number(1), reader.take(4), reader.number(1)
    if (version, algorithm) != (_VERSION, _EDDSA) or reader.take(len(_CURVE)) != _CURVE:
        raise OpenPGPError("the key is of another kind: only EdDSA keys over Ed25519, version 4, sign calls")
    prefix, *point = reader.mpi(33) or b"\0"
    if prefix != _POINT or len(point) != 32:
        raise OpenPGPError("the key's point is not one of its curve")
    return bytes(point)


def _read_certificate(body: bytes, rest: Iterable[Packet]) -> PublicKey:
    """The key with its primary user id."""
    point = Ed25519PublicKey.from_public_bytes(body[-32:])
    user: Packet | None = None
    found: dict[Packet, tuple[_Signature, Packet]] = {}
    for packet in rest:
        if packet.tag in (PUBLIC_SUBKEY, SECRET_SUBKEY):
            break
        if packet.tag in (PUBLIC_KEY, SECRET_KEY):
            raise OpenPGPError("there is more than one key in it")
        if packet.tag == USER_ID:
            user = packet
        if packet.tag != SIGNATURE:
            continue
        signature = _read_signature(packet.body)
        if signature.kind == _REVOKED:
            raise OpenPGPError("the key was revoked by its owner")
        if user is None or signature.issued_by_another(body):
            continue
        if signature.kind == _USER_ID_REVOKED:
            found.pop(user, None)
        elif signature.kind in _CERTIFICATIONS:
            signature.verify(point, _framed(body, user.body))
            if user not in found or found[user][0].created <= signature.created:
                found[user] = signature, packet
    if not found:
        raise OpenPGPError("the key has no user id that is signed by the key itself")
    user, (signature, packet) = max(found.items(), key=lambda one: one[1][0].primary)
    if not signature.signs:
        raise OpenPGPError("the key is not made for signing")
    created = datetime.fromtimestamp(int.from_bytes(body[1:5]), UTC)
    name = user.body.decode("utf-8", "replace")
    return PublicKey(body, bytes(user) + bytes(packet), name, created, signature.lifetime_of(created))


@dataclass(frozen=True)
class _Signature:
    """A signature packet of the only version and algorithm that is used here."""

    kind: int
    hash: int
    hashed: bytes  # its own part of what is signed
    left: bytes  # first two bytes of the digest
    value: bytes  # R and S
    fields: dict[int, bytes]

    @property
    def created(self) -> int:
        return int.from_bytes(self.fields.get(_CREATED, b""))

    @property
    def primary(self) -> bool:
        return any(self.fields.get(_PRIMARY, b""))

    @property
    def signs(self) -> bool:
        """Whether the key is for signing; one that does not say is for everything."""
        flags = self.fields.get(_FLAGS)
        return flags is None or bool(flags[:1] and flags[0] & _SIGN)

    def lifetime_of(self, key_created: datetime) -> timedelta | None:
        """How long the key lives, which ends no later than this signature does."""
        lifetimes = [int.from_bytes(self.fields.get(_KEY_EXPIRES, b""))]
        if own := int.from_bytes(self.fields.get(_EXPIRES, b"")):
            lifetimes.append(max(1, self.created - int(key_created.timestamp()) + own))
        given = [seconds for seconds in lifetimes if seconds]
        return timedelta(seconds=min(given)) if given else None

    def issued_by_another(self, body: bytes) -> bool:
        """Whether it says that another key made it."""
        own = _fingerprint(body)
        named = self.fields.get(_FINGERPRINT)
        return named[1:] != own if named is not None else self.fields.get(_ISSUER, own[-8:]) != own[-8:]

    def verify(self, point: Ed25519PublicKey, message: bytes) -> None:
        digest = _digest(self.hash, message, self.hashed)
        try:
            if digest[:2] == self.left:
                return point.verify(self.value, digest)
        except InvalidSignature:
            pass
        raise SignatureMismatch("the signature is not this key's, or what it signs was changed")


def _read_signature(body: bytes) -> _Signature:
    reader = Reader(body)
    if reader.number(1) != _VERSION:
        raise OpenPGPError("a signature in it is of another version than 4")
    kind, algorithm, hash = reader.number(1), reader.number(1), reader.number(1)
    if algorithm != _EDDSA or hash not in _HASHES:
        raise OpenPGPError("a signature in it is of another kind than EdDSA over SHA-256, SHA-384 or SHA-512")
    area = reader.take(reader.number(2))
    hashed = body[: reader.position]
    loose = reader.take(reader.number(2))
    left, r, s = reader.take(2), reader.mpi(32), reader.mpi(32)
    if reader:
        raise OpenPGPError("a signature in it is longer than its kind allows")
    fields = {}
    for number, critical, value in subpackets(area):
        if critical and number not in _UNDERSTOOD:
            raise OpenPGPError(f"a signature in it demands that field {number} be understood, which is not known here")
        fields[number] = value
    for number, _, value in subpackets(loose):  # not signed: the issuer is a hint, and no more is taken from there
        if number in (_ISSUER, _FINGERPRINT):
            fields.setdefault(number, value)
    return _Signature(kind, hash, hashed, left, r.rjust(32, b"\0") + s.rjust(32, b"\0"), fields)


# Making


def _sign(secret: Ed25519PrivateKey, body: bytes, kind: int, fields: bytes, message: bytes) -> Packet:
    hashed = bytes([_VERSION, kind, _EDDSA, _SHA512]) + len(fields).to_bytes(2) + fields
    loose = subpacket(_ISSUER, _fingerprint(body)[-8:])
    digest = _digest(_SHA512, message, hashed)
    value = secret.sign(digest)
    return Packet(SIGNATURE, hashed + len(loose).to_bytes(2) + loose + digest[:2] + mpi(value[:32]) + mpi(value[32:]))


def _digest(hash: int, message: bytes, hashed: bytes) -> bytes:
    return _HASHES[hash](message + hashed + bytes([_VERSION, 0xFF]) + len(hashed).to_bytes(4)).digest()


def _framed(body: bytes, user_id: bytes) -> bytes:
    """What the signature that binds a user id to a key signs."""
    return _framed_key(body) + b"\xb4" + len(user_id).to_bytes(4) + user_id


def _framed_key(body: bytes) -> bytes:
    return b"\x99" + len(body).to_bytes(2) + body


def _fingerprint(body: bytes) -> bytes:
    return hashlib.sha1(_framed_key(body), usedforsecurity=False).digest()


def _seconds(moment: datetime) -> bytes:
    return int(moment.timestamp()).to_bytes(4)


def _hours(length: timedelta) -> str:
    hours = length // timedelta(hours=1)
    return f"{hours} hours" if hours < 72 else f"{hours // 24} days"
