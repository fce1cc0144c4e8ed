"""Calls to discovery services on behalf of clusters: to ours by way of a gateway, to others over the network."""

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Iterable
from functools import cache
from ipaddress import ip_address
from typing import Any

from apps.clusters.discovery import overlay_url, public_url
from apps.machines import nodes
from kubespan.client import ServiceAddress
from nodeagent.rpc import Channel, Limits, Methods, RpcError
from nodeagent.tunnel.reach import PlainStream
from talos import siderolink
from talos.gen.sidero import discovery_pb2 as pb
from talos.gen.sidero import discovery_pb2_grpc

CALL = 5.0
"""Seconds that a call may take."""

AT_ONCE = 8
"""Calls at a time."""

LARGEST_CLUSTER = Limits(message=8 << 20)

_CLUSTER = discovery_pb2_grpc.ClusterStub(Methods())


class ServiceError(Exception):
    """A discovery service did not do it; the text is a clause that names no id."""


def ours() -> frozenset[str]:
    """URLs of the service of this installation, as configurations have them, without a slash at the end."""
    return frozenset((overlay_url(), public_url()))


def forget(wanted: Iterable[tuple[str, str, str]]) -> list[str]:
    """Delete affiliates, each (service URL, cluster id, affiliate id); for each why it was not, empty if it was."""
    calls = [_delete(*each) for each in wanted]
    return nodes.run(_some_at_once(calls), CALL * (len(calls) // AT_ONCE + 2))


async def _some_at_once(calls: list[Coroutine[Any, Any, None]]) -> list[str]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(call: Coroutine[Any, Any, None]) -> str:
        async with room:
            try:
                async with asyncio.timeout(CALL):
                    await call
            except ServiceError as error:
                return str(error)
            except TimeoutError:
                return "it did not answer in time"
            except (OSError, ValueError) as error:
                return str(error) or type(error).__name__
            return ""

    return await asyncio.gather(*map(one, calls))


async def _delete(service: str, cluster_id: str, affiliate_id: str) -> None:
    request = pb.AffiliateDeleteRequest(cluster_id=cluster_id, affiliate_id=affiliate_id)
    if service in ours():
        await ask_ours(_CLUSTER.AffiliateDelete, request)
        return
    address = ServiceAddress.parse(service)
    connection = Channel(
        lambda: _connect(address), "the discovery service", address.target, "https" if address.tls else "http"
    )
    await _unary(connection, _CLUSTER.AffiliateDelete, request)


async def ask_ours(method: Any, request: Any) -> Any:
    """One call to the service of this installation, as itself: by way of the gateway. Raises ServiceError."""

    async def connect() -> PlainStream:
        return PlainStream(*await nodes.dial(str(siderolink.server_address()), siderolink.DISCOVERY_PORT))

    connection = Channel(connect, "the discovery service", scheme="http", limits=LARGEST_CLUSTER)
    return await _unary(connection, method, request)


async def _unary(connection: Channel, method: Any, request: Any) -> Any:
    try:
        return await connection.unary(method, request, CALL)
    except RpcError as error:
        raise ServiceError(str(error.cause or f"it answered {error.code.name}: {error.details[:200]}")) from None
    finally:
        await connection.close()


async def _connect(address: ServiceAddress) -> PlainStream:
    """To a service elsewhere. Raises OSError."""
    host, _, port = address.target.rpartition(":")
    host = host.strip("[]")
    found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    failure = OSError(f"{host} has no address")
    for target in dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found):
        try:
            _check(target)
            tls = _tls() if address.tls else None
            return PlainStream(
                *await asyncio.open_connection(target, int(port), ssl=tls, server_hostname=host if tls else None)
            )
        except OSError as error:
            failure = error
    raise failure


def _check(target: str) -> None:
    """Configurations are written by tenants: none makes us call what is next to us, or machines. Raises OSError."""
    parsed = ip_address(target)
    address = getattr(parsed, "ipv4_mapped", None) or parsed
    inside = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    if inside or address in siderolink.prefix():
        raise OSError(f"{target} is no address of a service")


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    return context


async def affiliates(cluster_id: str) -> list[pb.Affiliate]:
    """What our service knows of a cluster. Raises ServiceError."""
    return list((await ask_ours(_CLUSTER.List, pb.ListRequest(cluster_id=cluster_id))).affiliates)
