"""Tokens that let a machine in: the join token of its boot medium, and the node unique token it is given afterwards.

A join token has three forms. *Plain*: a random string that is its own registry key. *v1* and *v2*: signed extra data,
``v2:`` + base64 of ``{"extra_data": {...}, "signature": "..."}``, an HMAC-SHA256 under a base token that never
travels. They differ only in what the base token is: the organisation's default token, or that of the infrastructure
provider named in the extra data.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from talos import gojson

Version = Literal["plain", "1", "2"]

PROVIDER_KEY = "omni.sidero.dev/infra-provider-id"
"""Extra data: the infrastructure provider that made the machine."""
MACHINE_REQUEST_KEY = "omni.sidero.dev/machine-request"
"""Extra data: the request that the machine answers."""

_PREFIXES: dict[str, Version] = {"v1:": "1", "v2:": "2"}
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class JoinToken:
    """A join token taken apart; ``plain`` is the text of the plain form and empty in the signed forms."""

    version: Version
    plain: str = field(default="", repr=False)
    extra_data: dict[str, str] | None = None
    signature: bytes | None = field(default=None, repr=False)

    def verify(self, base: str) -> bool:
        """Whether this token is the base token, or was signed with it. One without a signature never is."""
        if self.version == "plain":
            return hmac.compare_digest(self.plain.encode(), base.encode())
        if self.signature is None:
            return False
        return hmac.compare_digest(self.signature, _sign(base, self.extra_data))

    def encode(self) -> str:
        """The text that travels."""
        if self.extra_data is None:
            return self.plain
        signature = None if self.signature is None else base64.b64encode(self.signature).decode()
        body = gojson.dumps({"extra_data": _sorted(self.extra_data), "signature": signature})
        return f"v{self.version}:{base64.b64encode(body.encode()).decode()}"


def generate() -> str:
    """A new plain token: 32 random bytes in base62."""
    number = int.from_bytes(secrets.token_bytes(32))
    digits = []
    while number:
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits)).rjust(43, "0")


def sign(base: str, extra_data: Mapping[str, str], version: str = "2") -> JoinToken:
    """A signed token over extra data. Raises ValueError for a version that is not ``1`` or ``2``."""
    if version == "plain":
        raise ValueError('version "plain" does not have a prefix')
    if version not in ("1", "2"):
        raise ValueError(f'unsupported version "{version}"')
    data = dict(extra_data)
    return JoinToken(version="1" if version == "1" else "2", extra_data=data, signature=_sign(base, data))


def parse(text: str) -> JoinToken:
    """Take a token apart; raises ValueError when a signed form does not decode. The signature is not checked here."""
    prefix = text[:3]
    version = _PREFIXES.get(prefix)
    if version is None:
        return JoinToken("plain", plain=text)
    try:
        # The prefix may be there twice.
        content = gojson.loads(_base64(text.removeprefix(prefix).removeprefix(prefix)))
        return _from_json(version, {} if content is None else content)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"invalid join token: {error}") from None


def _from_json(version: Version, content: object) -> JoinToken:
    if not isinstance(content, dict):
        raise ValueError("the content has to be a JSON object")
    extra = gojson.field(content, "extra_data")
    if extra is not None and not isinstance(extra, dict):
        raise ValueError("extra_data has to be a JSON object")
    signature = gojson.field(content, "signature")
    return JoinToken(
        version,
        extra_data=None
        if extra is None
        else {gojson.string(key, "key"): gojson.string(value, f'extra_data["{key}"]') for key, value in extra.items()},
        signature=None if signature is None else _base64(gojson.string(signature, "signature")),
    )


def _base64(text: str) -> bytes:
    """Strict but for line breaks, which do not count."""
    return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)


def _sign(base: str, extra_data: Mapping[str, str] | None) -> bytes:
    message = gojson.dumps(None if extra_data is None else _sorted(extra_data))
    return hmac.digest(base.encode(), message.encode(), hashlib.sha256)


def _sorted(data: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(data.items()))


@dataclass(frozen=True)
class NodeUniqueToken:
    """What a machine keeps in META to prove that it is still the same one.

    The random part proves; the fingerprint of the hardware only tells whether a machine that lost its token before it
    was installed is likely the same.
    """

    fingerprint: str
    token: str = field(repr=False)

    def encode(self) -> str:
        return gojson.dumps({"Fingerprint": self.fingerprint, "Token": self.token})

    def same_token(self, other: "NodeUniqueToken | None") -> bool:
        return other is not None and hmac.compare_digest(self.token.encode(), other.token.encode())

    def same_fingerprint(self, other: "NodeUniqueToken | None") -> bool:
        """Whether both were made for the same hardware; an unknown (empty) fingerprint is never the same."""
        return other is not None and self.fingerprint != "" and self.fingerprint == other.fingerprint


def new_node_token(fingerprint: str) -> NodeUniqueToken:
    """A fresh unique token for a machine with this fingerprint."""
    return NodeUniqueToken(fingerprint, str(uuid.uuid4()))


def parse_node_token(text: str) -> NodeUniqueToken | None:
    """Read a node unique token; empty text, which machines send when they have none, is None.

    Raises ValueError for anything else that is not such a token.
    """
    if not text:
        return None
    content = gojson.loads(text)
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ValueError("a node unique token has to be a JSON object")
    return NodeUniqueToken(
        fingerprint=gojson.string(gojson.field(content, "Fingerprint"), "Fingerprint"),
        token=gojson.string(gojson.field(content, "Token"), "Token"),
    )


@dataclass(frozen=True)
class NetworkLink:
    """The part of a Talos LinkStatus that identifies hardware; addresses are raw bytes, empty if unknown."""

    type: str
    kind: str
    hardware_address: bytes
    permanent_address: bytes = b""


def machine_fingerprint(links: Iterable[NetworkLink]) -> str:
    """64 hex digits over the addresses of the physical Ethernet links, whatever their order."""
    addresses = sorted(
        link.permanent_address or link.hardware_address for link in links if link.type == "ether" and not link.kind
    )
    return hashlib.sha256(b"".join(addresses)).hexdigest()
