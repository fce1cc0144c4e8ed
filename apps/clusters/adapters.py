"""What the gateway asks of clusters: the trust authority of a machine's cluster, and what proves us to a machine."""

import hmac
from ipaddress import ip_address
from uuid import UUID

from django.utils import timezone

from apps.clusters.credentials import bundle_of, talos_credentials
from apps.clusters.models import ClusterMachine, ClusterSecrets
from apps.tenants import lookups
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent.tls import Credentials
from talos import pki, siderolink
from talos.secrets import Bundle


class ClusterTrust:
    """Signs for the workers of a cluster with that cluster's Talos CA (`nodeagent.ports.TrustAuthority`)."""

    async def server_certificate(self, address: str) -> tuple[bytes, bytes]:
        bundle = await in_thread(lambda: _bundle_at(address))
        own = siderolink.server_address()
        shown = pki.trustd_server(bundle.os, "omni", timezone.now(), [ip_address(str(own))])
        return shown.crt, shown.key

    async def sign(self, address: str, token: str, csr_pem: bytes) -> tuple[bytes, bytes]:
        bundle = await in_thread(lambda: _bundle_at(address))
        if not hmac.compare_digest(token.encode(), bundle.trustd_token.encode()):
            raise PermissionError("the token is not that of the machine's cluster")
        return bundle.os.crt, pki.sign_csr(bundle.os, csr_pem, timezone.now())


def _bundle_at(address: str) -> Bundle:
    """The secrets of the cluster of the machine at an overlay address. Raises LookupError when it is in none."""
    found = lookups.link_by_address(address)
    if found is None:
        raise LookupError(f"no machine has the address {address}")
    organisation_id, link_id = found
    with tenant_scope(organisation_id):
        secrets = ClusterSecrets.objects.filter(cluster__machines__machine__link__id=link_id).first()
        if secrets is None:
            raise LookupError(f"the machine at {address} is in no cluster")
        return bundle_of(secrets)


async def credentials_of(organisation_id: UUID, machine_id: UUID) -> Credentials | None:
    """Administrator of a machine's API with its cluster's CA; None for a machine in no cluster."""
    return await in_thread(lambda: _credentials(organisation_id, machine_id))


def _credentials(organisation_id: UUID, machine_id: UUID) -> Credentials | None:
    with tenant_scope(organisation_id):
        member = ClusterMachine.objects.select_related("cluster__secrets").filter(machine_id=machine_id).first()
        secrets = getattr(member.cluster, "secrets", None) if member else None
        return talos_credentials(secrets) if secrets else None
