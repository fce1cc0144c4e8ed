"""One API server in front of its cluster's objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import h11
from cryptography import x509

from nodeagent.simulator.kube import catalog, identity, pods, rbac, rest, reviews, streams, tables
from nodeagent.simulator.kube.http import Connection, Failure, Request
from nodeagent.simulator.kube.identity import User
from nodeagent.simulator.kube.rbac import Attributes
from nodeagent.simulator.kube.rest import Place
from nodeagent.simulator.objects import Gone, KubernetesObjects, Object
from nodeagent.tls import TlsStream

_HEALTH = ("/livez", "/readyz", "/healthz")
WATCH_SECONDS = 3600.0


class Api:
    """`version` tells the tag that `/version` says; `open_health` whether health is told to anybody."""

    def __init__(self, objects: KubernetesObjects, version: Callable[[], str], *, open_health: bool) -> None:
        self._objects, self._version, self._open_health = objects, version, open_health
        rbac.prepare(objects)

    async def serve(self, stream: TlsStream) -> None:
        """All requests of one connection, after its handshake. Raises OSError."""
        connection, certificate = Connection(stream), stream.peer_certificate()
        with suppress(h11.RemoteProtocolError):
            while (request := await connection.request()) is not None:
                try:
                    await self._respond(connection, certificate, request)
                except Failure as failure:
                    await connection.answer(failure.code, failure.body())
                if not connection.again():
                    return

    async def _respond(self, connection: Connection, certificate: x509.Certificate | None, request: Request) -> None:
        user = identity.authenticate(certificate, request, self._objects)
        if request.path.startswith(_HEALTH) and (user is not None or self._open_health):
            await connection.answer(200, "ok")
            return
        if user is None:
            raise Failure(401, "Unauthorized", "Unauthorized")
        may = rbac.allowed(user, Attributes("impersonate", resource="users"), self._objects)
        user = identity.on_behalf(user, request, may)
        told = _version(self._version()) if request.path == "/version" else catalog.discovery(request.path)
        if told is not None:
            rbac.demand(user, Attributes("get", path=request.path), self._objects)
            await connection.answer(200, told)
            return
        where = rest.place(request.path)
        rbac.demand(user, where.attributes(request), self._objects)
        if where.subresource in pods.STREAMS:
            await pods.serve(connection, where, request, self._objects)
        elif request.is_asked("watch"):
            await self._watch(connection, where, request)
        else:
            await connection.answer(*self._object(where, request, user))

    def _object(self, where: Place, request: Request, user: User) -> tuple[int, Object]:
        """Code and body of everything that is answered at once. Raises Failure."""
        objects, dry = self._objects, request.asked("dryRun") == "All"
        match request.method, where:
            case "POST", Place(kind=kind) if kind in catalog.REVIEWS:
                return 201, reviews.answer(kind.plural, user, request.object(), objects)
            case "POST", Place(subresource="token"):
                return 201, identity.issue(objects, rest.read(objects, where), request.object())
            case "POST", Place(subresource="eviction"):
                rest.delete(objects, where, request)
                return 201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
            case "POST", Place(name=""):
                return 201, rest.create(objects, where, request.object(), dry=dry)
            case "GET" | "HEAD", Place(name=""):
                listed = rest.objects_list(objects, where, request)
                if tables.wanted(request.header("accept")):
                    return 200, tables.table(where.kind.name, listed["items"], listed["metadata"]["resourceVersion"])
                return 200, listed
            case "GET" | "HEAD", _:
                found = rest.read(objects, where)
                if tables.wanted(request.header("accept")):
                    return 200, tables.table(where.kind.name, [found], found["metadata"]["resourceVersion"])
                return 200, found
            case "PUT", Place(name=name) if name:
                return 200, rest.replace(objects, where, request.object(), dry=dry)
            case "PATCH", Place(name=name) if name:
                return 200, rest.patch(objects, where, request)
            case "DELETE", Place(name=name) if name:
                return 200, rest.delete(objects, where, request)
        raise Failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    async def _watch(self, connection: Connection, where: Place, request: Request) -> None:
        objects, plural = self._objects, where.kind.plural
        as_table = tables.wanted(request.header("accept"))
        version = int(request.asked("resourceVersion") or 0)

        async def send(event: str, item: Object) -> None:
            if item["metadata"].get("namespace", "") != where.namespace and where.namespace:
                return
            if (where.name and item["metadata"]["name"] != where.name) or not rest.selected(item, request):
                return
            shown = tables.table(where.kind.name, [item], item["metadata"]["resourceVersion"]) if as_table else item
            await connection.line({"type": event, "object": shown})

        async def tell(version: int) -> None:
            if version == 0:
                version = objects.version
                for item in objects.list(plural, where.namespace or None):
                    await send("ADDED", item)
            try:
                async for event, item in objects.watch(plural, version):
                    await send(event, item)
            except Gone:
                expired = Failure(410, "Expired", f"too old resource version: {version}")
                await connection.line({"type": "ERROR", "object": expired.body()})

        await connection.begin()
        with suppress(TimeoutError):
            async with asyncio.timeout(float(request.asked("timeoutSeconds") or WATCH_SECONDS)):
                await streams.until_left(connection.left(), tell(version))
        await connection.end()


def _version(tag: str) -> Object:
    major, minor, *_ = [*tag.removeprefix("v").split("."), "", ""]
    return {"major": major, "minor": minor, "gitVersion": tag, "goVersion": "none", "platform": "linux/amd64"}
