"""An organisation's OIDC provider for kubelogin: a person's grant becomes a code, and the code once an ID token."""

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import Denied, check
from apps.accounts import grants, identity
from apps.accounts.actions import token_hash
from apps.accounts.models import AccessKey, BrowserSession, GrantRequest, Membership, User
from apps.clusters.models import Cluster
from apps.proxies import oauth, tokens
from apps.reconcile.outbox import changed
from apps.tenants.scope import tenant_scope

CODE_LIFE = timedelta(seconds=60)
TYPED_CODE_LIFE = timedelta(minutes=3)
"""Of a code that a person carries to the terminal."""

TOKEN_LIFE = timedelta(hours=8)

_GONE = "the code is unknown, used already or too old; sign in again"


def discovery(slug: str) -> dict[str, Any]:
    """What the provider is (OpenID Connect Discovery 3)."""
    issuer = tokens.issuer(slug)
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/keys",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid"],
        "claims_supported": [
            "iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "nonce", "at_hash", "jti", "cluster", "cluster_uuid",
        ],
    }  # fmt: skip


def ask(slug: str, wish: oauth.Wish, source: str) -> GrantRequest:
    """Store what is asked for until a person decides. Raises `TooMany`.

    For an organisation that there is not it is stored too: what follows tells nobody which ones there are.
    """
    details = {
        "name": "kubectl",
        "cluster": wish.cluster,
        "lifetime": int(TOKEN_LIFE.total_seconds()),
        "redirect_uri": wish.redirect_uri,
        "state": wish.state,
        "nonce": wish.nonce,
        "challenge": wish.challenge,
    }
    organisation_id = identity.organisation_by_slug(slug) or uuid4()
    return grants.ask(GrantRequest.KUBERNETES, details, source, organisation_id=organisation_id)[0]


def grant_kubernetes(actor: Actor, user: User, request: GrantRequest, session_key: str) -> str:
    """Where the browser goes with a code, or the code itself where it is typed. Raises `Denied`.

    The access key is made now, good for as long as the code. A role below the person's own is the key's ceiling; with
    their own it has none, so that policies lift it as they lift them.
    """
    wished = request.details
    typed = wished["redirect_uri"] == oauth.OUT_OF_BAND
    life = TYPED_CODE_LIFE if typed else CODE_LIFE
    cluster = Cluster.objects.filter(name=wished["cluster"]).first()
    if cluster is None:
        raise Denied(f"there is no cluster {wished['cluster']} in this organisation", "cluster.access", "reader")
    lowered = Membership.objects.filter(user=user).exclude(role=actor.role).exists()
    role = actor.role if lowered and actor.role else "owner"
    key = tokens.new_key(actor, user, cluster, f"kubectl, {cluster.name}", life, session_key, role=role)
    session = BrowserSession.objects.filter(session_key=session_key).first()
    code = secrets.token_urlsafe(32)
    request.secret_hash, request.expires_at = token_hash(code), timezone.now() + life
    request.details = {
        **wished,
        "access_key": str(key.id),
        "auth_time": int((session.signed_in_at if session else timezone.now()).timestamp()),
    }
    return code if typed else oauth.answer(wished["redirect_uri"], code=code, state=wished["state"])


def redeem(slug: str, form: Mapping[str, str], request_id: str, source: str) -> dict[str, Any]:
    """The token endpoint's answer to a code, which is used up whatever comes of it. Raises `oauth.Refused`."""
    if form.get("grant_type") != "authorization_code":
        raise oauth.Refused("unsupported_grant_type", "grant_type has to be authorization_code")
    missing = [name for name in ("code", "redirect_uri", "code_verifier") if not form.get(name)]
    if missing:
        raise oauth.Refused("invalid_request", f"{' and '.join(missing)} missing")
    outcome = grants.outcome_of(form["code"], GrantRequest.KUBERNETES)
    request = outcome.request if outcome else None
    organisation_id = identity.organisation_by_slug(slug)
    if request is None or organisation_id is None or request.organisation_id != organisation_id:
        raise oauth.Refused("invalid_grant", _GONE)
    if form["redirect_uri"] != request.details["redirect_uri"]:
        raise oauth.Refused("invalid_grant", "redirect_uri is not the one that the code was asked with")
    if not oauth.proves(form["code_verifier"], request.details["challenge"]):
        raise oauth.Refused("invalid_grant", "code_verifier is not that of the code_challenge")
    with tenant_scope(organisation_id):
        key, cluster = _usable(UUID(request.details["access_key"]), organisation_id, request_id, source)
        return _answer(key, cluster, request.details)


def _usable(key_id: UUID, organisation_id: UUID, request_id: str, source: str) -> tuple[AccessKey, Cluster]:
    """The key of a code, good for as long as a token, if its person may still have one. Raises `Refused`."""
    ends = (timezone.now() + TOKEN_LIFE).replace(microsecond=0)
    AccessKey.objects.filter(id=key_id).update(expires_at=ends)
    key = AccessKey.objects.filter(id=key_id).select_related("user").first()
    cluster = Cluster.objects.filter(id=key.cluster_id).first() if key else None
    found = identity.from_key(key.fingerprint) if key else None
    actor = identity.actor_in(found, organisation_id, request_id, source) if found else None
    if key is None or cluster is None or actor is None:
        raise oauth.Refused("invalid_grant", _GONE)
    try:
        check(actor, "cluster.access", cluster)
    except Denied as denied:
        raise oauth.Refused("invalid_grant", str(denied)) from None
    changed("access-key", key.id, organisation_id)
    return key, cluster


def _answer(key: AccessKey, cluster: Cluster, asked: dict[str, Any]) -> dict[str, Any]:
    access_token = secrets.token_urlsafe(32)  # OAuth wants one; it opens nothing and is kept nowhere
    claims = {
        "azp": oauth.CLIENT,
        "auth_time": asked["auth_time"],
        "at_hash": tokens.half_hash(access_token),
        **({"nonce": asked["nonce"]} if asked["nonce"] else {}),
    }
    return {
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": int(TOKEN_LIFE.total_seconds()),
        "id_token": tokens.sign(key, cluster, oauth.CLIENT, claims),
        "scope": f"openid cluster:{cluster.name}",
    }
