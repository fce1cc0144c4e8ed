"""The proxy in front of the simulator's Kubernetes API."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import ip_address

from nodeagent import dial
from nodeagent.caller import Caller
from nodeagent.simulator.kube.app import Api
from nodeagent.simulator.objects import KubernetesObjects, Object, timestamp
from nodeagent.simulator.tls import server_context
from talos import pki
from tests.nodeagent.kubeproxy.bed import PREFIX, TOKEN, Bed, authority, bed

RBAC = "rbac.authorization.k8s.io"
VERSION = "v1.36.3"


def objects(*, role: str = "edit") -> KubernetesObjects:
    """A cluster with a node and a pod, whose `omni:operator` have a role."""
    made = KubernetesObjects()
    for namespace in ("default", "kube-system"):
        made.put(
            "namespaces", ("", namespace), {"kind": "Namespace", "apiVersion": "v1", "status": {"phase": "Active"}}
        )
    node = {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": timestamp()}],
            "nodeInfo": {"kubeletVersion": VERSION},
        },
    }
    made.put("nodes", ("", "one"), node)
    made.put("pods", ("default", "web"), pod("web", ["sh", "-c", "echo first line; echo second line"]))
    binding = {
        "kind": "ClusterRoleBinding",
        "apiVersion": f"{RBAC}/v1",
        "subjects": [{"kind": "Group", "apiGroup": RBAC, "name": "omni:operator"}],
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
    }
    made.put("clusterrolebindings", ("", "omni:operator"), binding)
    return made


def pod(name: str, command: list[str]) -> Object:
    container = {"name": "main", "image": "example.org/main:1", "command": command}
    status = {
        "phase": "Running",
        "containerStatuses": [
            {"name": "main", "image": "", "ready": True, "restartCount": 0, "state": {"running": {}}}
        ],
    }
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "spec": {"nodeName": "one", "containers": [container]},
        "status": status,
    }


@contextlib.asynccontextmanager
async def simulated(*, role: str = "edit") -> AsyncIterator[tuple[Bed, KubernetesObjects]]:
    """A proxy, and what its cluster has."""
    kept = objects(role=role)
    async with bed(Api(kept, lambda: VERSION, open_health=False).serve) as b:
        yield b, kept


@contextlib.asynccontextmanager
async def on_tcp(b: Bed, token: str = TOKEN) -> AsyncIterator[str]:
    """A kubeconfig for programs that know no unix sockets. As the public port does, what is in front has TLS and says
    who calls."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("peername")[:2]
        connection = await Caller("https", host, port).connect(b.socket)
        with contextlib.suppress(asyncio.CancelledError):
            await dial.join((reader, writer), await asyncio.open_unix_connection(sock=connection))

    front = pki.kube_apiserver(authority(), datetime.now(UTC), [ip_address("127.0.0.1")], [])
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server_context(front, protocol="http/1.1"))
    try:
        yield _kubeconfig(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}{PREFIX}", token)
    finally:
        server.close()


def _kubeconfig(server: str, token: str) -> str:
    trusted = base64.b64encode(authority().crt).decode()
    cluster = {"server": server, "certificate-authority-data": trusted}
    context = {"cluster": "acme-prod", "namespace": "default", "user": "ann"}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "acme-prod", "cluster": cluster}],
            "contexts": [{"name": "acme-prod", "context": context}],
            "current-context": "acme-prod",
            "users": [{"name": "ann", "user": {"token": token}}],
        }
    )
