"""The secrets of a cluster, and the short way from them to connections."""

import hashlib
import hmac
from datetime import timedelta
from functools import lru_cache
from uuid import UUID

from django.utils import timezone

from apps.clusters.models import Cluster, ClusterSecrets
from apps.tenants.ids import uuid7
from apps.tenants.sealing import seal, unseal
from nodeagent.tls import Credentials
from talos import pki, roles
from talos.contract import VersionContract
from talos.secrets import Bundle, new_bundle

RENEWED = 30
"""Days after which our own client certificates are made anew; they are valid for twice as long."""


def new_secrets(initial_talos_version: str) -> Bundle:
    """A new bundle. Takes a second."""
    return new_bundle(timezone.now(), VersionContract.parse(initial_talos_version))


def store_secrets(cluster: Cluster, bundle: Bundle) -> None:
    """Keep the bundle of a cluster, sealed. A cluster that has one keeps that."""
    row_id = uuid7()
    sealed = seal(bundle.to_json().encode(), cluster.organisation_id, row_id)
    ClusterSecrets.objects.get_or_create(
        cluster=cluster,
        defaults={
            "id": row_id,
            "sealed": sealed,
            "discovery_hash": discovery_hash(bundle.cluster_id),
            "organisation_id": cluster.organisation_id,
        },
    )


def discovery_hash(cluster_id: str) -> bytes:
    """What a cluster's id towards discovery services is found by: whoever knows the id itself may read and write."""
    return hashlib.sha256(cluster_id.encode()).digest()


def bundle_of(secrets: ClusterSecrets) -> Bundle:
    """The bundle of a cluster. Raises `SealBroken`."""
    return _bundle(secrets.organisation_id, secrets.id, bytes(secrets.sealed))


def talos_credentials(secrets: ClusterSecrets) -> Credentials:
    """Administrator of the machines' API. The same object for days, so that TLS contexts can be kept."""
    return _talos(secrets.organisation_id, secrets.id, bytes(secrets.sealed), _period(), roles.ADMIN)


def impersonator_credentials(secrets: ClusterSecrets) -> Credentials:
    """Who says with each call which role it has: for calls that we make for somebody. Kept like the former."""
    return _talos(secrets.organisation_id, secrets.id, bytes(secrets.sealed), _period(), roles.IMPERSONATOR)


def kubernetes_credentials(secrets: ClusterSecrets) -> Credentials:
    """Administrator of the Kubernetes API."""
    return _kubernetes(secrets.organisation_id, secrets.id, bytes(secrets.sealed), _period())


def equal(one: str, other: str) -> bool:
    """Compare secrets in a time that does not depend on them."""
    return hmac.compare_digest(one.encode(), other.encode())


def _period() -> int:
    return int(timezone.now().timestamp() // timedelta(days=RENEWED).total_seconds())


@lru_cache(maxsize=256)
def _bundle(organisation_id: UUID, row_id: UUID, sealed: bytes) -> Bundle:
    return Bundle.from_json(unseal(sealed, organisation_id, row_id))


@lru_cache(maxsize=256)
def _talos(organisation_id: UUID, row_id: UUID, sealed: bytes, period: int, role: str) -> Credentials:
    ca = _bundle(organisation_id, row_id, sealed).os
    ttl = timedelta(days=2 * RENEWED)
    return Credentials(ca.crt, pki.talos_client(ca, [role], timezone.now(), ttl))


@lru_cache(maxsize=256)
def _kubernetes(organisation_id: UUID, row_id: UUID, sealed: bytes, period: int) -> Credentials:
    ca = _bundle(organisation_id, row_id, sealed).k8s
    ttl = timedelta(days=2 * RENEWED)
    return Credentials(ca.crt, pki.kubernetes_admin(ca, timezone.now(), ttl, common_name="omni"))
