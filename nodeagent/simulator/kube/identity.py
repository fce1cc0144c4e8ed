"""Who asks: client certificates, tokens of service accounts, and on whose behalf."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from nodeagent.simulator.kube.http import Failure, Request
from nodeagent.simulator.objects import KubernetesObjects, Object, timestamp

AUTHENTICATED = "system:authenticated"
MASTERS = "system:masters"
ISSUER = "https://kubernetes.default.svc"
TOKEN_SECONDS = 3600
_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class User:
    """Somebody that the API knows."""

    name: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)


def of_certificate(certificate: x509.Certificate) -> User:
    """The common name is the user, organisations are groups."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return User(str(names[0].value) if names else "", (*(str(group.value) for group in groups), AUTHENTICATED))


def authenticate(certificate: x509.Certificate | None, request: Request, objects: KubernetesObjects) -> User | None:
    """None for nobody. Raises Failure (401) for a token that is not good."""
    if certificate is not None:
        return of_certificate(certificate)
    scheme, _, token = request.header("authorization").partition(" ")
    if scheme.lower() != "bearer":
        return None
    return _of_token(token.strip(), objects)


def on_behalf(user: User, request: Request, may_impersonate: bool) -> User:
    """Whom the request is made for. Raises Failure (403, 500)."""
    name = request.headers.get("impersonate-user", [""])[0]
    groups = request.headers.get("impersonate-group", [])
    uid = request.headers.get("impersonate-uid", [""])[0]
    prefix = "impersonate-extra-"
    extra = {key.removeprefix(prefix): value for key, value in request.headers.items() if key.startswith(prefix)}
    if not name:
        if groups or uid or extra:
            raise Failure(500, "InternalError", "requested groups, uid or extra without impersonating a user")
        return user
    if not may_impersonate:
        raise Failure(403, "Forbidden", f'users "{name}" is forbidden: User "{user.name}" cannot impersonate')
    if not groups and name.startswith(_ACCOUNT):
        groups = _account_groups(name.split(":")[2])
    return User(name, tuple(dict.fromkeys((*groups, AUTHENTICATED))), uid, extra)


def issue(objects: KubernetesObjects, account: Object, request: Object) -> Object:
    """Answer a TokenRequest for a service account."""
    spec = request.get("spec") or {}
    seconds = int(spec.get("expirationSeconds") or TOKEN_SECONDS)
    metadata = account["metadata"]
    expiry = int(time.time()) + seconds
    claims = {
        "iss": ISSUER,
        "sub": f"{_ACCOUNT}{metadata['namespace']}:{metadata['name']}",
        "aud": spec.get("audiences") or [ISSUER],
        "exp": expiry,
        "iat": int(time.time()),
        "kubernetes.io": {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        },
    }
    head = _encode({"alg": "HS256"}) + b"." + _encode(claims)
    token = head + b"." + _seal(objects, head)
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "creationTimestamp": timestamp()},
        "spec": {"audiences": claims["aud"], "expirationSeconds": seconds, "boundObjectRef": None},
        "status": {
            "token": token.decode(),
            "expirationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expiry)),
        },
    }


def _of_token(token: str, objects: KubernetesObjects) -> User:
    refusal = Failure(401, "Unauthorized", "Unauthorized")
    head, _, seal = token.encode().rpartition(b".")
    if not hmac.compare_digest(seal, _seal(objects, head)):
        raise refusal
    claims: dict[str, Any] = json.loads(_decode(head.partition(b".")[2]))
    place, name = claims["kubernetes.io"]["namespace"], claims["kubernetes.io"]["serviceaccount"]["name"]
    account = objects.get("serviceaccounts", (place, name))
    if account is None or claims["exp"] < time.time():
        raise refusal
    uid = account["metadata"]["uid"]
    if uid != claims["kubernetes.io"]["serviceaccount"]["uid"] or ISSUER not in claims["aud"]:
        raise refusal
    return User(claims["sub"], (*_account_groups(place), AUTHENTICATED), uid)


def _account_groups(namespace: str) -> list[str]:
    return ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]


def _seal(objects: KubernetesObjects, head: bytes) -> bytes:
    return base64.urlsafe_b64encode(hmac.digest(objects.secret, head, hashlib.sha256)).rstrip(b"=")


def _encode(value: Object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
