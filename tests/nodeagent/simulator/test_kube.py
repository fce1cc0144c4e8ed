"""The simulator's Kubernetes API, asked through the proxy: who may do what, objects, pods and their streams."""

import asyncio
import io
import json
import os
import struct
import tarfile
import zlib
from typing import Any

import pytest

from nodeagent.simulator.kube import identity, protobuf
from nodeagent.simulator.kube.containers import Container, Nothing
from nodeagent.simulator.kube.http import Failure, Request
from nodeagent.simulator.kube.identity import User
from nodeagent.simulator.kube.spdy import DICTIONARY, Session, SpdyStream
from tests.nodeagent.kubeproxy.bed import PREFIX, Client
from tests.nodeagent.kubeproxy.simulated import RBAC, pod, simulated

PODS = "/api/v1/namespaces/default/pods"
APPLY = "application/apply-patch+yaml"


async def call(client: Client, method: str, path: str, body: Any = None, kind: str = "application/json"):
    """Status and JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    await client.send(method, PREFIX + path, [("Content-Type", kind)], data)
    response, answer = await client.answer()
    return response.status_code, json.loads(answer)


def binding(role: str, group: str) -> dict[str, Any]:
    return {
        "kind": "ClusterRoleBinding",
        "apiVersion": f"{RBAC}/v1",
        "metadata": {"name": group},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "apiGroup": RBAC, "name": group}],
    }


# --- who may do what


async def test_on_behalf_of_whom():
    async with simulated() as (b, _):
        client = await b.client()
        code, review = await call(client, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
        assert code == 201
        assert review["status"]["userInfo"] == {
            "username": "ann@example.com",
            "groups": ["omni:operator", "dev", "system:authenticated"],
        }


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("view", {"get pods"}),
        ("edit", {"get pods", "create pods", "get secrets", "create pods/exec"}),
        ("admin", {"get pods", "create pods", "get secrets", "create pods/exec", "create rolebindings"}),
        (
            "cluster-admin",
            {"get pods", "create pods", "get secrets", "create pods/exec", "create rolebindings", "get nodes"},
        ),
    ],
)
async def test_the_roles_that_every_cluster_has(role: str, may: set[str]):
    asked = {
        "get pods": {"verb": "get", "resource": "pods", "namespace": "default"},
        "create pods": {"verb": "create", "resource": "pods", "namespace": "default"},
        "get secrets": {"verb": "get", "resource": "secrets", "namespace": "default"},
        "create pods/exec": {"verb": "create", "resource": "pods", "subresource": "exec", "namespace": "default"},
        "create rolebindings": {"verb": "create", "resource": "rolebindings", "group": RBAC, "namespace": "default"},
        "get nodes": {"verb": "get", "resource": "nodes"},
    }
    async with simulated(role=role) as (b, _):
        client = await b.client()
        found = set()
        for name, attributes in asked.items():
            body = {"spec": {"resourceAttributes": attributes}}
            _, review = await call(client, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
            if review["status"]["allowed"]:
                found.add(name)
        assert found == may
        code, status = await client.get("/api/v1/nodes")
        if "get nodes" not in may:
            assert (code, status["reason"]) == (403, "Forbidden")
            assert status["message"] == (
                'nodes is forbidden: User "ann@example.com" cannot list resource "nodes" in API group "" at the'
                " cluster scope"
            )


async def test_roles_are_bound_by_applying():
    async with simulated(role="cluster-admin") as (b, objects):
        client = await b.client()
        path = f"/apis/{RBAC}/v1/clusterrolebindings/omni:reader?fieldManager=omni&force=true"
        for _ in range(2):
            code, made = await call(client, "PATCH", path, binding("view", "omni:reader"), APPLY)
            assert code == 200
        assert made["metadata"]["managedFields"][0]["manager"] == "omni"
        version = objects.version
        await call(client, "PATCH", path, binding("view", "omni:reader"), APPLY)
        assert objects.version == version
        b.gate.groups = ("omni:reader",)
        assert (await client.get(PODS))[0] == 200
        assert (await call(client, "DELETE", f"{PODS}/web"))[0] == 403
        assert (await client.get(path))[0] == 403


def test_nobody_impersonates_who_may_not():
    asked = Request("GET", "/", {}, {"impersonate-user": ["root"]}, b"")
    with pytest.raises(Failure, match="cannot impersonate"):
        identity.on_behalf(User("ann", ()), asked, False)
    with pytest.raises(Failure, match="without impersonating a user"):
        identity.on_behalf(User("ann", ()), Request("GET", "/", {}, {"impersonate-uid": ["1"]}, b""), True)
    account = {"impersonate-user": ["system:serviceaccount:a:b"]}
    groups = ("system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated")
    assert identity.on_behalf(User("admin", ()), Request("GET", "/", {}, account, b""), True).groups == groups


async def test_a_service_accounts_token_is_good_while_the_account_lives():
    async with simulated(role="cluster-admin") as (b, objects):
        client = await b.client()
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        assert (await call(client, "POST", accounts, {"metadata": {"name": "bot"}}))[0] == 201
        wish = {"spec": {"expirationSeconds": 600}}
        code, made = await call(client, "POST", f"{accounts}/bot/token", wish)
        assert (code, made["spec"]["expirationSeconds"]) == (201, 600)
        token = made["status"]["token"]

        def user(token: str) -> User | None:
            return identity.authenticate(
                None, Request("GET", "/", {}, {"authorization": [f"Bearer {token}"]}, b""), objects
            )

        found = user(token)
        assert found is not None
        assert found.name == "system:serviceaccount:default:bot"
        with pytest.raises(Failure, match="Unauthorized"):
            user(token[:-2] + "AA")
        await call(client, "DELETE", f"{accounts}/bot")
        await call(client, "POST", accounts, {"metadata": {"name": "bot"}})
        with pytest.raises(Failure, match="Unauthorized"):
            user(token)


# --- objects


async def test_objects_come_change_and_go():
    async with simulated() as (b, _):
        client = await b.client()
        maps = "/api/v1/namespaces/default/configmaps"
        code, made = await call(client, "POST", maps, {"metadata": {"generateName": "a-"}, "data": {"x": "1"}})
        assert code == 201
        name = made["metadata"]["name"]
        assert (await call(client, "POST", maps, {"metadata": {"name": name}}))[1]["reason"] == "AlreadyExists"
        merge = "application/merge-patch+json"
        _, changed = await call(client, "PATCH", f"{maps}/{name}", {"data": {"x": None, "y": "2"}}, merge)
        assert changed["data"] == {"y": "2"}
        assert (await call(client, "PUT", f"{maps}/{name}", made))[1]["reason"] == "Conflict"
        assert (await call(client, "POST", f"{maps}?dryRun=All", {"metadata": {"name": "dry"}}))[0] == 201
        _, listed = await client.get(f"{maps}?fieldSelector=metadata.name%3D{name}")
        assert [item["metadata"]["name"] for item in listed["items"]] == [name]
        assert (await client.get(f"{maps}/dry"))[0] == 404
        assert (await call(client, "DELETE", f"{maps}/{name}"))[0] == 200


async def test_pods_are_put_on_nodes_that_take_them():
    async with simulated(role="cluster-admin") as (b, _):
        client = await b.client()

        async def node_of(name: str) -> str | None:
            pod = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
            return (await call(client, "POST", PODS, pod))[1]["spec"].get("nodeName")

        async def change(node: str, **spec: object) -> None:
            merge = "application/merge-patch+json"
            assert (await call(client, "PATCH", f"/api/v1/nodes/{node}", {"spec": spec}, merge))[0] == 200

        _, one = await client.get("/api/v1/nodes/one")
        await call(client, "POST", "/api/v1/nodes", {"metadata": {"name": "two"}, "status": one["status"]})
        assert {await node_of("a"), await node_of("b")} == {"one", "two"}
        await change("one", unschedulable=True)
        assert [await node_of("c"), await node_of("d")] == ["two", "two"]
        await change("two", taints=[{"key": "k", "effect": "NoSchedule"}])
        assert await node_of("e") is None


async def test_tables_are_what_kubectl_shows():
    async with simulated(role="cluster-admin") as (b, _):
        client = await b.client()
        accept = ("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        _, table = await client.get("/api/v1/nodes", accept)
        assert [column["name"] for column in table["columnDefinitions"]] == [
            "Name",
            "Status",
            "Roles",
            "Age",
            "Version",
        ]
        assert table["rows"][0]["cells"][:3] == ["one", "Ready", "control-plane"]
        _, table = await client.get(PODS, accept)
        assert table["rows"][0]["cells"][:4] == ["web", "1/1", "Running", "0"]


async def test_discovery_names_what_there_is():
    async with simulated() as (b, _):
        client = await b.client()
        for group in (await client.get("/apis"))[1]["groups"]:
            root = f"/apis/{group['preferredVersion']['groupVersion']}"
            assert (await client.get(root))[1]["kind"] == "APIResourceList"
            assert (await client.get(f"/openapi/v3{root}"))[1]["openapi"] == "3.0.0"
        names = {entry["name"] for entry in (await client.get("/api/v1"))[1]["resources"]}
        assert {"pods", "pods/exec", "pods/log", "nodes", "serviceaccounts/token"} <= names
        assert (await client.get("/apis/example.org/v1"))[0] == 404


# --- pods


async def switched(client: Client, path: str, protocol: str) -> bytes:
    """The first bytes after a switch to a websocket."""
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    key = [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Protocol", protocol)]
    await client.send("GET", PREFIX + path, [*upgrade, *key])
    answer = await client.event()
    assert answer.status_code == 101
    headers = dict(answer.headers)
    assert headers[b"sec-websocket-accept"] == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455's own example
    assert headers[b"sec-websocket-protocol"].decode() in protocol
    return client.http.trailing_data[0]


def masked(payload: bytes, opcode: int = 2, *, final: bool = True) -> bytes:
    mask = os.urandom(4)
    size = len(payload)
    length = struct.pack("!BH", 0xFE, size) if size > 125 else struct.pack("!B", 0x80 | size)
    return (
        bytes([(0x80 if final else 0) | opcode])
        + length
        + mask
        + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    )


def messages(data: bytes) -> list[tuple[int, bytes]]:
    """Opcodes and payloads of a server's frames."""
    found = []
    while data:
        size, place = data[1], 2
        if size == 126:
            (size,), place = struct.unpack_from("!H", data, 2), 4
        elif size == 127:
            (size,), place = struct.unpack_from("!Q", data, 2), 10
        found.append((data[0] & 0x0F, data[place : place + size]))
        data = data[place + size :]
    return found


async def test_exec_over_a_websocket():
    async with simulated() as (b, _):
        client = await b.client()
        command = "command=sh&command=-c&command=cat%3B+echo+no+%3E%262%3B+exit+3"
        path = f"{PODS}/web/exec?{command}&stdin=true&stdout=true&stderr=true"
        early = await switched(client, path, "v5.channel.k8s.io, v4.channel.k8s.io")
        client.writer.write(masked(b"", opcode=9) + masked(b"\x00hel", final=False) + masked(b"lo", opcode=0))
        client.writer.write(masked(b"\x00" + b"x" * 300) + masked(b"\xff\x00"))  # and no more to read
        found = messages(early + await client.until_closed())
        assert (10, b"") in found
        assert (
            b"".join(payload[1:] for code, payload in found if code == 2 and payload[0] == 1) == b"hello" + b"x" * 300
        )
        assert b"".join(payload[1:] for code, payload in found if code == 2 and payload[0] == 2) == b"no\n"
        status = json.loads(next(payload[1:] for code, payload in found if code == 2 and payload[0] == 3))
        assert status["reason"] == "NonZeroExitCode"
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
        assert found[-1] == (8, struct.pack("!H", 1000))


async def test_exec_needs_an_upgrade_and_the_right_to_it():
    async with simulated() as (b, _):
        client = await b.client()
        code, status = await client.get(f"{PODS}/web/exec?command=true")
        assert (code, status["message"]) == (400, "Upgrade request required")
    async with simulated(role="view") as (b, _):
        client = await b.client()
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Protocol", "v4.channel.k8s.io")]
        assert (await client.get(f"{PODS}/web/exec?command=true", *upgrade))[0] == 403


async def test_logs_and_what_is_said_to_the_program():
    async with simulated() as (b, objects):
        objects.put("pods", ("default", "many"), pod("many", ["seq", "3000"]))
        client, follower = await b.client(), await b.client()
        await client.send("GET", f"{PREFIX}{PODS}/many/log?tailLines=2")
        assert (await client.answer())[1] == b"2999\n3000\n"
        await client.send("GET", f"{PREFIX}{PODS}/web/log?timestamps=true")
        stamp, _, line = (await client.answer())[1].splitlines()[0].partition(b" ")
        assert stamp.endswith(b"Z")
        assert line == b"first line"
        await follower.send("GET", f"{PREFIX}{PODS}/web/log?follow=true")
        assert (await follower.event()).status_code == 200
        assert (await follower.event()).data == b"first line\nsecond line\n"
        await switched(client, f"{PODS}/web/attach?stdin=true&stdout=true", "v4.channel.k8s.io")
        client.writer.write(masked(b"\x00said\n"))
        assert (await follower.event()).data == b"said\n"


async def test_a_pod_that_is_not_there():
    async with simulated() as (b, _):
        client = await b.client()
        assert (await client.get(f"{PODS}/nobody/log"))[0] == 404
        assert (await client.get(f"{PODS}/web/log?container=other"))[1]["message"] == (
            "container other is not valid for pod web"
        )


# --- SPDY


def test_the_dictionary_is_the_protocols():
    """Its length and checksum: zlib compares the latter, so both ends must have the same to the byte."""
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


class Syn:
    """Makes the frames with which a client opens streams."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def __call__(self, number: int, **headers: str) -> bytes:
        words = [word.encode() for pair in headers.items() for word in pair]
        text = struct.pack("!I", len(headers)) + b"".join(struct.pack("!I", len(word)) + word for word in words)
        block = self._deflate.compress(text) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return struct.pack("!HHIIIH", 0x8003, 1, 10 + len(block), number, 0, 0) + block


async def test_streams_of_spdy():
    sent: list[bytes] = []
    opened: list[SpdyStream] = []
    incoming: asyncio.Queue[bytes] = asyncio.Queue()

    async def write(data: bytes) -> None:
        sent.append(data)

    session = Session(incoming.get, write, b"", opened.append)
    task = asyncio.create_task(session.run())
    syn, inflate = Syn(), zlib.decompressobj(zdict=DICTIONARY)
    frames = syn(1, streamtype="error") + syn(3, streamtype="data", port="80") + struct.pack("!HHII", 0x8003, 6, 4, 7)
    for byte in frames:  # however it comes
        incoming.put_nowait(bytes([byte]))
    incoming.put_nowait(struct.pack("!II", 3, 5) + b"hello" + struct.pack("!II", 3, 0x01000000))
    while len(opened) < 2:
        await asyncio.sleep(0)
    assert opened[1].headers == {"streamtype": "data", "port": "80"}
    assert (await opened[1].read(), await opened[1].read(), await opened[1].read()) == (b"hello", b"", b"")
    await opened[1].write(b"x" * 70000)
    await opened[1].close()
    incoming.put_nowait(b"")
    await task
    assert await opened[0].read() == b""
    replies, ping, *data = sent[:2], sent[2], *sent[3:]
    for number, reply in zip((1, 3), replies, strict=True):
        assert struct.unpack_from("!HHII", reply) == (0x8003, 2, len(reply) - 8, number)
        assert inflate.decompress(reply[12:]) == b"\0\0\0\0"
    assert ping == struct.pack("!HHII", 0x8003, 6, 4, 7)
    assert [len(frame) for frame in data] == [8 + 0xFFFF, 8 + 70000 - 0xFFFF, 8]
    assert data[-1] == struct.pack("!II", 3, 0x01000000)


@pytest.mark.parametrize("port", ["7", "80"])
async def test_ports_over_spdy(port: str):
    request = b"GET / HTTP/1.1\r\n\r\n"
    wanted = (
        request if port == "7" else b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\nthis is web\n"
    )
    async with simulated() as (b, _):
        client, syn = await b.client(), Syn()
        upgrade = [
            ("Connection", "Upgrade"),
            ("Upgrade", "SPDY/3.1"),
            ("X-Stream-Protocol-Version", "portforward.k8s.io"),
        ]
        await client.send("POST", f"{PREFIX}{PODS}/web/portforward", upgrade, b"")
        assert (await client.event()).status_code == 101
        error = syn(1, streamtype="error", port=port, requestid="0")
        data = syn(3, streamtype="data", port=port, requestid="0")
        client.writer.write(error + data + struct.pack("!II", 3, 0x01000000 | len(request)) + request)
        received, ended = b"", set()
        while ended != {1, 3}:
            first, second = struct.unpack("!II", await client.reader.readexactly(8))
            payload = await client.reader.readexactly(second & 0xFFFFFF)
            if not first & 0x80000000:
                received += payload
                ended |= {first} if second >> 24 else set()
        assert received == wanted


async def test_files_are_copied_as_kubectl_does():
    container, made, errors = Container([]), Kept(), Kept()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writing:
        entry = tarfile.TarInfo("folder/a.txt")
        entry.size = 5
        writing.addfile(entry, io.BytesIO(b"hello"))
    assert await container.run(["tar", "-xmf", "-", "-C", "/tmp"], Kept(archive.getvalue()), made, errors) == 0
    assert await container.run(["test", "-d", "/tmp/folder"], Nothing(), made, errors) == 0
    assert await container.run(["cat", "/tmp/folder/a.txt"], Nothing(), made, errors) == 0
    assert bytes(made.data) == b"hello"
    made.data.clear()
    assert await container.run(["tar", "cf", "-", "/tmp/folder"], Nothing(), made, errors) == 0
    with tarfile.open(fileobj=io.BytesIO(made.data)) as reading:
        assert reading.getnames() == ["tmp/folder/a.txt"]
    assert await container.run(["tar", "cf", "-", "/nothing"], Nothing(), made, errors) == 2
    assert await container.run(["sh"], Kept(b"echo one\nexit 6\necho two\n"), made, errors) == 6
    assert await container.run(["vi"], Nothing(), made, errors) == 127
    assert errors.data.splitlines()[-1] == b"vi: not found"


class Kept:
    """A stream that has been written already, and keeps what is written."""

    def __init__(self, data: bytes = b"") -> None:
        self.data, self._unread = bytearray(), data

    async def read(self) -> bytes:
        data, self._unread = self._unread, b""
        return data

    async def write(self, data: bytes) -> None:
        self.data += data


def test_objects_in_protobuf():
    """As kubectl sends a secret: an envelope with the kind, and the object, whose fields have numbers."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    metadata = field(1, b"s") + field(3, b"default") + field(11, field(1, b"a") + field(2, b"b"))
    secret = field(1, metadata) + field(2, field(1, b"p") + field(2, b"\xff")) + field(3, b"Opaque") + b"\x20\x01"
    sent = b"k8s\0" + field(1, field(1, b"v1") + field(2, b"Secret")) + field(2, secret) + field(3, b"")
    assert protobuf.decode(sent) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "default", "labels": {"a": "b"}},
        "data": {"p": "/w=="},
        "type": "Opaque",
    }
    for bad in (b"", b"{}", sent.replace(b"Secret", b"Widget"), b"k8s\0\x0b"):
        with pytest.raises(ValueError, match="protobuf"):
            protobuf.decode(bad)
