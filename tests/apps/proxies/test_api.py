"""Kubeconfigs and tokens over REST: whose they are, where they lead, and how they end."""

import base64
from collections.abc import Callable
from datetime import timedelta

import jwt
import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from apps.access.models import Policy
from apps.accounts.identity import actor_in, from_key
from apps.accounts.models import AccessKey, ApiToken, Membership, ServiceAccount, User
from apps.clusters.models import Cluster
from apps.proxies import kubeconfigs, tokens
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from talos.kubeconfig import Kubeconfig

PROD = "/api/v1/organisations/acme/clusters/prod"

pytestmark = pytest.mark.usefixtures("cluster")


def test_a_kubeconfig_with_the_plugin(api: Callable[..., APIClient], url: str) -> None:
    answer = api("reader").post(f"{PROD}/access-kubeconfig")
    assert answer.status_code == 200
    file = Kubeconfig.from_yaml(answer.data["content"])
    assert file.current_context == "acme-prod"
    assert file.clusters["acme-prod"]["server"] == f"{url}/k8s/acme/prod"
    user = file.users["acme-prod-reader@acme.example.com"]["exec"]
    assert user["apiVersion"] == "client.authentication.k8s.io/v1"
    assert user["command"] == "omni"
    assert user["args"] == ["kube-token", f"--server={url}", "--organisation=acme", "--cluster=prod"]
    assert user["interactiveMode"] == "Never"


def test_a_kubeconfig_for_kubelogin(api: Callable[..., APIClient], url: str) -> None:
    answer = api("reader").post(f"{PROD}/access-kubeconfig", {"proof": "oidc"})
    user = Kubeconfig.from_yaml(answer.data["content"]).users["acme-prod-reader@acme.example.com"]["exec"]
    assert (user["apiVersion"], user["command"]) == ("client.authentication.k8s.io/v1beta1", "kubectl")
    assert user["args"][:5] == [
        "oidc-login",
        "get-token",
        f"--oidc-issuer-url={url}/o/acme/oidc",
        "--oidc-client-id=native",
        "--oidc-extra-scope=cluster:prod",
    ]
    assert user["interactiveMode"] == "IfAvailable"


def test_the_installations_own_authority_is_in_it(
    api: Callable[..., APIClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubeconfigs, "authority", lambda: b"-----BEGIN")
    answer = api("reader").post(f"{PROD}/access-kubeconfig", {"proof": "oidc"})
    file = Kubeconfig.from_yaml(answer.data["content"])
    data = base64.b64encode(b"-----BEGIN").decode()
    assert file.clusters["acme-prod"]["certificate-authority-data"] == data
    args = file.users["acme-prod-reader@acme.example.com"]["exec"]["args"]
    assert f"--certificate-authority-data={data}" in args


def test_a_token_for_the_plugin(api: Callable[..., APIClient], organisation: Organisation) -> None:
    answer = api("operator").post(f"{PROD}/kubernetes-token")
    assert answer.status_code == 201
    claims = tokens.verify(answer.data["token"], organisation.id, "acme", "prod")
    assert claims.key == answer.data["access_key"].replace("-", "")
    assert timedelta(minutes=59) < claims.expires_at - timezone.now() <= timedelta(hours=1)


def test_it_ends_with_the_api_token_that_got_it(api: Callable[..., APIClient], organisation: Organisation) -> None:
    client = api("operator")
    key = client.post(f"{PROD}/kubernetes-token").data["access_key"].replace("-", "")
    assert from_key(key) is not None
    with tenant_scope(organisation.id):
        token = ApiToken.objects.get()
    assert client.post(f"/api/v1/organisations/acme/api-tokens/{token.id}/revoke").status_code == 200
    assert from_key(key) is None


def test_it_ends_no_later_than_the_api_token(api: Callable[..., APIClient], organisation: Organisation) -> None:
    client = api("operator")
    ends = timezone.now() + timedelta(minutes=5)
    with tenant_scope(organisation.id):
        ApiToken.objects.update(expires_at=ends)
    answer = client.post(f"{PROD}/kubernetes-token")
    assert jwt.decode(answer.data["token"], options={"verify_signature": False})["exp"] <= ends.timestamp()


def test_it_is_never_more_than_the_api_token(api: Callable[..., APIClient], organisation: Organisation) -> None:
    """Also when its person becomes more: the API token does not become more either."""
    key = api("reader").post(f"{PROD}/kubernetes-token").data["access_key"].replace("-", "")
    with tenant_scope(organisation.id):
        Membership.objects.update(role="owner")
    found = from_key(key)
    assert found is not None
    actor = actor_in(found, organisation.id, "", "")
    assert actor is not None
    assert actor.role == actor.ceiling == "reader"


def test_in_a_browser_it_belongs_to_the_session(member: Callable[..., User], organisation: Organisation) -> None:
    browser = Client()
    browser.force_login(member("operator"))
    assert browser.post(f"{PROD}/kubernetes-token").status_code == 201
    with tenant_scope(organisation.id):
        assert AccessKey.objects.get().session_key == browser.session.session_key


def test_a_service_account_gets_its_own(organisation: Organisation, cluster: Cluster) -> None:
    from apps.access.actor import Actor
    from apps.accounts.service_accounts import create, create_token

    owner = Actor("user", "1", "o@example.com", organisation.id, "owner")
    with tenant_scope(organisation.id):
        account = create(owner, "ci", "operator")
        secret = create_token(owner, account, "x").secret
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    token = client.post(f"{PROD}/kubernetes-token").data["token"]
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == "service-account:ci"
    file = Kubeconfig.from_yaml(client.post(f"{PROD}/access-kubeconfig").data["content"])
    assert list(file.users) == ["acme-prod-ci"]


@pytest.fixture
def ci(organisation: Organisation) -> ServiceAccount:
    with tenant_scope(organisation.id):
        return ServiceAccount.new(name="ci", role="operator")


def test_a_service_accounts_kubeconfig(
    api: Callable[..., APIClient], organisation: Organisation, ci: ServiceAccount
) -> None:
    body = {"service_account": "ci", "name": "pipeline", "lifetime": 7200}
    answer = api("admin").post(f"{PROD}/service-account-kubeconfig", body)
    assert answer.status_code == 201
    user = Kubeconfig.from_yaml(answer.data["content"]).users["acme-prod-ci"]
    claims = tokens.verify(user["token"], organisation.id, "acme", "prod")
    assert claims.expires_at.isoformat() == answer.data["expires_at"].replace("Z", "+00:00")
    with tenant_scope(organisation.id):
        key = AccessKey.objects.get()
        assert (key.name, key.role, key.service_account_id) == ("pipeline", "operator", ci.id)


def test_a_day_unless_asked_otherwise_and_a_year_at_most(
    api: Callable[..., APIClient], organisation: Organisation, ci: ServiceAccount
) -> None:
    client = api("admin")
    client.post(f"{PROD}/service-account-kubeconfig", {"service_account": "ci", "name": "x"})
    with tenant_scope(organisation.id):
        left = AccessKey.objects.get().expires_at - timezone.now()
    assert timedelta(hours=23) < left <= timedelta(days=1)
    for lifetime in (0, -1, 366 * 86400, 10**30):
        body = {"service_account": "ci", "name": "x", "lifetime": lifetime}
        assert client.post(f"{PROD}/service-account-kubeconfig", body).status_code == 400


def test_a_service_accounts_key_is_never_more_than_it(api: Callable[..., APIClient], ci: ServiceAccount) -> None:
    body = {"service_account": "ci", "name": "x", "role": "admin"}
    answer = api("owner").post(f"{PROD}/service-account-kubeconfig", body)
    assert answer.status_code == 400
    assert "ci is operator" in answer.data["detail"]


def test_an_admin_gives_no_key_of_an_owner(api: Callable[..., APIClient], organisation: Organisation) -> None:
    with tenant_scope(organisation.id):
        ServiceAccount.new(name="root", role="owner")
    body = {"service_account": "root", "name": "x", "role": "reader"}
    assert api("admin").post(f"{PROD}/service-account-kubeconfig", body).status_code == 400


@pytest.mark.parametrize("role", ["reader", "operator"])
def test_only_admins_give_keys_of_service_accounts(
    api: Callable[..., APIClient], ci: ServiceAccount, role: str
) -> None:
    body = {"service_account": "ci", "name": "x"}
    assert api(role).post(f"{PROD}/service-account-kubeconfig", body).status_code == 403


def test_what_is_not_there(api: Callable[..., APIClient], ci: ServiceAccount) -> None:
    client = api("admin")
    base = "/api/v1/organisations/acme/clusters/none"
    for act in ("access-kubeconfig", "kubernetes-token"):
        assert client.post(f"{base}/{act}").status_code == 404
    body = {"service_account": "nobody", "name": "x"}
    assert client.post(f"{PROD}/service-account-kubeconfig", body).status_code == 404
    assert client.post(f"{PROD}/access-kubeconfig", {"proof": "trust-me"}).status_code == 400


def test_whom_a_policy_shuts_out_gets_nothing(api: Callable[..., APIClient], organisation: Organisation) -> None:
    with tenant_scope(organisation.id):
        Policy.new(name="closed", spec={"subjects": ["role:operator"], "effect": "limit", "role": "none"})
    client = api("operator")
    for act in ("access-kubeconfig", "kubernetes-token"):
        assert client.post(f"{PROD}/{act}").status_code in (403, 404)
    with tenant_scope(organisation.id):
        assert not AccessKey.objects.exists()


def test_another_organisations_cluster_is_not_there(
    api: Callable[..., APIClient], other_organisation: Organisation
) -> None:
    stranger = api("owner", other_organisation)
    assert stranger.post(f"{PROD}/kubernetes-token").status_code == 404


def test_keys_that_ended_a_week_ago_leave(api: Callable[..., APIClient], organisation: Organisation) -> None:
    client = api("operator")
    client.post(f"{PROD}/kubernetes-token")
    with tenant_scope(organisation.id):
        AccessKey.objects.update(expires_at=timezone.now() - timedelta(days=8))
    client.post(f"{PROD}/kubernetes-token")
    with tenant_scope(organisation.id):
        assert AccessKey.objects.count() == 1
