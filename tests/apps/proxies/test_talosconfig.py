"""Talosconfigs and access keys over REST: whose they are, where they lead, and how they end."""

import base64
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from apps.access.models import Policy
from apps.accounts import service_accounts
from apps.accounts.identity import from_key
from apps.accounts.models import AccessKey, ApiToken, ServiceAccount, User
from apps.proxies import kubeconfigs
from apps.tenants import lookups
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from talos.talosconfig import Context, TalosConfig

ACME = "/api/v1/organisations/acme"

pytestmark = pytest.mark.usefixtures("cluster")


def only(content: str) -> tuple[str, Context]:
    config = TalosConfig.from_yaml(content)
    [(name, context)] = config.contexts.items()
    assert config.context == name
    return name, context


def test_one_cluster_or_all(api: Callable[..., APIClient], url: str) -> None:
    client = api("reader")
    name, context = only(client.post(f"{ACME}/talosconfig", {"cluster": "prod"}).data["content"])
    assert (name, context) == (
        "acme-prod", Context([url], identity="reader@acme.example.com", cluster="prod", ca=context.ca),
    )  # fmt: skip
    name, context = only(client.post(f"{ACME}/talosconfig").data["content"])
    assert (name, context.cluster) == ("acme", "")
    assert client.post(f"{ACME}/talosconfig", {"cluster": "other"}).status_code == 404


def test_the_installations_own_authority_is_in_it(
    api: Callable[..., APIClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = api("reader")
    for ca in (b"", b"-----BEGIN"):
        monkeypatch.setattr(kubeconfigs, "authority", lambda found=ca: found)
        _, context = only(client.post(f"{ACME}/talosconfig").data["content"])
        assert base64.b64decode(context.ca) == ca


def test_a_certificate_ends_with_the_token_that_asked(
    api: Callable[..., APIClient], organisation: Organisation
) -> None:
    answer = api("operator").post(f"{ACME}/talosconfig", {"cluster": "prod", "proof": "certificate", "lifetime": 3600})
    _, context = only(answer.data["content"])
    leaf = x509.load_pem_x509_certificate(base64.b64decode(context.crt))
    [ca] = lookups.authorities()
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(ca))
    assert context.identity is None
    fingerprint = f"{leaf.serial_number:032x}"
    identity = from_key(fingerprint)
    assert identity
    assert identity.key
    assert str(identity.key.id) == str(answer.data["access_key"])
    assert identity.key.expires_at < timezone.now() + timedelta(hours=1, minutes=1)
    with tenant_scope(organisation.id):
        token = ApiToken.objects.get()
        assert identity.key.api_token == token
        assert identity.key.role == token.role
    api_token = f"{ACME}/api-tokens/{token.id}/revoke"
    assert api("admin").post(api_token).status_code == 200
    assert from_key(fingerprint) is None


def test_a_certificate_of_a_browser_ends_with_its_session(member: Callable[..., User]) -> None:
    browser = Client()
    browser.force_login(member("operator"))
    answer = browser.post(f"{ACME}/talosconfig", {"proof": "certificate"}, content_type="application/json").json()
    _, context = only(answer["content"])
    leaf = x509.load_pem_x509_certificate(base64.b64decode(context.crt))
    identity = from_key(f"{leaf.serial_number:032x}")
    assert identity
    assert identity.key
    assert identity.key.session_key == browser.session.session_key


def test_a_service_account_is_named_without_an_address(
    api: Callable[..., APIClient], organisation: Organisation
) -> None:
    admin = api("admin")
    admin.post(f"{ACME}/service-accounts", {"name": "ci", "role": "operator"})
    secret = admin.post(f"{ACME}/service-accounts/ci/tokens", {"name": "x"}).data["secret"]
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    _, context = only(client.post(f"{ACME}/talosconfig").data["content"])
    assert context.identity == "ci"
    _, context = only(client.post(f"{ACME}/talosconfig", {"proof": "certificate"}).data["content"])
    leaf = x509.load_pem_x509_certificate(base64.b64decode(context.crt))
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "ci"
    with tenant_scope(organisation.id):
        [key] = AccessKey.objects.all()
        assert key.service_account == ServiceAccount.objects.get()
        assert service_accounts.service_accounts().get().keys == 1
    assert [row["service_account"] for row in client.get(f"{ACME}/access-keys").data["items"]] == ["ci"]


@pytest.mark.parametrize(
    "wish", [{"proof": "password"}, {"lifetime": "long"}, {"lifetime": 86_401}, {"lifetime": -1}, {"lifetime": 10**30}]
)
def test_wishes_that_cannot_be(api: Callable[..., APIClient], wish: dict[str, object]) -> None:
    assert api("reader").post(f"{ACME}/talosconfig", {"proof": "certificate"} | wish).status_code == 400


def test_a_cluster_that_policies_hide_is_not_there(api: Callable[..., APIClient], organisation: Organisation) -> None:
    client = api("reader")
    with tenant_scope(organisation.id):
        Policy.new(
            name="shut", spec={"subjects": ["role:reader"], "effect": "limit", "role": "none", "clusters": ["prod"]}
        )
    hidden, absent = (client.post(f"{ACME}/talosconfig", {"cluster": name}) for name in ("prod", "none"))
    assert hidden.status_code == absent.status_code == 404
    assert hidden.data["detail"] == absent.data["detail"].replace("none", "prod")


def test_keys_are_one_s_own_or_an_admin_s_to_end(api: Callable[..., APIClient]) -> None:
    reader, operator, admin = api("reader"), api("operator"), api("admin")
    key = reader.post(f"{ACME}/talosconfig", {"proof": "certificate"}).data["access_key"]
    path = f"{ACME}/access-keys/{key}"
    for client, status in ((operator, 404), (reader, 200), (admin, 200)):
        assert client.get(path).status_code == status
    assert operator.post(f"{path}/revoke").status_code == 404
    assert not operator.get(f"{ACME}/access-keys").data["items"]
    assert [row["id"] for row in admin.get(f"{ACME}/access-keys", {"usable": True, "q": "READER@"}).data["items"]] == [
        str(key)
    ]
    ended = reader.post(f"{path}/revoke")
    assert ended.data["state"]["word"] == "Revoked"
    assert not admin.get(f"{ACME}/access-keys", {"usable": True}).data["items"]
    assert admin.get(f"{ACME}/access-keys", {"usable": False, "kind": "certificate"}).data["items"]
    assert admin.get(f"{ACME}/access-keys", {"q": "a\0"}).status_code == 400
