"""apid: the TLS server in front of a machine's API, in maintenance mode and configured."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nodeagent.simulator import trustd
from nodeagent.simulator.calls import Caller
from nodeagent.simulator.configuration import is_address
from nodeagent.simulator.ports import Port
from nodeagent.simulator.services import State
from nodeagent.simulator.tls import roles_shown, server_context
from nodeagent.tls import MAINTENANCE_NAME, TlsStream
from talos import certificates, pki, siderolink
from talos.pem import CertKey
from talos.resources import types
from talos.roles import ADMIN, READER

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

API_PORT = 50000
HANDSHAKE_TIMEOUT = 10.0
DRAIN = 0.1
"""Seconds in which calls under way, such as the one that ended maintenance mode, get their answers."""
_DAY = timedelta(hours=24)


class Apid:
    """The API's listener and its certificate."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._context: ssl.SSLContext | None = None
        self._maintenance = True
        self._identity: CertKey | None = None
        self._port: Port | None = None

    @property
    def overlay_only(self) -> bool:
        """A machine in maintenance with SideroLink can be reached there alone."""
        return self._boot.maintenance and self._boot.join.api is not None

    async def configure(self) -> None:
        """Take on the certificate that the configuration asks for. Callers of the old mode are cut off.

        A worker has none until trustd signed one: until then nobody is let in.
        """
        boot = self._boot
        if self._maintenance != boot.maintenance:
            self._context = None
            if self._port:
                await asyncio.sleep(DRAIN)
                self._port.drop_connections()
        self._maintenance = boot.maintenance
        if boot.maintenance:
            self._context = server_context(self._maintenance_identity(), minimum=ssl.TLSVersion.TLSv1_3)
        else:
            boot.services.set("apid", State.WAITING, "Waiting for api certificates")
            identity = await self._configured_identity()
            self._context = server_context(identity, client_cas=boot.config.accepted_cas)
        self._port = await boot.ports.open(API_PORT, self._serve, on_host=not self.overlay_only)
        self._publish_mode()
        boot.services.set("apid", State.RUNNING, "Health check successful", healthy=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> None:
        if self._context is None:
            writer.transport.abort()
            return
        stream = TlsStream(reader, writer, self._context, server_side=True)
        async with asyncio.timeout(HANDSHAKE_TIMEOUT):
            await stream.handshake()
        await self._boot.machine.world.api.carry(stream, self._caller(stream, source))

    def _caller(self, stream: TlsStream, source: str) -> Caller:
        if not self._maintenance:
            return Caller(self._boot, roles_shown(stream), maintenance=False)
        trusted = is_address(source) and siderolink.has_purpose(source, siderolink.Purpose.SIDEROLINK)
        return Caller(self._boot, frozenset({ADMIN if trusted else READER}), maintenance=True)

    def _maintenance_identity(self) -> CertKey:
        """A leaf of an authority made for this boot alone."""
        if self._identity is None:
            now = datetime.now(UTC)
            ca = certificates.self_signed_ca([], Ed25519PrivateKey.generate(), now, now + _DAY)
            addresses, names = self._subject_names()
            self._identity = certificates.issue(
                ca,
                common_name=MAINTENANCE_NAME,
                usages=[certificates.SERVER_AUTH],
                addresses=[*addresses, ip_address("::1")],
                dns_names=names,
                not_before=now,
                not_after=now + _DAY,
            )
        return self._identity

    async def _configured_identity(self) -> CertKey:
        config, hostname = self._boot.config, self._boot.hostname
        addresses, names = self._subject_names()
        ca = config.os_ca
        if ca is not None and ca.key:
            return pki.apid_server(ca, hostname, datetime.now(UTC), addresses, names)
        return await trustd.obtain_certificate(self._boot, addresses, names)

    def _subject_names(self) -> tuple[list[pki.Address], list[str]]:
        """Addresses and names of the certificate."""
        boot = self._boot
        sans = [*boot.config.cert_sans, *boot.addresses, "127.0.0.1"]
        addresses = [ip_address(name) for name in dict.fromkeys(sans) if is_address(name)]
        names = [boot.hostname, *(name for name in sans if not is_address(name))]
        return addresses, list(dict.fromkeys(names))

    def _publish_mode(self) -> None:
        boot = self._boot
        host = f"[{boot.overlay}]" if boot.overlay and self.overlay_only else ""
        boot.put(
            types.API_SERVICE_CONFIG,
            {
                "listenAddress": f"{host}:{API_PORT}",
                "nodeRoutingDisabled": self._maintenance,
                "readonlyRoleMode": self._maintenance,
                "skipVerifyingClientCert": self._maintenance,
            },
        )
