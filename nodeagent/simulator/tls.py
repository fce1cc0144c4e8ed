"""The contexts of a machine's TLS servers, and what a client's certificate says."""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from cryptography.x509.oid import NameOID

from nodeagent.tls import TlsStream, load_identity
from talos import pki
from talos.pem import CertKey


def server_context(
    identity: CertKey,
    *,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    protocol: str = "h2",
    client_cas: Iterable[bytes] = (),
    demand: bool = True,
) -> ssl.SSLContext:
    """Shows `identity` and speaks `protocol`. With `client_cas` (PEM) it asks for a client certificate, and with
    `demand` takes nobody without one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.set_alpn_protocols([protocol])
    load_identity(context, identity)
    cas = "\n".join(crt.decode() for crt in client_cas)
    if cas:
        context.load_verify_locations(cadata=cas)
        context.verify_mode = ssl.CERT_REQUIRED if demand else ssl.CERT_OPTIONAL
    return context


def trust_context(cas: Iterable[bytes]) -> ssl.SSLContext:
    """A gRPC client that trusts `cas` (PEM) and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata="\n".join(crt.decode() for crt in cas))
    context.set_alpn_protocols(["h2"])
    return context


def roles_shown(stream: TlsStream) -> frozenset[str]:
    """Organisations of the client's certificate, which has been verified.

    Raises PermissionError when it is not for client authentication alone: apid takes no other.
    """
    certificate = stream.peer_certificate()
    if certificate is None:
        return frozenset()
    if not pki.is_apid_client(certificate):
        subject = certificate.subject.rfc4514_string()
        raise PermissionError(f'certificate "{subject}" is missing the client auth extended key usage')
    names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return frozenset(str(name.value) for name in names) - {""}
