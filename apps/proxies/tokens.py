"""The tokens that kubectl shows at our Kubernetes proxy: signed by the organisation, each for one cluster.

A token says who signed it and for which cluster it is; what its bearer may do is for policies, at each request. Its
`jti` is the fingerprint of an `AccessKey`, so that each can be listed and revoked by itself.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import check
from apps.accounts.models import AccessKey, ApiToken, ServiceAccount, User
from apps.audit.actions import record
from apps.clusters.models import Cluster
from apps.proxies import signers
from apps.proxies.models import TokenSigner
from apps.reconcile.outbox import changed
from apps.tenants.ids import uuid7
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

AUDIENCE = "omni-kubernetes"
"""Of tokens for the exec plugin and for service accounts."""

CLIENT = "native"
"""The OAuth client that kubelogin is, and the audience of its ID tokens."""

KEPT = timedelta(days=7)
"""How long a key that ended is still listed."""

SHORTEST = timedelta(minutes=1)
LARGEST = 8192
"""Bytes of a token that is looked at."""

_CLAIMS = ("iss", "aud", "exp", "iat", "jti", "sub", "cluster", "cluster_uuid")
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
_KID = re.compile(r"[0-9a-f-]{36}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,120}")


class BadToken(Exception):
    """A token is not accepted. The text is for its bearer and repeats nothing of the token."""


@dataclass(frozen=True)
class Claims:
    """What an accepted token proves."""

    key: str  # fingerprint, for `identity.from_key`
    cluster_id: UUID
    expires_at: datetime


def issuer(slug: str) -> str:
    """Who signs an organisation's tokens: the address of its OIDC provider."""
    return f"{settings.CONFIG.public_url}/o/{slug}/oidc"


def issue(
    actor: Actor,
    holder: User | ServiceAccount,
    cluster: Cluster,
    name: str,
    lifetime: timedelta,
    session_key: str = "",
    *,
    api_token: ApiToken | None = None,
    role: str = "",
) -> tuple[AccessKey, str]:
    """A new access key of `holder` for one cluster, and the token that proves it: the one time it is there.

    It ends with the browser session or API token that asked for it. `role` is its ceiling, by default that of the
    credential that asks. Raises `Denied`, and `ValidationError` for a name or lifetime that cannot be.
    """
    key = new_key(actor, holder, cluster, name, lifetime, session_key, api_token=api_token, role=role)
    return key, sign(key, cluster)


def sign(key: AccessKey, cluster: Cluster, audience: str = AUDIENCE, more: dict[str, Any] | None = None) -> str:
    """A token that proves an access key and ends with it. `more` are claims of OIDC."""
    slug = Organisation.objects.get(id=key.organisation_id).slug
    claims = {
        **(more or {}),
        "iss": issuer(slug),
        "sub": key.user.email if key.user else f"service-account:{key.service_account and key.service_account.name}",
        "aud": [audience],
        "iat": int(timezone.now().timestamp()),
        "exp": int(key.expires_at.timestamp()),
        "jti": key.fingerprint,
        "cluster": cluster.name,
        "cluster_uuid": str(cluster.id),
    }
    signer = signers.current()
    return jwt.encode(claims, signers.private_key(signer), signers.ALGORITHM, headers={"kid": signer.kid})


def new_key(
    actor: Actor,
    holder: User | ServiceAccount,
    cluster: Cluster,
    name: str,
    lifetime: timedelta,
    session_key: str = "",
    *,
    api_token: ApiToken | None = None,
    role: str = "",
) -> AccessKey:
    """The row of a Kubernetes identity, audited; see `issue`. Those that ended long ago leave."""
    check(actor, "cluster.access", cluster)
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise ValidationError({"name": "give it a name of 1 to 120 characters"})
    if not SHORTEST <= lifetime <= signers.LONGEST:
        raise ValidationError({"lifetime": f"has to be from one minute to {signers.LONGEST.days} days"})
    now = timezone.now()
    _forget(now - KEPT)
    ends = (now + lifetime).replace(microsecond=0)
    if api_token and api_token.expires_at:
        ends = min(ends, api_token.expires_at)
    row_id = uuid7()
    key = AccessKey.new(
        id=row_id,
        kind=AccessKey.KUBERNETES,
        fingerprint=row_id.hex,
        name=name,
        user=holder if isinstance(holder, User) else None,
        service_account=holder if isinstance(holder, ServiceAccount) else None,
        role=role or (api_token.role if api_token else actor.ceiling),
        cluster_id=cluster.id,
        session_key=session_key,
        api_token=api_token,
        source=actor.source[:64],
        expires_at=ends,
    )
    record(
        actor, "access-key.create", "access-key", key.id, name,
        kind=key.kind, cluster=cluster.name, expires_at=ends.isoformat(timespec="seconds"),
    )  # fmt: skip
    changed("access-key", key.id, actor.organisation_id)
    return key


def _forget(before: datetime) -> None:
    """Remove Kubernetes keys that ended before a time; those that a cluster may still know stay."""
    AccessKey.objects.filter(kind=AccessKey.KUBERNETES, expires_at__lt=before).exclude(
        direct__isnull=False, direct__removed_at=None
    ).delete()


def verify(token: str, organisation_id: UUID, slug: str, cluster_name: str) -> Claims:
    """What a token proves for a living cluster of an organisation. Raises `BadToken`.

    Whether its key is still good, and its holder a member, is for `identity.from_key` and `actor_in`.
    """
    with tenant_scope(organisation_id):
        content = _decoded(token, slug)
        if content["cluster"] != cluster_name:
            raise BadToken("this token is for another cluster")
        cluster_id = Cluster.objects.filter(name=cluster_name).values_list("id", flat=True).first()
    if cluster_id is None:
        raise BadToken(f"there is no cluster {cluster_name} any more")
    if content["cluster_uuid"] != str(cluster_id):
        raise BadToken(f"this token is for an earlier cluster {cluster_name}, which is gone; get one for the new one")
    return Claims(content["jti"], cluster_id, datetime.fromtimestamp(content["exp"], UTC))


def _decoded(token: str, slug: str) -> dict[str, Any]:
    """Claims of a token that one of the organisation's keys signed, all there and of their types."""
    if len(token) > LARGEST:
        raise BadToken("this is no token of this organisation: it is too long")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, RecursionError):
        raise BadToken("this is no token: get one with `omni kube-token`, or sign in again") from None
    if header.get("alg") != signers.ALGORITHM:
        raise BadToken(f"this is no token of this organisation: it is not signed with {signers.ALGORITHM}")
    kid = header.get("kid")
    signer = TokenSigner.objects.filter(kid=kid).first() if kid and _KID.fullmatch(kid) else None
    if signer is None:
        raise BadToken("this token was not signed by this organisation")
    try:
        content: dict[str, Any] = jwt.decode(
            token,
            signers.public_key(bytes(signer.public)),
            [signers.ALGORITHM],
            audience=[AUDIENCE, CLIENT],
            issuer=issuer(slug),
            options={"require": list(_CLAIMS), "verify_iat": False},
        )
    except jwt.ExpiredSignatureError:
        raise BadToken("this token has expired; get a new one") from None
    except jwt.InvalidIssuerError:
        raise BadToken("this token was issued under another address or for another organisation") from None
    except jwt.InvalidAudienceError:
        raise BadToken("this token is not for Kubernetes") from None
    except jwt.MissingRequiredClaimError as error:
        raise BadToken(f"this token lacks the claim {error.claim}") from None
    except jwt.InvalidTokenError:
        raise BadToken("the signature of this token does not fit its contents") from None
    if not all(isinstance(content[name], str) for name in ("cluster", "cluster_uuid", "jti")):
        raise BadToken("a claim of this token is of the wrong type")
    if not _FINGERPRINT.fullmatch(content["jti"]):
        raise BadToken("this token names no access key")
    return content


def half_hash(text: str) -> str:
    """The left half of a SHA-256, as `at_hash` has it (OpenID Connect Core 3.1.3.6)."""
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
