"""kubectl's requests through a real gateway to simulated clusters: who gets through, as whom, and until when."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from apps.access.actor import Actor
from apps.access.models import Policy
from apps.accounts.models import AccessKey, Membership, User
from apps.clusters.models import Cluster
from apps.machines.models import MachineObservation
from apps.proxies import tokens
from apps.tenants.models import Organisation
from tests.apps.gateways.lab import Lab
from tests.apps.proxies.site import PATIENCE, Tenant
from tests.apps.proxies.test_talos import one_cluster

REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
MASTERS = {"effect": "grant", "subjects": ["role:owner"], "kubernetes_groups": ["system:masters"]}


@dataclass
class Kubectl:
    """Somebody with a token for one cluster."""

    tenant: Tenant
    key: AccessKey
    token: str
    slug: str = "acme"
    cluster: str = "prod"

    @classmethod
    async def of(cls, tenant: Tenant, role: str = "owner", cluster: str = "prod", name: str = "") -> "Kubectl":
        """A member with a token of an hour."""

        def issue() -> tuple[AccessKey, str]:
            user, _ = User.objects.get_or_create(email=f"{name or role}@{tenant.lab.organisation.slug}.example.com")
            organisation = tenant.lab.organisation
            Membership.objects.get_or_create(user=user, organisation=organisation, defaults={"role": role})
            actor = Actor("user", str(user.id), user.email, organisation.id, role)
            return tokens.issue(actor, user, Cluster.objects.get(name=cluster), "kubectl", timedelta(hours=1))

        return cls(tenant, *await tenant.lab.ask(issue), tenant.lab.organisation.slug, cluster)

    def url(self, path: str) -> str:
        settings = self.tenant.lab.settings
        return f"http://{settings.host}:{settings.port}/k8s/{self.slug}/{self.cluster}{path}"

    async def ask(self, method: str, path: str, **given: Any) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with httpx.AsyncClient(timeout=PATIENCE, headers=headers | given.pop("headers", {})) as client:
            answer = await client.request(method, self.url(path), **given)
        return answer.status_code, answer.json()

    async def whoami(self, **headers: str) -> dict[str, Any]:
        """As whom the cluster knows them."""
        body = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
        status, answer = await self.ask("POST", REVIEW, json=body, headers=headers)
        assert status == 201, answer
        told: dict[str, Any] = answer["status"]["userInfo"]
        return told

    async def refusal(self, path: str = "/api/v1/namespaces") -> tuple[int, str]:
        """Status and text of a request that is not made."""
        status, answer = await self.ask("GET", path)
        assert answer["kind"] == "Status", answer
        return status, answer["message"]

    @contextlib.asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[AsyncIterator[str]]:
        """Lines of an answer that does not end by itself."""
        async with (
            httpx.AsyncClient(timeout=PATIENCE, headers={"Authorization": f"Bearer {self.token}"}) as client,
            client.stream("GET", self.url(path)) as answer,
        ):
            assert answer.status_code == 200
            yield answer.aiter_lines()


async def test_people_are_in_the_cluster_who_they_are_here(lab: Lab) -> None:
    async with one_cluster(lab) as (tenant, _):
        ana = await Kubectl.of(tenant, "reader")
        told = await ana.whoami()
        assert told["username"] == "reader@acme.example.com"
        assert set(told["groups"]) == {"omni:reader", "system:authenticated"}
        told = await ana.whoami(**{"Impersonate-User": "root", "Impersonate-Group": "system:masters"})
        assert told["username"] == "reader@acme.example.com"
        assert "system:masters" not in told["groups"]
        await lab.ask(lambda: Policy.new(name="masters", spec=MASTERS))
        await tenant.heard("policy")
        root = await Kubectl.of(tenant, "owner")
        assert "system:masters" in (await root.whoami())["groups"]
        status, answer = await root.ask("GET", "/api/v1/nodes")
        assert status == 200
        assert len(answer["items"]) == 1


async def test_tokens_that_prove_nothing(lab: Lab, other_organisation: Organisation) -> None:
    async with one_cluster(lab) as (tenant, _):
        ana = await Kubectl.of(tenant, "owner")
        assert (await ana.whoami())["username"]
        assert (await Kubectl(tenant, ana.key, "").refusal())[0] == 401
        head, body, _ = ana.token.split(".")
        for token in ("no-token", f"{head}.{body}.AAAA", f"{head}..", ana.token[:-2], "x" * 9000):
            assert (await Kubectl(tenant, ana.key, token).refusal())[0] == 401
        # another organisation's address, and that of one that is not there: the same words
        told = [await Kubectl(tenant, ana.key, ana.token, slug).refusal() for slug in ("umbrella", "nobody")]
        assert told[0] == told[1]
        assert told[0][0] == 401
        # another cluster's, and that of one that is not there
        told = [await Kubectl(tenant, ana.key, ana.token, "acme", name).refusal() for name in ("dev", "staging")]
        assert told[0] == told[1] == (401, "this token is for another cluster")


async def test_tokens_whose_key_has_ended(lab: Lab) -> None:
    async with one_cluster(lab) as (tenant, _):
        ana = await Kubectl.of(tenant, "owner", name="ana")
        await ana.whoami()
        await lab.ask(lambda: AccessKey.objects.filter(id=ana.key.id).update(revoked_at=datetime.now(UTC)))
        await tenant.heard("access-key")
        assert await ana.refusal() == (401, "this key was revoked; sign in again or get a new config")
        bob = await Kubectl.of(tenant, "owner", name="bob")
        await bob.whoami()
        await lab.ask(lambda: Membership.objects.filter(user=bob.key.user).delete())
        await tenant.heard("member")
        status, text = await bob.refusal()
        assert status == 401
        assert "no member" in text


async def test_a_token_for_an_earlier_cluster_of_the_name(lab: Lab) -> None:
    async with one_cluster(lab) as (tenant, _):
        ana = await Kubectl.of(tenant, "owner")
        await ana.whoami()

        def create_again() -> None:
            Cluster.objects.filter(name="prod").update(name="old-prod")
            Cluster.new(
                name="prod", kubernetes_version="1.36.3", talos_version="1.13.8", initial_talos_version="1.13.8",
                balancer_port=20_000,
            )  # fmt: skip

        await lab.ask(create_again)
        await tenant.heard("cluster")
        status, text = await ana.refusal()
        assert status == 401
        assert "earlier cluster prod" in text
        again = await Kubectl.of(tenant, "owner")
        assert await again.refusal() == (503, "cluster prod has no control plane yet")


async def test_who_is_shut_out_and_who_waits(lab: Lab) -> None:
    async with one_cluster(lab) as (tenant, (machine,)):
        ana = await Kubectl.of(tenant, "reader")
        shut_out = {"effect": "limit", "role": "none", "subjects": ["role:reader"]}
        policy = await lab.ask(lambda: Policy.new(name="nobody", spec=shut_out))
        await tenant.heard("policy")
        status, text = await ana.refusal()
        assert status == 403
        assert "nobody" in text
        await lab.ask(policy.delete)
        await tenant.heard("policy")
        assert (await ana.whoami())["username"]
        await lab.ask(lambda: MachineObservation.objects.filter(machine=machine).update(connected=False))
        await tenant.heard("machine", machine.id)
        assert await ana.refusal() == (503, "no control plane of cluster prod is connected")


async def test_a_watch_ends_with_what_allowed_it(lab: Lab) -> None:
    async with one_cluster(lab) as (tenant, _):
        await lab.ask(lambda: Policy.new(name="masters", spec=MASTERS))
        await tenant.heard("policy")
        for change in ("access-key", "policy"):
            ana = await Kubectl.of(tenant, "owner", name=change)
            async with ana.watch("/api/v1/namespaces?watch=true") as lines:
                assert json.loads(await anext(lines))["type"] == "ADDED"

                def take_back(ana: Kubectl = ana, change: str = change) -> None:
                    if change == "policy":
                        Policy.objects.filter(name="masters").delete()
                    else:
                        AccessKey.objects.filter(id=ana.key.id).update(revoked_at=datetime.now(UTC))

                await lab.ask(take_back)
                await tenant.heard(change)
                async with asyncio.timeout(10):
                    with contextlib.suppress(httpx.HTTPError):
                        async for _ in lines:
                            pass
        rows = await tenant.audit(
            lambda rows: len([row for row in rows if "withdrawn" in row.details]) == 2, verb="kubernetes.request"
        )
        assert "revoked" in str([row.details for row in rows])


async def test_the_audit_tells_what_changes(lab: Lab) -> None:
    async with one_cluster(lab) as (tenant, _):
        await lab.ask(lambda: Policy.new(name="masters", spec=MASTERS))
        await tenant.heard("policy")
        ana = await Kubectl.of(tenant, "owner")
        for _ in range(3):
            assert (await ana.ask("GET", "/api/v1/namespaces?fieldSelector=metadata.name%3Dsecret-name"))[0] == 200
        body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}, "data": {"password": "hunter2"}}
        path = "/api/v1/namespaces/default/configmaps"
        status, _ = await ana.ask("POST", path, json=body, headers={"Kubectl-Command": "kubectl create"})
        assert status == 201
        rows = await tenant.audit(lambda rows: len(rows) == 3, verb="kubernetes.request")
        reads = [row for row in rows if row.details["request"].startswith("GET")]
        asked, done = [row for row in rows if row.details["request"].startswith("POST")]
        assert [row.details["request"] for row in reads] == ["GET /api/v1/namespaces"]
        assert (asked.outcome, done.outcome, done.details["code"]) == ("asked", "done", "201")
        assert asked.request_id == done.request_id
        assert done.details["request"] == f"POST {path}"
        assert done.details["command"] == "kubectl create"
        assert (done.object_kind, done.object_name) == ("cluster", "prod")
        assert not [row for row in rows if "hunter2" in str(row.details) or "secret-name" in str(row.details)]
