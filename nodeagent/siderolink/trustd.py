"""trustd for machines on the overlay: workers get the certificate of their API signed.

The cluster endpoint in a worker's configuration is our overlay address, and workers ask the host of that endpoint. The
certificate we show is made for each connection from the cluster of the machine that calls.
"""

from __future__ import annotations

import ssl
from typing import Any, NoReturn

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID

from nodeagent import tls
from nodeagent.ports import TrustAuthority
from nodeagent.siderolink.overlay import machine_address
from talos.gen import security_pb2, security_pb2_grpc
from talos.pem import CertKey

PORT = 50001
"""trustd's port, on nodes and here."""

REQUEST_LIMIT = 64 * 1024
"""Bytes of the largest certificate request."""


class Trustd(security_pb2_grpc.SecurityServiceServicer):
    """Signs with the authority of the calling machine's cluster."""

    def __init__(self, authority: TrustAuthority) -> None:
        self._authority = authority

    async def tls_for(self, address: str) -> ssl.SSLContext:
        """The TLS to show to a machine. Raises LookupError or PermissionError when it is in no cluster."""
        return tls.server_context(CertKey(*await self._authority.server_certificate(address)))

    async def Certificate(
        self, request: security_pb2.CertificateRequest, context: Any
    ) -> security_pb2.CertificateResponse:
        """Sign one request; the cluster's machine token must be in metadata `token`."""
        tokens = [value for key, value in context.invocation_metadata() if key == "token"]
        if len(tokens) != 1 or not isinstance(tokens[0], str):
            await _refuse(context, grpc.StatusCode.PERMISSION_DENIED, "invalid token")
        try:
            check_request(request.csr)
            ca, certificate = await self._authority.sign(machine_address(context), tokens[0], request.csr)
        except PermissionError as error:
            await _refuse(context, grpc.StatusCode.PERMISSION_DENIED, str(error))
        except LookupError as error:
            await _refuse(context, grpc.StatusCode.PERMISSION_DENIED, str(error))
        except ValueError as error:
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return security_pb2.CertificateResponse(ca=ca, crt=certificate)


def check_request(csr: bytes) -> None:
    """Raises ValueError for what is no valid request, PermissionError for one that asks for an organisation: those
    are roles."""
    try:
        parsed = x509.load_pem_x509_csr(csr)
        valid = parsed.is_signature_valid
    except Exception:  # the library raises more kinds than it documents
        raise ValueError("the certificate request cannot be read") from None
    if not valid:
        raise ValueError("the certificate request is not signed by its own key")
    if parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
        raise PermissionError("a certificate request must not name an organisation")


async def _refuse(context: Any, code: grpc.StatusCode, text: str) -> NoReturn:
    await context.abort(code, text)
    raise AssertionError("abort does not return")
