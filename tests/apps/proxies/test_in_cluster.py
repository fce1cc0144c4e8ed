"""Groups and accounts in the API of a simulated cluster: by the real calls, with its own authorisation."""

import json
import ssl
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpcore
import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.accounts.models import AccessKey
from apps.clusters import kubernetes
from apps.clusters.kubernetes import Call
from apps.clusters.models import Cluster, ClusterStatus
from apps.machines import nodes
from apps.proxies.models import ClusterAccess
from apps.proxies.reconcile_access import ask, control_planes_of, reconcile_access
from apps.reconcile.models import Outbox
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from talos.kubeconfig import Kubeconfig
from tests.apps.clusters.test_lifecycle import Lab
from tests.apps.clusters.test_simulated import Site, site, text  # noqa: F401 (a fixture)
from tests.apps.proxies.test_objects import GROUPS

LAB = "/api/v1/organisations/acme/clusters/lab"
PODS = "/api/v1/namespaces/default/pods"
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def with_token(address: str, token: str, path: str) -> int:
    """The status that the API at a control plane gives the bearer of a token."""

    async def get() -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        headers = [("Host", "kubernetes"), ("Authorization", f"Bearer {token}")]
        async with httpcore.AsyncConnectionPool(
            ssl_context=context, network_backend=kubernetes._Links(address)
        ) as pool:
            return (await pool.request("GET", f"https://kubernetes{path}", headers=headers)).status

    return nodes.run(get(), 15)


def may(cluster: Cluster, group: str, verb: str) -> bool:
    """Whether a member of a group may use a verb on pods, by the cluster's own judgement."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "default", "verb": verb, "resource": "pods"}},
    }
    with tenant_scope(cluster.organisation_id):
        control_plane = control_planes_of(cluster)[0]

    async def post() -> Any:
        headers = [("Host", "kubernetes"), ("Content-Type", "application/json")]
        headers += [("Impersonate-User", "ann@example.com"), ("Impersonate-Group", group)]
        async with kubernetes._pool(control_plane) as pool:
            body = json.dumps(review).encode()
            answer = await pool.request("POST", f"https://kubernetes{REVIEW}", headers=headers, content=body)
            return json.loads(answer.content)

    return bool(nodes.run(post(), 15)["status"]["allowed"])


def asked(cluster: Cluster, *calls: Call) -> list[Any]:
    with tenant_scope(cluster.organisation_id):
        control_planes = control_planes_of(cluster)
    return ask(control_planes, *calls)


@pytest.fixture
def ready(organisation: Organisation, site: Callable[[int, str], Site]) -> Cluster:  # noqa: F811
    """A cluster of one simulated machine, ready."""
    world = site(1, "1.13.8")
    lab = Lab(world)  # type: ignore[arg-type]
    lab.sync(text(list(world.machines), [], "1.13.8", "1.36.3"))
    world.run(lab.ready)
    with tenant_scope(organisation.id):
        return Cluster.objects.get()


def test_groups_and_accounts(ready: Cluster, organisation: Organisation, api: Callable[..., APIClient]) -> None:
    with tenant_scope(organisation.id):
        assert ClusterStatus.objects.get().kubernetes_api_ready
    assert Outbox.objects.filter(kind="cluster-access", object_id=ready.id).exists()  # as soon as the API answered
    assert not may(ready, "omni:reader", "list")
    reconcile_access(organisation.id, ready.id)
    rights = {
        group: (may(ready, group, "list"), may(ready, group, "delete")) for group in GROUPS if group != "omni:look"
    }
    assert rights == {
        "omni:reader": (True, False),
        "omni:operator": (True, True),
        "omni:admin": (True, True),
        "omni:owner": (True, True),
    }
    answer = api("reader").post(f"{LAB}/direct-kubeconfig", {"endpoint": "node", "name": "safe"})
    assert answer.status_code == 201, answer.data
    token = Kubeconfig.from_yaml(answer.data["content"]).users["acme-lab-direct-reader@acme.example.com"]["token"]
    with tenant_scope(organisation.id):
        address = control_planes_of(ready)[0].address
        key = AccessKey.objects.get()
    reconcile_access(organisation.id, ready.id)
    assert with_token(address, token, PODS) == 200
    assert with_token(address, token, "/api/v1/namespaces/default/secrets") == 403
    (account,) = asked(ready, Call("GET", f"/api/v1/namespaces/omni-access/serviceaccounts/key-{key.fingerprint}"))
    assert account["metadata"]["annotations"]["omni/holder"] == "reader@acme.example.com"
    with tenant_scope(organisation.id):
        AccessKey.objects.update(revoked_at=timezone.now())
    reconcile_access(organisation.id, ready.id)
    assert with_token(address, token, PODS) == 401
    with tenant_scope(organisation.id):
        ClusterAccess.objects.update(looked_at=timezone.now() - timedelta(hours=1))
    reconcile_access(organisation.id, ready.id)
    (bindings,) = asked(ready, Call("GET", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"))
    ours = [item["metadata"]["name"] for item in bindings["items"] if item["metadata"]["name"].startswith("omni")]
    assert sorted(ours) == sorted(GROUPS)
    assert "system:masters" not in json.dumps([item for item in bindings["items"] if item["metadata"]["name"] in ours])
