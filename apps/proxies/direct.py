"""Kubeconfigs that go past us: a ServiceAccount in the cluster, so that they work while this installation is away.

They are listed and revoked as access keys. A key that ends takes the account with it as soon as the cluster is reached
(`reconcile_access`); until then its token is good there, which is what it is for.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.access.actor import ROLES, Actor
from apps.access.check import check
from apps.accounts.identity import Identity
from apps.accounts.models import AccessKey
from apps.clusters import credentials, ways
from apps.clusters.kubernetes import ControlPlane, KubernetesError
from apps.clusters.models import Cluster
from apps.proxies import kubeconfigs, objects, tokens
from apps.proxies.actions import Given, holder_of, name_of
from apps.proxies.models import DirectIdentity
from apps.proxies.reconcile_access import KIND, ask, control_planes_of
from apps.proxies.standing import holders_role
from apps.reconcile.outbox import changed, hint
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

LIFE = timedelta(days=7)
SHORTEST = timedelta(minutes=10)
"""Kubernetes gives no token for less."""

ENDPOINTS = {way: ways.WAYS[way] for way in (ways.OWN, ways.NODE)}


class Unreached(Exception):
    """The cluster did not make the account. The text says why."""


@dataclass(frozen=True)
class Begun:
    """A key whose account has to be made in the cluster, and what its kubeconfig will say."""

    key: AccessKey
    organisation_id: UUID
    slug: str
    cluster: str
    cluster_id: UUID
    holder: str
    role: str  # of Kubernetes
    url: str
    ca: bytes
    control_planes: tuple[ControlPlane, ...] = field(repr=False)


def begin(
    actor: Actor, identity: Identity, cluster: Cluster, name: str, lifetime: timedelta, endpoint: str, role: str = ""
) -> Begun:
    """Write down the key of an account that shall be; `finish` then makes it, outside any transaction.

    It ends with the API token that asked, but not with a browser's session: it is for when nobody can sign in here.
    Raises `Denied`, `ValidationError`.
    """
    check(actor, "cluster.access", cluster)
    if lifetime < SHORTEST:
        raise ValidationError({"lifetime": "a cluster gives no token for less than 10 minutes"})
    if role and ROLES.index(role) > ROLES.index(actor.ceiling):
        raise ValidationError({"role": f"{actor.name} cannot give more than {actor.ceiling}"})
    secrets = getattr(cluster, "secrets", None)
    control_planes = control_planes_of(cluster)
    if secrets is None or not control_planes:
        raise ValidationError(
            f"No control plane of {cluster.name} can be reached now; try again when one is connected."
        )
    url = ways.kubernetes_url(cluster, endpoint)
    holder = holder_of(identity)
    key = tokens.new_key(actor, holder, cluster, name, lifetime, api_token=identity.token, role=role)
    granted = holders_role(key, cluster)
    if not granted:
        raise ValidationError(f"policies leave you no role in {cluster.name} that a kubeconfig past us can be given")
    DirectIdentity.new(key=key, cluster=cluster, cluster_role=granted)
    hint(KIND, cluster.id, actor.organisation_id)
    return Begun(
        key=key,
        organisation_id=actor.organisation_id,
        slug=Organisation.objects.get(id=actor.organisation_id).slug,
        cluster=cluster.name,
        cluster_id=cluster.id,
        holder=name_of(holder),
        role=granted,
        url=url,
        ca=credentials.bundle_of(secrets).k8s.crt,
        control_planes=control_planes,
    )


def finish(begun: Begun) -> Given:
    """Make the account and get its token. Raises `Unreached`: then the key is revoked, and what was made is removed."""
    seconds = int((begun.key.expires_at - timezone.now()).total_seconds())
    name = objects.account_of(begun.key.fingerprint)
    try:
        *_, answer = ask(begun.control_planes, *objects.new_account(name, begun.role, begun.holder, seconds))
        token, ends = _token(answer)
    except (KubernetesError, OSError, TimeoutError) as error:
        _give_up(begun)
        why = str(error) or type(error).__name__
        raise Unreached(f"{begun.cluster} did not make the account: {why}; nothing is left of it, try again") from None
    with tenant_scope(begun.organisation_id):
        rows = AccessKey.objects.filter(id=begun.key.id, revoked_at=None)
        if not rows.update(expires_at=ends):
            hint(KIND, begun.cluster_id, begun.organisation_id)
            raise Unreached("the key was revoked while it was made")
        begun.key.refresh_from_db()
    file = kubeconfigs.one_context(
        f"{begun.slug}-{begun.cluster}-direct", begun.holder, {"token": token}, begun.url, begun.ca
    )
    return Given(begun.key, file.to_yaml())


def _token(answer: Any) -> tuple[str, datetime]:
    """Of a TokenRequest's answer: the API server may give less time than was asked for. Raises KubernetesError."""
    try:
        status = answer["status"]
        return str(status["token"]), datetime.fromisoformat(status["expirationTimestamp"])
    except (TypeError, KeyError, ValueError):
        raise KubernetesError("it gave no token for the account") from None


def _give_up(begun: Begun) -> None:
    with tenant_scope(begun.organisation_id):
        AccessKey.objects.filter(id=begun.key.id, revoked_at=None).update(revoked_at=timezone.now())
        changed("access-key", begun.key.id, begun.organisation_id)
        hint(KIND, begun.cluster_id, begun.organisation_id)
