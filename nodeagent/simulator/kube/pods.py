"""What is done with running pods: logs, exec, attach, port-forward."""

from __future__ import annotations

from nodeagent.simulator.kube import portforward, rest, streams
from nodeagent.simulator.kube.containers import Container
from nodeagent.simulator.kube.http import Connection, Failure, Request
from nodeagent.simulator.kube.rest import Place
from nodeagent.simulator.objects import KubernetesObjects, Object

STREAMS = frozenset({"log", "exec", "attach", "portforward"})
_PIECE = 64 * 1024


async def serve(connection: Connection, where: Place, request: Request, objects: KubernetesObjects) -> None:
    """Answer a request for one of STREAMS. Raises Failure, OSError."""
    pod = rest.read(objects, Place(where.kind, where.namespace, where.name))
    container = container_of(objects, pod, request.asked("container"))
    await container.start()
    match where.subresource:
        case "log":
            await _log(connection, request, container)
        case "exec":
            await streams.execute(connection, request, container)
        case "attach":
            await streams.attach(connection, request, container)
        case _:
            await portforward.serve(connection, request, where.name)


def container_of(objects: KubernetesObjects, pod: Object, name: str = "") -> Container:
    """The container with this name, or the first one. Raises Failure (400)."""
    for container in pod["spec"]["containers"]:
        if name in ("", container["name"]):
            command = [*container.get("command", []), *container.get("args", [])]
            key = (pod["metadata"]["uid"], container["name"])
            return objects.containers.setdefault(key, Container(command))
    raise Failure(400, "BadRequest", f"container {name} is not valid for pod {pod['metadata']['name']}")


async def _log(connection: Connection, request: Request, container: Container) -> None:
    stamped, log = request.is_asked("timestamps"), container.log
    begin = max(0, len(log.lines) - int(request.asked("tailLines"))) if request.asked("tailLines") else 0

    def text(line: tuple[str, bytes]) -> bytes:
        return (line[0].encode() + b" " if stamped else b"") + line[1] + b"\n"

    async def tell() -> None:
        waiting, end = bytearray(), len(log.lines)
        for line in log.lines[begin:end]:
            waiting += text(line)
            if len(waiting) >= _PIECE:
                await connection.piece(bytes(waiting))
                waiting.clear()
        if waiting:
            await connection.piece(bytes(waiting))
        if request.is_asked("follow"):
            async for line in log.follow(end):
                await connection.piece(text(line))

    await connection.begin("text/plain")
    if request.is_asked("follow"):
        await streams.until_left(connection.left(), tell())
    else:
        await tell()
    await connection.end()
