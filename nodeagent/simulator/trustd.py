"""trustd from both sides: a worker's request for its API certificate, and a control plane's answer."""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

import grpc

from nodeagent.simulator.calls import Call, Caller, Implementation, Refusal
from nodeagent.simulator.tls import server_context, trust_context
from nodeagent.simulator.unarygrpc import CallError, UnaryChannel
from nodeagent.tls import TlsStream
from talos import certificates, pki
from talos.gen import security_pb2
from talos.pem import CertKey, PEMError, load_certificate

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

log = logging.getLogger(__name__)

PORT = 50001
CERTIFICATE = "/securityapi.SecurityService/Certificate"
ATTEMPT_TIMEOUT = 10.0
"""Seconds an attempt may take."""
RETRY = 0.5


async def obtain_certificate(boot: Boot, addresses: list[pki.Address], names: list[str]) -> CertKey:
    """Ask the control planes, and the host of the cluster endpoint, until one of them signs."""
    authority = load_certificate(boot.config.accepted_cas[-1])
    csr, key = certificates.new_request(authority, boot.hostname, addresses, names)
    while True:
        for host in _hosts(boot):
            try:
                async with asyncio.timeout(ATTEMPT_TIMEOUT):
                    return CertKey(await _ask(boot, host, csr), key)
            except (OSError, CallError, PEMError) as error:
                log.debug("%s: trustd at %s: %s", boot.uuid, host, error)
                boot.kernel_log.talos(f"failed to get a certificate from trustd at {host}: {error}", priority="err")
        await asyncio.sleep(RETRY)


def _hosts(boot: Boot) -> list[str]:
    """Where trustd may be: control planes on this host that discovery found, then the cluster endpoint."""
    discovered = [
        other.machine.listen_address
        for other in boot.machine.world.members(boot.config.cluster_id)
        if other.config.machine_type.is_control_plane and other.machine.listen_address
    ]
    return list(dict.fromkeys([*discovered, boot.config.endpoint_host]))


async def _ask(boot: Boot, host: str, csr: bytes) -> bytes:
    reader, writer = await boot.machine.dial(host, PORT)
    stream = TlsStream(reader, writer, trust_context(boot.config.accepted_cas), server_hostname=host)
    try:
        await stream.handshake()
        channel = UnaryChannel(stream, f"[{host}]:{PORT}" if ":" in host else f"{host}:{PORT}", "https")
        answer = await channel.call(
            CERTIFICATE,
            security_pb2.CertificateRequest(csr=csr),
            security_pb2.CertificateResponse,
            [("token", boot.config.machine_token)],
        )
    finally:
        stream.close()
    load_certificate(answer.crt)
    return answer.crt


class Trustd:
    """A control plane's own trustd."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._context: ssl.SSLContext | None = None

    async def run(self) -> None:
        """Open the port."""
        boot = self._boot
        ca = boot.config.os_ca
        if ca is None:
            return
        addresses = [ip_address(address) for address in (*boot.addresses, "127.0.0.1")]
        identity = pki.trustd_server(ca, boot.hostname, datetime.now(UTC), addresses, [boot.hostname])
        self._context = server_context(identity)
        await boot.ports.open(PORT, self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> None:
        assert self._context is not None, "the port is open"
        stream = TlsStream(reader, writer, self._context, server_side=True)
        async with asyncio.timeout(ATTEMPT_TIMEOUT):
            await stream.handshake()
        await self._boot.machine.world.api.carry(
            stream, Caller(self._boot, frozenset(), maintenance=False, trustd=True)
        )


async def certificate(call: Call, request: security_pb2.CertificateRequest) -> security_pb2.CertificateResponse:
    """Sign a worker's request with this control plane's authority."""
    config = call.boot.config
    tokens = call.metadata.get("token")
    if not tokens:
        raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "missing token")
    if not hmac.compare_digest(tokens[0].encode(), config.machine_token.encode()):
        raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "invalid token")
    assert config.os_ca is not None, "trustd runs on control planes"
    try:
        signed = pki.sign_csr(config.os_ca, request.csr, datetime.now(UTC))
    except PEMError as error:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"failed to parse CSR: {error}") from None
    return security_pb2.CertificateResponse(ca=b"".join(config.accepted_cas), crt=signed)


CALLS: Mapping[str, Implementation] = {"Certificate": certificate}
