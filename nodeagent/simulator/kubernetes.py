"""A Kubernetes API small enough for one file: health, version, discovery, nodes and pods, over TLS with the
certificates that the machine configuration gives a real one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.x509.oid import NameOID

from nodeagent.simulator.configuration import KUBERNETES_API_PORT, is_address
from nodeagent.simulator.etcd import EtcdCluster
from nodeagent.simulator.objects import Gone, Object
from nodeagent.simulator.tls import server_context
from nodeagent.tls import TlsStream
from talos import pki

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 10.0
HEADER_LIMIT = 64 * 1024
BODY_LIMIT = 3 * 1024 * 1024
_HEALTH = ("/livez", "/readyz", "/healthz")


class Failure(Exception):
    """An answer other than success, as a Status object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def body(self) -> Object:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }


@dataclass(frozen=True)
class Request:
    """One HTTP request. `user` is None without a client certificate."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    user: str | None


class KubernetesApi:
    """The API of one control plane, in front of its cluster's objects."""

    def __init__(self, boot: Boot, cluster: EtcdCluster) -> None:
        self._boot, self._cluster = boot, cluster
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
        certificate = stream.peer_certificate()
        user = None
        if certificate is not None:
            names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            user = str(names[0].value) if names else ""
        incoming = _Incoming(stream)
        try:
            while (request := await incoming.next(user)) is not None:
                if not await self._respond(stream, request):
                    return
        finally:
            stream.close()

    async def _respond(self, stream: TlsStream, request: Request) -> bool:
        """Whether the connection stays open."""
        try:
            if request.query.get("watch") in ("true", "1"):
                await self._watch(stream, request)
                return False
            code, body = 200, self._answer(request)
        except Failure as failure:
            code, body = failure.code, failure.body()
        content = body.encode() if isinstance(body, str) else json.dumps(body, separators=(",", ":")).encode()
        kind = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
        await stream.write(
            f"HTTP/1.1 {code} {_REASONS.get(code, '')}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        return request.headers.get("connection", "").lower() != "close"

    def _answer(self, request: Request) -> Object | str:
        if request.path.startswith(_HEALTH):
            if request.user is None and self._boot.minor < (1, 14):
                raise Failure(401, "Unauthorized", "Unauthorized")
            return "ok"
        if request.user is None:
            raise Failure(401, "Unauthorized", "Unauthorized")
        if request.path == "/version":
            return _version(self._boot.config.kubernetes_version)
        if request.path in _DISCOVERY:
            return _DISCOVERY[request.path]
        return self._objects(request)

    def _objects(self, request: Request) -> Object:
        plural, namespace, name = _resource(request.path)
        objects = self._cluster.objects
        if name is None:
            if request.method != "GET":
                raise _not_allowed(request)
            items = [item for item in objects.list(plural, namespace) if _selected(item, request.query)]
            kind = {"nodes": "NodeList", "pods": "PodList", "namespaces": "NamespaceList"}[plural]
            return {
                "kind": kind,
                "apiVersion": "v1",
                "metadata": {"resourceVersion": str(objects.version)},
                "items": items,
            }
        key = (namespace or "", name)
        found = objects.get(plural, key)
        if found is None:
            raise Failure(404, "NotFound", f'{plural} "{name}" not found')
        if request.method == "GET":
            return found
        if request.method == "DELETE":
            objects.delete(plural, key)
            return {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": {"name": name, "kind": plural, "uid": found["metadata"]["uid"]},
            }
        if request.method == "PATCH":
            return objects.put(plural, key, _patched(found, request))
        if request.method == "PUT":
            return objects.put(plural, key, _json(request))
        raise _not_allowed(request)

    async def _watch(self, stream: TlsStream, request: Request) -> None:
        if request.user is None:
            raise Failure(401, "Unauthorized", "Unauthorized")
        plural, namespace, _ = _resource(request.path)
        objects = self._cluster.objects
        version = int(request.query.get("resourceVersion") or 0)
        await stream.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        if version == 0:
            version = objects.version
            for item in objects.list(plural, namespace):
                if _selected(item, request.query):
                    await _send_event(stream, "ADDED", item)
        try:
            async with asyncio.timeout(float(request.query.get("timeoutSeconds") or 3600)):
                async for event, item in objects.watch(plural, version):
                    if namespace in (None, item["metadata"].get("namespace", "")) and _selected(item, request.query):
                        await _send_event(stream, event, item)
        except TimeoutError:
            pass
        except Gone:
            expired = Failure(410, "Expired", f"too old resource version: {version}")
            await _send_event(stream, "ERROR", expired.body())
        await stream.write(b"0\r\n\r\n")


class _Incoming:
    """Requests of one connection."""

    def __init__(self, stream: TlsStream) -> None:
        self._stream, self._buffer = stream, b""

    async def next(self, user: str | None) -> Request | None:
        """None at the end, or after something that is no HTTP."""
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > HEADER_LIMIT or not await self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        parts = first.split(" ")
        length = headers.get("content-length", "0")
        if len(parts) != 3 or not length.isdigit() or int(length) > BODY_LIMIT:
            return None
        while len(self._buffer) < int(length):
            if not await self._more():
                return None
        body, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
        url = urlsplit(parts[1])
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        return Request(parts[0], unquote(url.path), query, headers, body, user)

    async def _more(self) -> bool:
        data = await self._stream.read()
        self._buffer += data
        return bool(data)


async def _send_event(stream: TlsStream, event: str, item: Object) -> None:
    line = json.dumps({"type": event, "object": item}, separators=(",", ":")).encode() + b"\n"
    await stream.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")


def _resource(path: str) -> tuple[str, str | None, str | None]:
    """Plural kind, namespace (None: all) and name (None: a list). Raises Failure (404)."""
    parts = path.strip("/").split("/")
    if parts[:2] == ["api", "v1"]:
        match parts[2:]:
            case ["nodes" | "namespaces" as plural]:
                return plural, None, None
            case ["nodes" | "namespaces" as plural, name]:
                return plural, None, name
            case ["nodes", name, "status"]:
                return "nodes", None, name
            case ["pods"]:
                return "pods", None, None
            case ["namespaces", namespace, "pods"]:
                return "pods", namespace, None
            case ["namespaces", namespace, "pods", name]:
                return "pods", namespace, name
    raise Failure(404, "NotFound", "the server could not find the requested resource")


def _selected(item: Object, query: dict[str, str]) -> bool:
    """Field selectors of equality and label selectors of equality or existence."""
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, wanted = term.replace("==", "=").partition("=")
        value: Any = item
        for step in path.split("."):
            value = value.get(step, "") if isinstance(value, dict) else ""
        if str(value) != wanted:
            return False
    labels = item["metadata"].get("labels", {})
    for term in filter(None, query.get("labelSelector", "").split(",")):
        name, equals, wanted = term.replace("==", "=").partition("=")
        if name.startswith("!"):
            if name[1:] in labels:
                return False
        elif name not in labels or (equals and labels[name] != wanted):
            return False
    return True


def _json(request: Request) -> Object:
    try:
        value = json.loads(request.body)
    except ValueError:
        raise Failure(400, "BadRequest", "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Failure(400, "BadRequest", "the body is not an object")
    return value


def _patched(old: Object, request: Request) -> Object:
    """A merge patch; a strategic one is taken for the same, as nothing here has lists that merge."""
    kind = request.headers.get("content-type", "")
    if "merge-patch+json" not in kind:
        raise Failure(415, "UnsupportedMediaType", f"patches of type {kind} are not supported")

    def merge(left: Any, right: Any) -> Any:
        if not isinstance(right, dict):
            return right
        merged = dict(left) if isinstance(left, dict) else {}
        for name, value in right.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = merge(merged.get(name), value)
        return merged

    patched: Object = merge(old, _json(request))
    return patched


def _not_allowed(request: Request) -> Failure:
    return Failure(405, "MethodNotAllowed", f"the server does not allow {request.method} here")


def _version(tag: str) -> Object:
    major, minor, *_ = [*tag.removeprefix("v").split("."), "", ""]
    return {"major": major, "minor": minor, "gitVersion": tag, "goVersion": "none", "platform": "linux/amd64"}


_VERBS = {
    "nodes": ["delete", "get", "list", "patch", "update", "watch"],
    "pods": ["delete", "get", "list", "watch"],
    "namespaces": ["get", "list", "watch"],
}
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
_DISCOVERY: dict[str, Object] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {
                "name": plural,
                "singularName": plural[:-1],
                "namespaced": plural == "pods",
                "kind": {"nodes": "Node", "pods": "Pod", "namespaces": "Namespace"}[plural],
                "verbs": verbs,
                "shortNames": {"nodes": ["no"], "pods": ["po"], "namespaces": ["ns"]}[plural],
            }
            for plural, verbs in _VERBS.items()
        ],
    },
}
