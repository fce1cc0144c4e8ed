"""Sealing secrets before they are stored: AES-256-GCM under the installation's key-encryption key.

A sealed value opens only with the organisation and row it was sealed for, so a copy in another row is worthless.
"""

import os
from functools import cache
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

FORMAT = b"\x01"  # first byte: leaves room for other keys and ciphers
NONCE = 12


class SealBroken(RuntimeError):
    """A sealed value does not open: wrong key-encryption key, wrong row, or damaged bytes."""


def seal(plaintext: bytes, organisation_id: UUID, row_id: UUID) -> bytes:
    """Encrypt for one row of one organisation: format byte, 12 random bytes, ciphertext with tag."""
    nonce = os.urandom(NONCE)
    return FORMAT + nonce + _cipher().encrypt(nonce, plaintext, organisation_id.bytes + row_id.bytes)


def unseal(sealed: bytes | memoryview, organisation_id: UUID, row_id: UUID) -> bytes:
    """The plaintext of a value sealed for this row. Raises `SealBroken`."""
    data = bytes(sealed)
    if data[:1] != FORMAT:
        raise SealBroken(f"row {row_id} holds a sealed value of an unknown format; was it written by a newer version?")
    nonce, ciphertext = data[1 : 1 + NONCE], data[1 + NONCE :]
    try:
        return _cipher().decrypt(nonce, ciphertext, organisation_id.bytes + row_id.bytes)
    except (InvalidTag, ValueError):  # ValueError: cut short
        raise SealBroken(f"row {row_id} does not open; is {settings.OMNI_KEK_FILE} the right key file?") from None


@cache
def _cipher() -> AESGCM:
    return AESGCM(Path(settings.OMNI_KEK_FILE).read_bytes())
