"""The certificates of a Talos cluster: its four authorities and what they sign.

The control plane keeps the authorities (`talos.secrets`), signs clients of the Talos and the Kubernetes API, and
answers trustd. Nodes sign everything else for themselves from the same authorities; those profiles are here too, as a
simulated node needs them.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from talos.certificates import (
    CLIENT_AUTH,
    SERVER_AUTH,
    Address,
    issue,
    new_request,
    self_signed_ca,
    sign_request,
)
from talos.pem import CertKey

CA_LIFETIME = timedelta(hours=87600)
YEAR = timedelta(hours=8760)
DAY = timedelta(hours=24)
#: What a machine's clock may be behind ours when a Kubernetes certificate is first used.
CLOCK_SKEW = timedelta(seconds=10)
#: What our own processes' clocks may be apart.
CLIENT_SKEW = timedelta(minutes=1)


# Authorities


def talos_ca(now: datetime) -> CertKey:
    """The authority of the Talos API (`machine.ca`), Ed25519."""
    return self_signed_ca(["talos"], ed25519.Ed25519PrivateKey.generate(), now, now + CA_LIFETIME)


def kubernetes_ca(now: datetime) -> CertKey:
    """The authority of the Kubernetes API, ECDSA P-256."""
    return self_signed_ca(["kubernetes"], ec.generate_private_key(ec.SECP256R1()), now, now + CA_LIFETIME)


def etcd_ca(now: datetime) -> CertKey:
    """The authority of etcd's members and clients, ECDSA P-256."""
    return self_signed_ca(["etcd"], ec.generate_private_key(ec.SECP256R1()), now, now + CA_LIFETIME)


def aggregator_ca(now: datetime) -> CertKey:
    """The authority of the Kubernetes API aggregation (front proxy), ECDSA P-256. Its subject is empty."""
    return self_signed_ca([], ec.generate_private_key(ec.SECP256R1()), now, now + CA_LIFETIME)


# What the control plane issues


def talos_client(ca: CertKey, roles: Iterable[str], now: datetime, ttl: timedelta = YEAR) -> CertKey:
    """A client of the Talos API with `roles`, signed by the Talos API authority `ca`.

    ValueError without a role: such a client could connect and do nothing.
    """
    organizations = list(roles)
    if not organizations:
        raise ValueError("at least one role is required to generate a Talos API certificate")
    return issue(ca, organizations=organizations, usages=[CLIENT_AUTH], not_before=now, not_after=now + ttl)


def kubernetes_admin(
    ca: CertKey,
    now: datetime,
    ttl: timedelta = YEAR,
    *,
    common_name: str = "admin",
    organization: str = "system:masters",
) -> CertKey:
    """A client of the Kubernetes API, signed by the Kubernetes authority `ca`; an administrator by default."""
    return issue(
        ca,
        organizations=[organization],
        common_name=common_name,
        usages=[CLIENT_AUTH],
        key_encipherment=True,
        not_before=now - CLOCK_SKEW,
        not_after=now + ttl,
    )


def sign_csr(ca: CertKey, csr: bytes, now: datetime, ttl: timedelta = DAY) -> bytes:
    """Answer a worker as trustd does: sign its request for an apid server certificate.

    `csr` and the result are PEM; `ca` is the Talos API authority. The organisations of the request are dropped.
    PEMError if the request is malformed or not signed by its own key.
    """
    return sign_request(ca, csr, usages=[SERVER_AUTH], not_before=now, not_after=now + ttl)


# What nodes issue to themselves


def apid_server(
    ca: CertKey, fqdn: str, now: datetime, addresses: Iterable[Address] = (), dns_names: Iterable[str] = ()
) -> CertKey:
    """The server certificate of apid on a control plane, 24 hours."""
    return issue(
        ca,
        common_name=fqdn,
        usages=[SERVER_AUTH],
        addresses=addresses,
        dns_names=dns_names,
        not_before=now,
        not_after=now + DAY,
    )


def apid_client(ca: CertKey, fqdn: str, now: datetime) -> CertKey:
    """A control plane's own client certificate, with which apid forwards calls to other nodes, 24 hours."""
    return issue(
        ca,
        organizations=["os:impersonator"],
        common_name=fqdn,
        usages=[CLIENT_AUTH],
        not_before=now,
        not_after=now + DAY,
    )


def trustd_server(
    ca: CertKey, fqdn: str, now: datetime, addresses: Iterable[Address] = (), dns_names: Iterable[str] = ()
) -> CertKey:
    """The server certificate of trustd, 24 hours."""
    return issue(
        ca,
        common_name=fqdn,
        usages=[SERVER_AUTH],
        key_encipherment=True,
        addresses=addresses,
        dns_names=dns_names,
        not_before=now,
        not_after=now + DAY,
    )


def kube_apiserver(
    ca: CertKey, now: datetime, addresses: Iterable[Address] = (), dns_names: Iterable[str] = ()
) -> CertKey:
    """The server certificate of the Kubernetes API, a year."""
    return issue(
        ca,
        organizations=["kube-master"],
        common_name="kube-apiserver",
        usages=[SERVER_AUTH],
        key_encipherment=True,
        addresses=addresses,
        dns_names=dns_names,
        not_before=now,
        not_after=now + YEAR,
    )


def apiserver_kubelet_client(ca: CertKey, now: datetime) -> CertKey:
    """With which the Kubernetes API calls kubelets, a year. `ca` is the Kubernetes authority."""
    return issue(
        ca,
        organizations=["system:masters"],
        common_name="apiserver-kubelet-client",
        usages=[CLIENT_AUTH],
        key_encipherment=True,
        not_before=now,
        not_after=now + YEAR,
    )


def front_proxy_client(ca: CertKey, now: datetime) -> CertKey:
    """With which the Kubernetes API calls aggregated APIs, a year. `ca` is the aggregator authority."""
    return issue(
        ca,
        common_name="front-proxy-client",
        usages=[CLIENT_AUTH],
        key_encipherment=True,
        not_before=now,
        not_after=now + YEAR,
    )


def etcd_member(
    ca: CertKey, hostname: str, now: datetime, addresses: Iterable[Address] = (), dns_names: Iterable[str] = ()
) -> CertKey:
    """The peer or server certificate of an etcd member, ten years. A server's names include those of localhost."""
    return issue(
        ca,
        common_name=hostname,
        usages=[SERVER_AUTH, CLIENT_AUTH],
        key_encipherment=True,
        addresses=addresses,
        dns_names=dns_names,
        not_before=now,
        not_after=now + CA_LIFETIME,
    )


def etcd_client(ca: CertKey, name: str, now: datetime) -> CertKey:
    """A client of etcd, ten years."""
    return issue(
        ca,
        common_name=name,
        usages=[CLIENT_AUTH],
        key_encipherment=True,
        not_before=now,
        not_after=now + CA_LIFETIME,
    )


def new_csr(
    accepted_ca: x509.Certificate, fqdn: str, addresses: Iterable[Address] = (), dns_names: Iterable[str] = ()
) -> tuple[bytes, bytes]:
    """A worker's request for an apid server certificate, and its new key, both PEM.

    Of several accepted authorities, the last one decides the kind of key.
    """
    return new_request(accepted_ca, fqdn, addresses, dns_names)


def is_apid_client(certificate: x509.Certificate) -> bool:
    """Whether apid takes this certificate as a client's: its extended key usage is client authentication, no more."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return list(usages) == [CLIENT_AUTH]


# What organisations issue to people and programs


def organisation_ca(name: str, now: datetime) -> CertKey:
    """An authority of ours for clients of our own proxy, ECDSA P-256, ten years."""
    return self_signed_ca([name], ec.generate_private_key(ec.SECP256R1()), now, now + CA_LIFETIME)


def organisation_client(
    ca: CertKey, holder: str, organization: str, serial: int, now: datetime, not_after: datetime
) -> CertKey:
    """A client of our own proxy; its serial number is what it is known by."""
    return issue(
        ca,
        organizations=[organization],
        common_name=holder,
        usages=[CLIENT_AUTH],
        not_before=now - CLIENT_SKEW,
        not_after=not_after,
        serial=serial,
    )
