"""How a node reaches the Kubernetes API of its cluster: at the endpoint, and by KubePrism at every control plane."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nodeagent.simulator.tls import trust_context
from nodeagent.tls import TlsStream

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot
    from nodeagent.simulator.configuration import Configuration

log = logging.getLogger(__name__)

TIMEOUT = 5.0
RETRY = 0.5


async def reach(boot: Boot) -> None:
    """Wait until the API answers at one of the places where this node looks for it, with a certificate it trusts."""
    while not _on_process(boot):
        for host, port in _places(boot):
            try:
                async with asyncio.timeout(TIMEOUT):
                    await _greet(boot, host, port)
            except OSError as error:  # TimeoutError and errors of TLS included
                log.debug("%s: Kubernetes API at %s:%d: %s", boot.uuid, host, port, error)
            else:
                return
        await asyncio.sleep(RETRY)


def endpoint(config: Configuration) -> tuple[str, int]:
    """Host and port of the cluster's endpoint."""
    parts = urlsplit(config.endpoint)
    return parts.hostname or "", parts.port or 443


def _places(boot: Boot) -> Iterator[tuple[str, int]]:
    yield endpoint(boot.config)
    if boot.config.kube_prism:
        for other in _control_planes(boot):
            if other.machine.listen_address:
                yield other.machine.listen_address, other.config.api_server_port


def _on_process(boot: Boot) -> bool:
    """Machines without a place on the host reach each other inside the process: it is their network."""
    if not boot.config.kube_prism:
        return False
    return any(
        other.kubernetes is not None and other.kubernetes.is_open
        for other in _control_planes(boot)
        if not other.machine.listen_address
    )


def _control_planes(boot: Boot) -> list[Boot]:
    members = boot.machine.world.members(boot.config.cluster_id)
    return [other for other in members if other.config.machine_type.is_control_plane]


async def _greet(boot: Boot, host: str, port: int) -> None:
    """Shake hands and hang up. Raises OSError."""
    authority = boot.config.kubernetes_ca
    assert authority is not None, "the machine runs a kubelet"
    reader, writer = await boot.machine.dial(host, port)
    stream = TlsStream(reader, writer, trust_context([authority.crt]), server_hostname=host)
    try:
        await stream.handshake()
    finally:
        stream.close()
