"""How nodes of a cluster hide from the discovery service what they tell each other.

The cluster's secret is an AES-256 key, used as it is. A description is sealed with GCM: 12 bytes of nonce, ciphertext,
16 bytes of tag, nothing authenticated beside it. An endpoint is one or two blocks of ECB, so that the service can tell
equal ones: a byte of length, the protobuf message, zeros up to the end of the block.
"""

import base64
import binascii
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

from kubespan import affiliates
from kubespan.affiliates import Affiliate, Endpoint, Unreadable

SECRET_SIZE = 32
NONCE_SIZE, TAG_SIZE = 12, 16
BLOCK = 16
MAX_ENDPOINT = 32
"""The longest endpoint that a discovery service takes, in bytes; that of an IPv6 address has as many."""

OPENED = 4096
"""Descriptions, and as many endpoints, that a key remembers."""


class ClusterKey:
    """A cluster's secret as the key of what its nodes publish.

    It remembers what it opened, so that many clients with one key share what they read.
    """

    def __init__(self, secret: bytes) -> None:
        """Raises ValueError unless the secret has 32 bytes."""
        if len(secret) != SECRET_SIZE:
            raise ValueError(f"a cluster's secret has {SECRET_SIZE} bytes, this one has {len(secret)}")
        self._gcm = AESGCM(secret)
        self._ecb = Cipher(AES256(secret), ECB())  # noqa: S305 - the protocol's choice
        self._opened = lru_cache(OPENED)(self._open)
        self._endpoints = lru_cache(OPENED)(self._open_endpoint)

    def seal(self, affiliate: Affiliate, nonce: bytes | None = None) -> bytes:
        """A description as the service stores it; a nonce must never serve two of them."""
        nonce = os.urandom(NONCE_SIZE) if nonce is None else nonce
        return nonce + self._gcm.encrypt(nonce, affiliates.encode(affiliate), None)

    def open(self, data: bytes) -> Affiliate:
        """The description in what a service relayed. Raises Unreadable."""
        return self._opened(data)

    def _open(self, data: bytes) -> Affiliate:
        if len(data) < NONCE_SIZE + TAG_SIZE:
            raise Unreadable(f"the data of an affiliate has {len(data)} bytes, fewer than an empty one")
        try:
            plain = self._gcm.decrypt(data[:NONCE_SIZE], data[NONCE_SIZE:], None)
        except InvalidTag:
            raise Unreadable("the data of an affiliate was not sealed with this cluster's secret") from None
        return affiliates.decode(plain)

    def seal_endpoint(self, endpoint: Endpoint) -> bytes:
        """An endpoint as the service stores it: 16 bytes with an IPv4 address, 32 with IPv6."""
        message = affiliates.encode_endpoint(endpoint)
        plain = bytes((len(message),)) + message
        plain += bytes(-len(plain) % BLOCK)
        cipher = self._ecb.encryptor()
        return cipher.update(plain) + cipher.finalize()

    def open_endpoint(self, data: bytes) -> Endpoint:
        """The endpoint in what a service relayed. Raises Unreadable."""
        return self._endpoints(data)

    def _open_endpoint(self, data: bytes) -> Endpoint:
        if not data or len(data) % BLOCK or len(data) > MAX_ENDPOINT:
            raise Unreadable(f"an endpoint has {len(data)} bytes, neither one block nor two")
        cipher = self._ecb.decryptor()
        plain = cipher.update(data) + cipher.finalize()
        size = plain[0]
        message, padding = plain[1 : 1 + size], plain[1 + size :]
        if len(message) != size or len(padding) >= BLOCK or any(padding):
            raise Unreadable("an endpoint was not sealed with this cluster's secret")
        return affiliates.decode_endpoint(message)


def parse_secret(text: str) -> bytes:
    """The secret in a machine's configuration: base64 of 32 bytes. Raises ValueError, which does not repeat it."""
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise ValueError("the cluster's secret is not base64") from None
    if len(secret) != SECRET_SIZE:
        raise ValueError(f"the cluster's secret is base64 of {len(secret)} bytes, not of {SECRET_SIZE}")
    return secret
