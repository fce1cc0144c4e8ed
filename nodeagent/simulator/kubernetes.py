"""The Kubernetes API of a control plane, over TLS with the certificates that its configuration gives a real one."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from nodeagent.simulator.configuration import KUBERNETES_API_PORT, is_address
from nodeagent.simulator.etcd import EtcdCluster
from nodeagent.simulator.kube.app import Api
from nodeagent.simulator.tls import server_context
from nodeagent.tls import TlsStream
from talos import pki

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

HANDSHAKE_TIMEOUT = 10.0


class KubernetesApi:
    """The API of one control plane, in front of its cluster's objects."""

    def __init__(self, boot: Boot, cluster: EtcdCluster) -> None:
        self._boot = boot
        # From Talos 1.14 on health is told to anybody.
        self._api = Api(
            cluster.objects,
            lambda: boot.config.kubernetes_version,
            open_health=boot.minor >= (1, 14),
        )
        self._context = self._new_context()
        self._port = boot.config.api_server_port or KUBERNETES_API_PORT
        self.is_open = False

    def renew_certificate(self) -> None:
        """Show the names that the configuration asks for now."""
        self._context = self._new_context()

    def _new_context(self) -> ssl.SSLContext:
        boot, config = self._boot, self._boot.config
        ca = config.kubernetes_ca
        assert ca is not None, "a control plane has the Kubernetes authority"
        domain = config.dns_domain
        names = [*config.api_server_sans, config.endpoint_host, "10.96.0.1", *boot.addresses, "127.0.0.1"]
        fixed = [
            "localhost",
            boot.hostname,
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            f"kubernetes.default.svc.{domain}",
        ]
        identity = pki.kube_apiserver(
            ca,
            datetime.now(UTC),
            [ip_address(name) for name in dict.fromkeys(names) if is_address(name)],
            [name for name in dict.fromkeys((*names, *fixed)) if name and not is_address(name)],
        )
        return server_context(identity, protocol="http/1.1", client_cas=[ca.crt], demand=False)

    async def open(self) -> None:
        await self._boot.ports.open(self._port, self._serve)
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False
        await self._boot.ports.close(self._port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> None:
        stream = TlsStream(reader, writer, self._context, server_side=True)
        async with asyncio.timeout(HANDSHAKE_TIMEOUT):
            await stream.handshake()
        try:
            await self._api.serve(stream)
        finally:
            stream.close()
