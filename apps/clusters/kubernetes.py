"""The few questions that are asked of a cluster's own Kubernetes API, through a control plane's link."""

import json
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpcore

from apps.clusters.cluster_steps import Kubernetes
from apps.machines import nodes
from nodeagent.dial import Stream
from nodeagent.tls import Credentials, TlsStream, load_identity

API_SERVER_PORT = 6443
TIMEOUT = 15.0
PAGE = 500  # nodes a list answers at once

LARGEST = 32 * 1024 * 1024
"""Bytes of an answer that is read: a cluster's own API may be anybody's program."""


class KubernetesError(RuntimeError):
    """The API did not do what was asked; the text says what it answered."""


@dataclass(frozen=True)
class Call:
    """One request to the API. `content_type` is that of `body`, which is sent as JSON."""

    method: str
    path: str  # with its query
    body: Any = None
    content_type: str = "application/json"


@dataclass(frozen=True)
class ControlPlane:
    """A control plane's address on the overlay, and the administrator's credentials of its cluster."""

    address: str
    credentials: Credentials


def status(control_plane: ControlPlane) -> Kubernetes:
    """Whether the API is ready, and the nodes it knows. What goes wrong is the reason, not an exception."""
    try:
        ready, nodes_known = nodes.run(_status(control_plane), TIMEOUT)
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
        return Kubernetes(False, f"{type(error).__name__}: {error}".rstrip(": "))
    except (KubernetesError, OSError, TimeoutError) as error:
        return Kubernetes(False, str(error) or "it does not answer")
    return Kubernetes(ready, "" if ready else "it says that it is not ready", nodes_known)


def delete_node(control_plane: ControlPlane, name: str) -> None:
    """Delete a node; one that is not there counts as deleted. Raises KubernetesError, OSError, TimeoutError."""
    try:
        nodes.run(_delete_node(control_plane, name), TIMEOUT)
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
        raise KubernetesError(f"the Kubernetes API does not answer: {error}") from None


def call(control_plane: ControlPlane, *calls: Call) -> list[Any]:
    """The answers to requests made one after the other; None where there is no such object (404).

    Raises KubernetesError at the first that is refused, OSError, TimeoutError.
    """
    try:
        return nodes.run(_calls(control_plane, calls), TIMEOUT)
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
        raise KubernetesError(f"the Kubernetes API does not answer: {error}") from None


async def _calls(control_plane: ControlPlane, calls: Iterable[Call]) -> list[Any]:
    answers: list[Any] = []
    async with _pool(control_plane) as pool:
        for asked in calls:
            body = None if asked.body is None else json.dumps(asked.body).encode()
            code, content = await _call(pool, asked.method, asked.path, body, asked.content_type)
            if code >= 300 and code != 404:
                what = f"{asked.method} {asked.path.partition('?')[0]}"
                raise KubernetesError(f"{what} was answered with {code}: {_reason(content)}")
            answers.append(None if code == 404 else json.loads(content))
    return answers


async def _status(control_plane: ControlPlane) -> tuple[bool, tuple[tuple[str, bool], ...]]:
    async with _pool(control_plane) as pool:
        code, _ = await _call(pool, "GET", "/readyz")
        if code != 200:
            return False, ()
        known: list[tuple[str, bool]] = []
        path = f"/api/v1/nodes?limit={PAGE}"
        after = ""
        while True:
            answer = await _json(pool, path + (f"&continue={quote(after)}" if after else ""))
            known += [(item["metadata"]["name"], _is_ready(item)) for item in answer.get("items") or []]
            after = (answer.get("metadata") or {}).get("continue") or ""
            if not after:
                return True, tuple(known)


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


async def _delete_node(control_plane: ControlPlane, name: str) -> None:
    async with _pool(control_plane) as pool:
        code, body = await _call(pool, "DELETE", f"/api/v1/nodes/{quote(name)}")
    if code not in (200, 202, 404):
        raise KubernetesError(f"deleting node {name} was answered with {code}: {_reason(body)}")


async def _json(pool: httpcore.AsyncConnectionPool, path: str) -> dict[str, Any]:
    code, body = await _call(pool, "GET", path)
    if code != 200:
        raise KubernetesError(f"{path.partition('?')[0]} was answered with {code}: {_reason(body)}")
    answer: dict[str, Any] = json.loads(body)
    return answer


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body).get("message") or "")[:300]
    except (ValueError, AttributeError):
        return body[:300].decode(errors="replace")


async def _call(
    pool: httpcore.AsyncConnectionPool, method: str, path: str, body: bytes | None = None, content_type: str = ""
) -> tuple[int, bytes]:
    headers = [("Host", "kubernetes"), ("Accept", "application/json"), ("User-Agent", "omni")]
    if body is not None:
        headers += [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    content = bytearray()
    async with pool.stream(method, f"https://kubernetes{path}", headers=headers, content=body) as answer:
        async for part in answer.aiter_stream():
            content += part
            if len(content) > LARGEST:
                raise KubernetesError(
                    f"{method} {path.partition('?')[0]} was answered with more than {LARGEST:,} bytes"
                )
        return answer.status, bytes(content)


def _pool(control_plane: ControlPlane) -> httpcore.AsyncConnectionPool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The dialled address is on the overlay and in no certificate: the cluster's own authority alone decides.
    context.check_hostname = False
    context.load_verify_locations(cadata=control_plane.credentials.ca.decode())
    load_identity(context, control_plane.credentials.client)
    return httpcore.AsyncConnectionPool(
        ssl_context=context, max_connections=1, network_backend=_Links(control_plane.address)
    )


class _Links(httpcore.AsyncNetworkBackend):
    """Connections that go over a machine's link, whatever the URL says."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Plain(await nodes.dial(self._address, API_SERVER_PORT))


class _Plain(httpcore.AsyncNetworkStream):
    """A byte stream before TLS."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        tls = TlsStream(*self._stream, ssl_context, server_hostname=server_hostname)
        await tls.handshake()
        return _Secure(tls)

    async def aclose(self) -> None:
        self._stream[1].close()


class _Secure(httpcore.AsyncNetworkStream):
    """A byte stream inside TLS."""

    def __init__(self, tls: TlsStream) -> None:
        self._tls = tls

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._tls.read()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._tls.write(buffer)

    async def aclose(self) -> None:
        self._tls.close()

    def get_extra_info(self, info: str) -> Any:
        return None
