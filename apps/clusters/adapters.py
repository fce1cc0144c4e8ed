"""What the gateway needs to know of clusters: which of our machines to trust, and with what."""

from uuid import UUID

from django.utils import timezone

from apps.clusters import credentials, queries
from apps.clusters.models import ClusterMachine, ClusterSecrets, MachineSet
from apps.tenants import lookups
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent.tls import Credentials
from talos import pki, siderolink
from talos.pem import PEMError
from talos.secrets import Bundle


async def credentials_of(organisation_id: UUID, machine_id: UUID) -> Credentials | None:
    """What proves us to a machine once its cluster configured it; None for a machine in no cluster."""

    def look() -> Credentials | None:
        with tenant_scope(organisation_id):
            return queries.machine_credentials(machine_id)

    return await in_thread(look)


async def authorities_of(organisation_id: UUID) -> dict[str, Credentials]:
    """What proves us to the machines of each cluster of an organisation, by the cluster's id."""

    def look() -> dict[str, Credentials]:
        with tenant_scope(organisation_id):
            rows = ClusterSecrets.objects.all()
            return {str(row.cluster_id): credentials.talos_credentials(row) for row in rows}

    return await in_thread(look)


class ClusterTrust:
    """Signs the API certificates of workers (`nodeagent.ports.TrustAuthority`): each by its own cluster's authority."""

    async def server_certificate(self, address: str) -> tuple[bytes, bytes]:
        """PEM certificate and key to show to the machine at `address`. Raises PermissionError."""

        def make() -> tuple[bytes, bytes]:
            bundle, _ = _cluster_of(address)
            pair = pki.trustd_server(bundle.os, "omni", timezone.now(), [siderolink.server_address()])
            return pair.crt, pair.standard_key

        return await in_thread(make)

    async def sign(self, address: str, token: str, csr_pem: bytes) -> tuple[bytes, bytes]:
        """PEM (CA, certificate) for a worker's request. PermissionError: wrong token, machine or request."""

        def signed() -> tuple[bytes, bytes]:
            bundle, role = _cluster_of(address)
            if not credentials.equal(token, bundle.trustd_token):
                raise PermissionError("invalid token")
            if role != MachineSet.WORKER:
                raise PermissionError("control planes sign their own certificates")
            try:
                return bundle.os.crt, pki.sign_csr(bundle.os, csr_pem, timezone.now())
            except PEMError as error:
                raise PermissionError(f"the certificate request cannot be signed: {error}") from None

        return await in_thread(signed)


def _cluster_of(address: str) -> tuple[Bundle, str]:
    """The secrets of the cluster of the machine at an overlay address, and the machine's role in it."""
    found = lookups.link_by_address(address)
    if found is None:
        raise PermissionError(f"no machine has the address {address}")
    organisation_id, link_id = found
    with tenant_scope(organisation_id):
        row = ClusterMachine.objects.select_related("cluster").filter(machine__link=link_id).first()
        secrets = ClusterSecrets.objects.filter(cluster=row.cluster).first() if row else None
        if row is None or secrets is None:
            raise PermissionError(f"the machine at {address} is in no cluster")
        return credentials.bundle_of(secrets), row.role
