"""The whole product with simulated machines: nodes find each other by the service inside, over their links; a gateway
that is killed loses nobody; a machine that leaves is found no more."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from kubespan.client import channel
from talos.gen.sidero import discovery_pb2 as pb
from talos.gen.sidero import discovery_pb2_grpc as pb_grpc
from tests.omni.test_serve import Installation, installation

__all__ = ["installation"]

TALOS, KUBERNETES = "1.14.1", "1.36.3"
SOON = 90.0
"""Seconds: a tenth of that is usual; a record that is not deleted stays for half an hour."""


@pytest.fixture
def client(installation: Installation) -> Iterator[httpx.Client]:
    """REST of a new installation, as its owner."""
    installation.serve()
    token = installation.command("admin", "token").stdout.strip()
    with installation.client(headers={"Authorization": f"Bearer {token}"}) as made:
        made.base_url = httpx.URL(f"https://127.0.0.1:{installation.port}/api/v1/organisations/default/")
        yield made


@pytest.fixture
def machines(installation: Installation, client: httpx.Client) -> Iterator[list[str]]:
    """UUIDs of three free machines."""
    token = client.post("join-tokens", json={"name": "t"}).json()
    secret = client.post(f"join-tokens/{token['id']}/reveal").json()["token"]
    command = [sys.executable, "-m", "omni", "simulator", "--machines", "3", "--talos-version", f"v{TALOS}"]
    environment = installation.environment | {
        "OMNI_SIMULATOR_API": f"grpc://127.0.0.1:{installation.port}?jointoken={secret}"
    }
    simulator = subprocess.Popen([*command, "--slowness", "0.05"], env=environment, stderr=installation.log())

    def free() -> list[str]:
        found = client.get("machines").json()["items"]
        return [item["uuid"] for item in found if item["state"]["word"] == "Free"]

    installation.eventually(lambda: len(free()) == 3)
    yield sorted(free())
    simulator.terminate()
    simulator.wait(30)


def template(machines: list[str]) -> str:
    control_plane, *workers = machines
    features = {"useEmbeddedDiscoveryService": True, "disablePublicDiscoveryService": True}
    documents: list[dict[str, Any]] = [
        {
            "kind": "Cluster",
            "name": "prod",
            "kubernetes": {"version": f"v{KUBERNETES}"},
            "talos": {"version": f"v{TALOS}"},
            "features": features,
            "patches": [{"idOverride": "500-prod-kubespan", "inline": {
                "apiVersion": "v1alpha1", "kind": "KubeSpanConfig", "enabled": True}}],
        },
        {"kind": "ControlPlane", "machines": [control_plane]},
        {"kind": "Workers", "machines": workers},
    ]  # fmt: skip
    return str(yaml.safe_dump_all(documents))


def sync(client: httpx.Client, machines: list[str]) -> None:
    answer = client.post("templates/sync", json={"template": template(machines)})
    assert answer.status_code == 200, answer.text


def test_nodes_find_each_other_by_the_service_inside(
    installation: Installation, client: httpx.Client, machines: list[str]
) -> None:
    sync(client, machines)
    installation.eventually(lambda: bool(client.get("clusters/prod/status").json()["ready"]))
    assert client.get("clusters/prod/kubespan").json()["enabled"]

    def up() -> int:
        return int(client.get("clusters/prod/mesh").json()["pairs"]["up"])

    installation.eventually(lambda: up() == 3)
    config = client.get("clusters/prod/config", params={"machine": machines[0]}).json()["content"]
    documents = list(yaml.safe_load_all(config))
    cluster_id = next(item["clusterID"] for item in documents if item.get("kind") == "DiscoveryIdentityConfig")
    assert len(asyncio.run(found(installation, cluster_id))) == 3

    os.kill(installation.process("gateway"), signal.SIGKILL)
    installation.eventually(lambda: answers(client))
    assert len(asyncio.run(found(installation, cluster_id))) == 3

    sync(client, machines[:2])
    asyncio.run(until(installation, cluster_id, lambda ids: len(ids) == 2))


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("clusters").status_code == 200
    except httpx.TransportError:
        return False


async def found(installation: Installation, cluster_id: str) -> set[str]:
    """Who is in the service, as anybody hears on the public port."""
    return await until(installation, cluster_id, lambda ids: True)


async def until(installation: Installation, cluster_id: str, holds: Callable[[set[str]], bool]) -> set[str]:
    """Follow until it is so, and not for long."""
    roots = (installation.data / "ca.crt").read_bytes()
    ids: set[str] = set()
    async with asyncio.timeout(SOON), channel(f"127.0.0.1:{installation.port}", tls=True, roots=roots) as connection:
        watch = pb_grpc.ClusterStub(connection).Watch(pb.WatchRequest(cluster_id=cluster_id), wait_for_ready=True)
        async for response in watch:
            told = {one.id for one in response.affiliates}
            ids = ids - told if response.deleted else ids | told
            if holds(ids):
                return ids
    raise AssertionError("the watch has ended")
