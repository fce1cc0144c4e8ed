"""Tokens for kubectl: what is accepted, and that nothing else is."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.exceptions import ValidationError
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.access.actor import Actor
from apps.access.check import Denied
from apps.access.policy import Rule
from apps.accounts.identity import actor_in, from_key
from apps.accounts.models import AccessKey, ServiceAccount, User
from apps.audit.models import AuditRecord
from apps.clusters.models import Cluster
from apps.proxies import signers, tokens
from apps.proxies.models import TokenSigner
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from tests.apps.proxies.conftest import make_cluster

HOUR = timedelta(hours=1)
Issue = Callable[..., str]


@pytest.fixture
def person(member: Callable[..., User]) -> User:
    return member("operator")


@pytest.fixture
def issue(organisation: Organisation, cluster: Cluster, person: User) -> Issue:
    """A good token for `prod`, or for another cluster."""

    def make(of: Cluster = cluster, lifetime: timedelta = HOUR, **more: Any) -> str:
        actor = Actor("user", str(person.id), person.email, organisation.id, "operator", subject=f"user:{person.email}")
        with tenant_scope(organisation.id):
            return tokens.issue(actor, person, of, "laptop", lifetime, **more)[1]

    return make


@pytest.fixture
def token(issue: Issue) -> str:
    """A good token for `prod`."""
    return issue()


def refusal(token: str, within: Organisation, cluster: str = "prod") -> str:
    with pytest.raises(tokens.BadToken) as refused:
        tokens.verify(token, within.id, within.slug, cluster)
    return str(refused.value)


def resigned(organisation: Organisation, token: str, **changes: Any) -> str:
    """The token with other claims (None takes one out), signed rightly: only what it says can be wrong."""
    content = {**jwt.decode(token, options={"verify_signature": False}), **changes}
    content = {name: value for name, value in content.items() if value is not None}
    with tenant_scope(organisation.id):
        signer = signers.current()
        return jwt.encode(content, signers.private_key(signer), "RS256", headers={"kid": signer.kid})


def test_a_token_proves_its_key_for_its_cluster(organisation: Organisation, cluster: Cluster, issue: Issue) -> None:
    claims = tokens.verify(issue(), organisation.id, "acme", "prod")
    assert claims.cluster_id == cluster.id
    assert timedelta(minutes=59) < claims.expires_at - timezone.now() <= HOUR
    identity = from_key(claims.key)
    assert identity is not None
    actor = actor_in(identity, organisation.id, "r", "192.0.2.1")
    assert actor is not None
    assert actor.role == "operator"
    assert "laptop" in actor.name


def test_a_token_is_listed_and_audited_without_itself(
    organisation: Organisation, cluster: Cluster, issue: Issue
) -> None:
    token = issue(session_key="s" * 32)
    with tenant_scope(organisation.id):
        key = AccessKey.objects.get()
        assert (key.kind, key.name, key.cluster_id, key.session_key) == ("kubernetes", "laptop", cluster.id, "s" * 32)
        assert key.fingerprint == key.id.hex
        row = AuditRecord.objects.get(verb="access-key.create")
        assert row.details["cluster"] == "prod"
        assert token.split(".")[2] not in json.dumps(row.details)


def test_a_revoked_key_is_nobody(organisation: Organisation, issue: Issue) -> None:
    claims = tokens.verify(issue(), organisation.id, "acme", "prod")
    with tenant_scope(organisation.id):
        AccessKey.objects.update(revoked_at=timezone.now())
    assert from_key(claims.key) is None


def test_a_service_account_holds_tokens_under_its_own_name(organisation: Organisation, cluster: Cluster) -> None:
    actor = Actor("user", "1", "admin@example.com", organisation.id, "admin")
    with tenant_scope(organisation.id):
        account = ServiceAccount.new(name="ci", role="operator")
        key, token = tokens.issue(actor, account, cluster, "pipeline", HOUR, role="reader")
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == "service-account:ci"
    identity = from_key(key.fingerprint)
    assert identity is not None
    found = actor_in(identity, organisation.id, "r", "")
    assert found is not None
    assert found.role == "reader"


def test_a_limit_that_shuts_out_gives_no_token(organisation: Organisation, cluster: Cluster, person: User) -> None:
    shut = Rule("not-prod", ("user:*",), effect="limit", role="none", clusters=("prod",))
    actor = Actor(
        "user", "1", "a@example.com", organisation.id, "operator", subject="user:a@example.com", rules=(shut,)
    )
    with tenant_scope(organisation.id), pytest.raises(Denied, match="not-prod"):
        tokens.issue(actor, person, cluster, "x", HOUR)


@pytest.mark.parametrize(
    ("name", "lifetime"),
    [("", HOUR), ("a\nb", HOUR), ("x" * 121, HOUR), ("x", timedelta(0)), ("x", timedelta(days=366))],
)
def test_names_and_lifetimes_have_bounds(issue: Issue, organisation: Organisation, cluster: Cluster, person: User,
                                         name: str, lifetime: timedelta) -> None:  # fmt: skip
    actor = Actor("user", str(person.id), person.email, organisation.id, "operator")
    with tenant_scope(organisation.id), pytest.raises(ValidationError):
        tokens.issue(actor, person, cluster, name, lifetime)


def test_a_token_for_another_cluster(organisation: Organisation, issue: Issue) -> None:
    make_cluster(organisation, "staging", 10002)
    assert refusal(issue(), organisation, "staging") == "this token is for another cluster"


def test_a_token_for_a_cluster_that_was_made_anew(organisation: Organisation, cluster: Cluster, issue: Issue) -> None:
    token = issue()
    with tenant_scope(organisation.id):
        cluster.delete()
    assert "no cluster prod any more" in refusal(token, organisation)
    make_cluster(organisation)
    assert "earlier cluster prod" in refusal(token, organisation)


def test_a_foreign_organisations_token(
    organisation: Organisation, other_organisation: Organisation, issue: Issue
) -> None:
    make_cluster(other_organisation, "prod", 10003)
    assert refusal(issue(), other_organisation) == "this token was not signed by this organisation"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exp": 1_000_000_000}, "expired"),
        ({"iss": "https://elsewhere.example.com/o/acme/oidc"}, "another address or for another organisation"),
        ({"aud": ["something-else"]}, "not for Kubernetes"),
        ({"aud": None}, "lacks the claim aud"),
        ({"exp": None}, "lacks the claim exp"),
        ({"iss": None}, "lacks the claim iss"),
        ({"cluster": None}, "lacks the claim cluster"),
        ({"cluster_uuid": None}, "lacks the claim cluster_uuid"),
        ({"jti": None}, "lacks the claim jti"),
        ({"sub": None}, "lacks the claim sub"),
        ({"jti": "../../x"}, "names no access key"),
        ({"cluster": ["prod"]}, "wrong type"),
        ({"cluster_uuid": 7}, "wrong type"),
    ],
)
def test_claims_that_are_wrong(organisation: Organisation, issue: Issue, changes: dict[str, Any], words: str) -> None:
    assert words in refusal(resigned(organisation, issue(), **changes), organisation)


def test_kubelogins_audience_is_accepted(organisation: Organisation, issue: Issue) -> None:
    assert tokens.verify(resigned(organisation, issue(), aud=["native"]), organisation.id, "acme", "prod").key


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_that_nobody_signed(organisation: Organisation, issue: Issue) -> None:
    body = issue().split(".")[1]
    with tenant_scope(organisation.id):
        kid = signers.current().kid
    for algorithm in ("none", "None", "NONE", "HS512", "PS256", "ES256"):
        forged = f"{part({'alg': algorithm, 'typ': 'JWT', 'kid': kid})}.{body}."
        assert refusal(forged, organisation).startswith("this is no token")


def test_a_token_signed_with_the_public_key_as_a_secret(organisation: Organisation, issue: Issue) -> None:
    body = issue().split(".")[1]
    with tenant_scope(organisation.id):
        signer = signers.current()
    for algorithm in ("HS256", "RS256"):
        signed = f"{part({'alg': algorithm, 'typ': 'JWT', 'kid': signer.kid})}.{body}"
        mac = hmac.new(bytes(signer.public), signed.encode(), hashlib.sha256).digest()
        forged = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        refusal(forged, organisation)


def test_a_token_signed_by_a_key_of_ones_own(organisation: Organisation, issue: Issue) -> None:
    content = jwt.decode(issue(), options={"verify_signature": False})
    with tenant_scope(organisation.id):
        kid = signers.current().kid
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert "signature" in refusal(jwt.encode(content, own, "RS256", headers={"kid": kid}), organisation)
    jwk = {"kid": kid, "jwk": {"kty": "RSA"}, "jku": "https://elsewhere.example.com/keys"}
    assert "signature" in refusal(jwt.encode(content, own, "RS256", headers=jwk), organisation)
    other = {"kid": "0" * 36}
    assert "not signed by this" in refusal(jwt.encode(content, own, "RS256", headers=other), organisation)
    assert "not signed by this" in refusal(jwt.encode(content, own, "RS256"), organisation)
    assert "not signed by this" in refusal(jwt.encode(content, own, "RS256", headers={"kid": "\0" * 36}), organisation)


def test_what_is_no_token(organisation: Organisation) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 5000).decode()
    for text in ("", "a", "a.b.c", "....", "omni_abc", "x" * 100_000, f"{deep}.{deep}.x", "é.é.é"):
        assert refusal(text, organisation).startswith("this is no token")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_token_is_accepted(organisation: Organisation, token: str, data: st.DataObject) -> None:
    where = data.draw(st.integers(0, len(token) - 1))
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = token[:where] + data.draw(st.sampled_from(letters + ".=")) + token[where + 1 :]
    same_bytes = [_bytes(text) for text in changed.split(".")] == [_bytes(text) for text in token.split(".")]
    if same_bytes:  # the last letter of base64 has bits that mean nothing
        return
    refusal(changed, organisation)


def _bytes(text: str) -> bytes | None:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None


def test_a_signer_lasts_a_month_and_its_tokens_longer(organisation: Organisation, issue: Issue) -> None:
    first = issue(lifetime=timedelta(days=300))
    with tenant_scope(organisation.id):
        TokenSigner.objects.update(created_at=timezone.now() - timedelta(days=31))
    second = issue()
    kids = {jwt.get_unverified_header(token)["kid"] for token in (first, second)}
    assert len(kids) == 2
    for token in (first, second):
        assert tokens.verify(token, organisation.id, "acme", "prod")
    with tenant_scope(organisation.id):
        assert {key["kid"] for key in signers.key_set(TokenSigner.objects.all())["keys"]} == kids
        TokenSigner.objects.update(created_at=timezone.now() - timedelta(days=400))
    issue()
    with tenant_scope(organisation.id):
        assert TokenSigner.objects.count() == 1  # what no living token can name is gone


def test_the_private_half_is_sealed(organisation: Organisation, issue: Issue) -> None:
    issue()
    with tenant_scope(organisation.id):
        signer = TokenSigner.objects.get()
        assert b"PRIVATE" not in bytes(signer.sealed_key)
        assert "d" not in signers.key_set([signer])["keys"][0]


def test_expiry_is_to_the_second(organisation: Organisation, issue: Issue) -> None:
    soon = int(time.time()) + 30
    assert tokens.verify(resigned(organisation, issue(), exp=soon), organisation.id, "acme", "prod")
    assert "expired" in refusal(resigned(organisation, issue(), exp=soon - 31), organisation)
