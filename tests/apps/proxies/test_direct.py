"""Kubeconfigs that go past us: made, kept right, and taken back, also while the cluster is away."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from apps.access.models import Policy
from apps.accounts.models import AccessKey, ApiToken, Membership, User
from apps.audit.models import AuditRecord
from apps.clusters import kubernetes, ways
from apps.clusters.credentials import store_secrets
from apps.clusters.kubernetes import Call, ControlPlane, KubernetesError
from apps.clusters.models import Cluster, ClusterStatus
from apps.proxies import direct, reconcile_access
from apps.proxies.models import ClusterAccess, DirectIdentity
from apps.proxies.reconcile_access import AGAIN, AT_REST, WATCHFUL
from apps.proxies.reconcile_access import reconcile_access as reconcile
from apps.reconcile.models import Outbox
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from talos.kubeconfig import Kubeconfig
from tests.apps.clusters.test_simulated import bundle_for
from tests.apps.proxies.test_objects import GROUPS, Api, of_accounts

PROD = "/api/v1/organisations/acme/clusters/prod"
WISH = {"endpoint": "node", "name": "the safe"}


@dataclass
class Place:
    """A cluster with an API that can be away, and its reconciler."""

    organisation: Organisation
    cluster: Cluster
    api: Api = field(default_factory=Api)
    away: str = ""

    def call(self, control_plane: ControlPlane, *calls: Call) -> list[Any]:
        if self.away:
            raise KubernetesError(self.away)
        return [self.api.call(asked) for asked in calls]

    def reconcile(self) -> float | None:
        return reconcile(self.organisation.id, self.cluster.id).again_in

    def conditions(self) -> dict[str, tuple[str, str]]:
        with tenant_scope(self.organisation.id):
            row = ClusterAccess.objects.get(cluster=self.cluster)
        return {item["name"]: (item["state"], item["message"]) for item in row.conditions}

    def look_again(self) -> None:
        """As if the last look was long ago."""
        with tenant_scope(self.organisation.id):
            ClusterAccess.objects.update(looked_at=timezone.now() - timedelta(seconds=AT_REST + 1))


@pytest.fixture
def place(organisation: Organisation, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(organisation, cluster)
    with tenant_scope(organisation.id):
        ClusterStatus.new(cluster=cluster, kubernetes_api_ready=True)
        store_secrets(cluster, bundle_for("1.13.8"))
    reached = lambda _: (ControlPlane("fdae::1", None),)  # type: ignore[arg-type] # noqa: E731
    for module in (direct, reconcile_access):
        monkeypatch.setattr(module, "control_planes_of", reached)
    monkeypatch.setattr(kubernetes, "call", made.call)
    monkeypatch.setattr(ways, "kubernetes_url", lambda cluster, way: f"https://{way}.example.com:6443")
    return made


def given(answer: Any) -> Kubeconfig:
    assert answer.status_code == 201, answer.data
    return Kubeconfig.from_yaml(answer.data["content"])


def test_groups_are_put_into_a_ready_cluster(place: Place) -> None:
    assert place.reconcile() == AT_REST
    assert place.api.roles() == GROUPS
    assert place.conditions()["groups"][0] == "ok"
    asked = len(place.api.calls)
    assert place.reconcile() == AT_REST
    assert len(place.api.calls) == asked  # it was looked at just now
    del place.api.bindings["omni:reader"]
    place.look_again()
    place.reconcile()
    assert place.api.roles() == GROUPS


def test_an_api_that_came_back_is_looked_at(place: Place) -> None:
    place.reconcile()
    place.api.bindings.clear()  # it was made anew from an older copy
    back = {"name": "kubernetes", "state": "ok", "message": "", "since": timezone.now().isoformat()}
    with tenant_scope(place.organisation.id):
        ClusterStatus.objects.update(conditions=[back])
    place.reconcile()
    assert place.api.roles() == GROUPS
    asked = len(place.api.calls)
    place.reconcile()
    assert len(place.api.calls) == asked


def test_not_before_the_api_is_ready(place: Place) -> None:
    with tenant_scope(place.organisation.id):
        ClusterStatus.objects.update(kubernetes_api_ready=False)
    assert place.reconcile() is None  # the cluster's own reconciler hints when it is
    assert not place.api.calls
    assert place.conditions()["groups"][0] == "wait"


def test_the_words_of_an_api_that_refuses(place: Place) -> None:
    place.away = "PATCH was answered with 403: no"
    assert place.reconcile() == AGAIN
    state, text = place.conditions()["groups"]
    assert state == "wait"
    assert "403: no" in text
    assert "people have no rights in it" in text


def test_of_clusters_that_go_or_are_gone(place: Place) -> None:
    with tenant_scope(place.organisation.id):
        Cluster.objects.update(deleting_at=timezone.now())
    assert place.reconcile() is None
    with tenant_scope(place.organisation.id):
        place.cluster.delete()
    assert place.reconcile() is None
    assert not place.api.calls


def test_a_kubeconfig_past_us(place: Place, api: Callable[..., APIClient]) -> None:
    answer = api("operator").post(f"{PROD}/direct-kubeconfig", WISH)
    file = given(answer)
    assert file.current_context == "acme-prod-direct"
    assert file.clusters["acme-prod-direct"]["server"] == "https://node.example.com:6443"
    assert file.clusters["acme-prod-direct"]["certificate-authority-data"]
    assert file.users["acme-prod-direct-operator@acme.example.com"] == {"token": "t"}
    assert "until the cluster has been reached" in answer.data["notes"][0]
    assert answer.data["expires_at"] == "2031-01-01T00:00:00Z"  # what the cluster gave
    with tenant_scope(place.organisation.id):
        key = AccessKey.objects.get()
        assert (key.kind, key.name, key.direct.cluster_role) == ("kubernetes", "the safe", "edit")
    accounts = of_accounts({f"key-{key.fingerprint}": "edit"})
    assert place.api.roles() == accounts
    assert 7 * 86400 - 60 < place.api.calls[-1].body["spec"]["expirationSeconds"] <= 7 * 86400
    assert place.reconcile() == WATCHFUL
    assert place.api.roles() == GROUPS | accounts
    assert "1 account goes past us" in place.conditions()["direct"][1]


@pytest.mark.parametrize("role", ["reader", "operator", "admin", "owner"])
def test_the_role_stands_for_the_callers(place: Place, api: Callable[..., APIClient], role: str) -> None:
    given(api(role).post(f"{PROD}/direct-kubeconfig", WISH))
    looking = ["omni:look"] if role != "owner" else []
    assert list(place.api.roles().values()) == [GROUPS[f"omni:{role}"], *looking]


def test_it_may_be_less_and_not_more(place: Place, api: Callable[..., APIClient], member: Callable[..., User]) -> None:
    given(api("owner").post(f"{PROD}/direct-kubeconfig", {**WISH, "role": "reader"}))
    assert list(place.api.roles().values()) == ["view", "omni:look"]
    lowered = api("reader", user=member("admin"))  # a token that gives less than its holder has
    assert lowered.post(f"{PROD}/direct-kubeconfig", {**WISH, "role": "admin"}).status_code == 400


def revoke(place: Place, **found: Any) -> None:
    with tenant_scope(place.organisation.id):
        AccessKey.objects.filter(**found).update(revoked_at=timezone.now())


def test_a_revoked_account_goes_when_the_cluster_is_reached(place: Place, api: Callable[..., APIClient]) -> None:
    given(api("operator").post(f"{PROD}/direct-kubeconfig", WISH))
    place.reconcile()
    revoke(place)
    place.away = "no route to host"
    assert place.reconcile() == AGAIN
    assert len(place.api.accounts) == 1
    assert place.conditions()["direct"] == (
        "warn",
        "1 revoked account is still valid in prod until it is reached: no route to host.",
    )
    place.away = ""
    place.reconcile()
    assert not place.api.accounts
    assert place.api.roles() == GROUPS
    with tenant_scope(place.organisation.id):
        assert DirectIdentity.objects.get().removed_at is not None
        assert AuditRecord.objects.filter(verb="access-key.removed").count() == 1
    assert "direct" not in place.conditions()
    assert place.reconcile() == AT_REST


def test_lists_and_the_page_say_so(place: Place, api: Callable[..., APIClient], member: Callable[..., User]) -> None:
    user = member("operator")
    client, browser = api("operator", user=user), Client()
    browser.force_login(user)
    keys, page = "/api/v1/organisations/acme/access-keys", "/o/acme/clusters/prod/access"
    given(client.post(f"{PROD}/direct-kubeconfig", WISH))
    client.post(f"{PROD}/kubernetes-token")
    place.reconcile()
    rows = {row["name"]: (row["direct"], row["state"]["word"]) for row in client.get(keys).data["items"]}
    assert rows == {"the safe": (True, "In the cluster"), "kubectl, prod": (False, "Not used yet")}
    assert "The cluster knows our groups" in browser.get(page).content.decode()
    revoke(place, name="the safe")
    place.away = "no route to host"
    place.reconcile()
    assert "1 revoked account is still valid in prod" in browser.get(page).content.decode()
    states = [row["state"]["sentence"] for row in client.get(f"{keys}?q=the safe").data["items"]]
    assert states == ["Revoked, still valid in the cluster until it is reached."]
    place.away = ""
    place.reconcile()
    assert client.get(f"{keys}?q=the safe").data["items"][0]["state"]["word"] == "Revoked"


def expire(place: Place) -> None:
    with tenant_scope(place.organisation.id):
        AccessKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def remove_member(place: Place) -> None:
    with tenant_scope(place.organisation.id):
        Membership.objects.all().delete()


def shut_out(place: Place) -> None:
    with tenant_scope(place.organisation.id):
        Policy.new(name="closed", spec={"subjects": ["user:*"], "effect": "limit", "role": "none"})


def no_groups(place: Place) -> None:
    spec = {"subjects": ["user:*"], "effect": "limit", "kubernetes_groups": ["team-*"]}
    with tenant_scope(place.organisation.id):
        Policy.new(name="teams", spec=spec)


def forget(place: Place) -> None:
    with tenant_scope(place.organisation.id):
        AccessKey.objects.all().delete()


@pytest.mark.parametrize("end", [revoke, expire, remove_member, shut_out, no_groups, forget])
def test_however_it_ends_the_account_goes(
    place: Place, api: Callable[..., APIClient], end: Callable[[Place], None]
) -> None:
    given(api("operator").post(f"{PROD}/direct-kubeconfig", WISH))
    place.reconcile()
    end(place)
    place.reconcile()
    assert not place.api.accounts
    assert place.api.roles() == GROUPS


def test_it_ends_with_the_api_token_that_asked(place: Place, api: Callable[..., APIClient]) -> None:
    client = api("operator")
    with tenant_scope(place.organisation.id):
        token = ApiToken.objects.get()
    given(client.post(f"{PROD}/direct-kubeconfig", WISH))
    client.post(f"/api/v1/organisations/acme/api-tokens/{token.id}/revoke")
    place.reconcile()
    assert not place.api.accounts


def test_a_new_role_of_the_holder_is_bound(place: Place, api: Callable[..., APIClient]) -> None:
    given(api("operator").post(f"{PROD}/direct-kubeconfig", WISH))
    place.reconcile()
    with tenant_scope(place.organisation.id):
        Membership.objects.update(role="reader")
    place.reconcile()
    with tenant_scope(place.organisation.id):
        identity = DirectIdentity.objects.get()
        assert identity.cluster_role == "view"
        assert place.api.roles()[f"omni-access:key-{identity.key.fingerprint}"] == "view"


def test_a_cluster_that_does_not_make_it(place: Place, api: Callable[..., APIClient]) -> None:
    client = api("operator")
    place.away = "it does not answer"
    answer = client.post(f"{PROD}/direct-kubeconfig", WISH)
    assert answer.status_code == 503
    assert "it does not answer" in answer.data["detail"]
    assert answer.data["request_id"]
    with tenant_scope(place.organisation.id):
        assert AccessKey.objects.get().revoked_at is not None
        assert Outbox.objects.filter(kind="cluster-access").exists()
    place.away = ""
    place.reconcile()
    with tenant_scope(place.organisation.id):
        assert DirectIdentity.objects.get().removed_at is not None


@pytest.mark.usefixtures("place")
def test_an_answer_without_a_token(api: Callable[..., APIClient], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "call", lambda control_plane, *calls: [None] * len(calls))
    assert api("operator").post(f"{PROD}/direct-kubeconfig", WISH).status_code == 503


@pytest.mark.parametrize("wish", [{"endpoint": "omni"}, {"lifetime": 599}, {"lifetime": 366 * 86400}, {"name": ""}])
def test_wishes_that_are_refused(place: Place, api: Callable[..., APIClient], wish: dict[str, Any]) -> None:
    assert api("operator").post(f"{PROD}/direct-kubeconfig", {**WISH, **wish}).status_code == 400
    assert not place.api.calls


def test_no_answer_is_kept(place: Place, api: Callable[..., APIClient]) -> None:
    answer = api("operator").post(f"{PROD}/direct-kubeconfig", WISH, headers={"Idempotency-Key": "1"})
    assert answer.status_code == 400
    assert not place.api.calls


def test_whom_a_policy_shuts_out_gets_none(place: Place, api: Callable[..., APIClient]) -> None:
    client = api("operator")
    shut_out(place)
    assert client.post(f"{PROD}/direct-kubeconfig", WISH).status_code in (403, 404)
    with tenant_scope(place.organisation.id):
        assert not AccessKey.objects.exists()
