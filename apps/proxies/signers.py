"""The keys with which organisations sign tokens: a new one each month, made when it is needed."""

import uuid
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from django.utils import timezone
from jwt.algorithms import RSAAlgorithm

from apps.proxies.models import TokenSigner
from apps.tenants.ids import uuid7
from apps.tenants.scope import current_tenant
from apps.tenants.sealing import seal, unseal

ALGORITHM = "RS256"
LIFE = timedelta(days=30)
"""How long a key signs. It verifies for as long as its tokens can live."""

LONGEST = timedelta(days=365)
"""How long a token can live."""


def current() -> TokenSigner:
    """The key that signs for the organisation in scope; a new one is made when there is none or it is too old.

    Two that are made at once are both good. Those whose tokens have all ended leave.
    """
    now = timezone.now()
    newest = TokenSigner.objects.order_by("-created_at").first()
    if newest is not None and newest.created_at > now - LIFE:
        return newest
    TokenSigner.objects.filter(created_at__lt=now - LIFE - LONGEST).delete()
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    row_id = uuid7()
    return TokenSigner.new(
        id=row_id,
        kid=str(uuid.uuid4()),
        public=made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        sealed_key=seal(
            made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), current_tenant(), row_id
        ),
    )


def key_set(signers: Iterable[TokenSigner]) -> dict[str, Any]:
    """The public halves as a JSON Web Key Set (RFC 7517)."""
    return {
        "keys": [
            {
                **RSAAlgorithm.to_jwk(public_key(bytes(signer.public)), as_dict=True),
                "kid": signer.kid,
                "alg": ALGORITHM,
                "use": "sig",
                "key_ops": ["verify"],
            }
            for signer in signers
        ]
    }


def private_key(signer: TokenSigner) -> rsa.RSAPrivateKey:
    """The key that signs, opened. Raises `SealBroken`."""
    return _loaded(signer.organisation_id, signer.id, bytes(signer.sealed_key))


@lru_cache(maxsize=64)
def _loaded(organisation_id: UUID, row_id: UUID, sealed: bytes) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(unseal(sealed, organisation_id, row_id), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@lru_cache(maxsize=512)
def public_key(pem: bytes) -> rsa.RSAPublicKey:
    """The key that verifies."""
    key = load_pem_public_key(pem)
    assert isinstance(key, rsa.RSAPublicKey)
    return key
