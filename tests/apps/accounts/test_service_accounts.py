"""Service accounts: what they may, who makes them, and what ends with them."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from rest_framework.test import APIClient

from apps.access.actor import Actor
from apps.access.check import Denied
from apps.accounts import service_accounts
from apps.accounts.identity import actor_in, from_token, places_of
from apps.accounts.models import AccessKey, ApiToken, ServiceAccount
from apps.audit.models import AuditRecord
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

Api = Callable[..., APIClient]


@pytest.fixture
def scope(organisation: Organisation) -> Iterator[None]:
    with tenant_scope(organisation.id):
        yield


def test_a_token_speaks_for_its_service_account(organisation: Organisation, actor: Callable[..., Actor]) -> None:
    with tenant_scope(organisation.id):
        row = service_accounts.create(actor("admin"), "ci", "operator", "deploys")
        secret = service_accounts.create_token(actor("admin"), row, "github").secret
    identity = from_token(secret)
    assert identity is not None
    assert identity.user is None
    found = actor_in(identity, organisation.id, "r", "192.0.2.1")
    assert found is not None
    assert (found.kind, found.name, found.role) == ("token", "ci (token github)", "operator")
    assert found.subject == "service-account:ci"
    assert [place.slug for place in places_of(identity)] == ["acme"]


def test_no_token_is_above_its_account_and_no_account_above_its_maker(
    organisation: Organisation, actor: Callable[..., Actor]
) -> None:
    with tenant_scope(organisation.id):
        with pytest.raises(ValidationError, match="cannot give"):
            service_accounts.create(actor("admin"), "root", "owner")
        with pytest.raises(Denied):
            service_accounts.create(actor("operator"), "ci", "reader")
        row = service_accounts.create(actor("admin"), "ci", "reader")
        secret = service_accounts.create_token(actor("admin"), row, "x", "admin").secret
    identity = from_token(secret)
    assert identity is not None
    found = actor_in(identity, organisation.id, "", "")
    assert found is not None
    assert found.role == "reader"


def test_a_lower_role_counts_at_once_and_deleting_ends_everything(
    organisation: Organisation, actor: Callable[..., Actor]
) -> None:
    with tenant_scope(organisation.id):
        row = service_accounts.create(actor(), "ci", "admin")
        secret = service_accounts.create_token(actor(), row, "x").secret
        AccessKey.new(
            kind="pgp", fingerprint="f" * 40, name="talosctl", service_account=row, role="admin",
            expires_at=timezone.now() + timedelta(days=1),
        )  # fmt: skip
        identity = from_token(secret)
        assert identity is not None
        service_accounts.update(actor(), row, "reader", "")
        lowered = actor_in(identity, organisation.id, "", "")
        assert lowered is not None
        assert lowered.role == "reader"
        counted = service_accounts.service_accounts().get(name="ci")
        assert (counted.tokens, counted.keys) == (1, 1)
        assert counted.last_used_at is not None
        service_accounts.delete(actor(), row)
        assert not ApiToken.objects.exists()
        assert not AccessKey.objects.exists()
        verbs = set(AuditRecord.objects.values_list("verb", flat=True))
        assert {"service-account.create", "service-account.update", "service-account.delete"} <= verbs
    assert from_token(secret) is None
    assert actor_in(identity, organisation.id, "", "") is None


@pytest.mark.usefixtures("scope")
@pytest.mark.parametrize("name", ["", "CI", "-ci", "ci-", "a b", "c" * 64, "ci\n", "ä"])
def test_names_that_cannot_be(name: str, actor: Callable[..., Actor]) -> None:
    with pytest.raises(ValidationError, match="cannot be a name"):
        service_accounts.create(actor(), name, "reader")
    assert not ServiceAccount.objects.exists()


@pytest.mark.usefixtures("scope")
def test_one_name_once_and_no_account_deletes_itself(actor: Callable[..., Actor], organisation: Organisation) -> None:
    row = service_accounts.create(actor(), "ci", "admin")
    with pytest.raises(ValidationError, match="already"):
        service_accounts.create(actor(), "ci", "reader")
    itself = Actor("token", str(row.id), "ci", organisation.id, "admin", subject="service-account:ci")
    with pytest.raises(ValidationError, match="itself"):
        service_accounts.delete(itself, row)


def test_rest(api: Api, organisation: Organisation) -> None:
    admin, base = api("admin"), "/api/v1/organisations/acme/service-accounts"
    made = admin.post(base, {"name": "ci", "role": "operator", "description": "deploys"})
    assert made.status_code == 201
    assert made.json()["keys"] == 0
    token = admin.post(f"{base}/ci/tokens", {"name": "github", "role": "reader"})
    assert token.status_code == 201
    assert token.json()["service_account"] == "ci"
    assert token.json()["user"] is None
    program = APIClient()
    program.credentials(HTTP_AUTHORIZATION=f"Bearer {token.json()['secret']}")
    me = program.get("/api/v1/me").json()
    assert (me["name"], me["email"], me["token"]) == ("ci", None, "github")
    assert [row["slug"] for row in program.get("/api/v1/organisations").json()["items"]] == ["acme"]
    assert program.get("/api/v1/organisations/acme/machines").status_code == 200
    assert program.post("/api/v1/organisations/acme/join-tokens", {"name": "x"}).status_code == 403
    refused = program.post("/api/v1/organisations/acme/api-tokens", {"name": "x", "role": "reader"})
    assert refused.status_code == 400
    assert "from an admin" in refused.content.decode()
    assert program.post("/api/v1/organisations", {"name": "x", "slug": "x"}).status_code == 403
    own = program.get("/api/v1/organisations/acme/api-tokens").json()["items"]
    assert [row["name"] for row in own] == ["github"]
    listed = admin.get("/api/v1/organisations/acme/api-tokens?service_account=ci").json()["items"]
    assert [row["name"] for row in listed] == ["github"]
    assert admin.patch(f"{base}/ci", {"name": "other"}).status_code == 400
    assert admin.patch(f"{base}/ci", {"role": "reader"}).json()["role"] == "reader"
    assert admin.delete(f"{base}/ci").status_code == 204
    assert program.get("/api/v1/organisations/acme/machines").status_code == 401
