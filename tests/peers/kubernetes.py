"""A user of a cluster with client-go, through our proxy, in front of the simulator's Kubernetes API.

First the proxy alone, with a gate that knows one token; then `omni serve` as anybody runs it, with simulated machines
and the kubeconfig of a service account, whose key is revoked in the end while it watches.
"""

import asyncio
import base64
import ssl
import tempfile
from pathlib import Path

import httpx

from benchmarks.factory import Factory
from benchmarks.installation import Installation
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.image import Image
from nodeagent.simulator.timings import Timings
from talos.kubeconfig import Kubeconfig
from tests.nodeagent.kubeproxy.simulated import on_tcp, pod, simulated
from tests.peers.place import CLUSTER, TALOS, make_cluster, until_bound
from tests.peers.report import Report

ACCOUNT, GROUP = "deployer", "omni:operator"
PODS = "/api/v1/namespaces/default/pods"
WITHDRAWN = 10.0
"""Seconds within which a watch has to end whose key was revoked."""


async def run(report: Report) -> None:
    """As somebody whom a group gives the role `edit`."""
    await _proxy(report)
    with Factory() as factory:
        server = await asyncio.to_thread(Installation(factory.url).__enter__)
        try:
            url = await asyncio.to_thread(server.join_url)
            options = FleetOptions(
                machines=1, api=url, image=Image(TALOS), factory=factory.url, timings=Timings().scaled(0.1)
            )
            async with Fleet(options) as fleet:
                await asyncio.to_thread(make_cluster, server, [fleet.machines[0].hardware.uuid])
                await asyncio.to_thread(until_bound, server)
                await _served(report, server)
        finally:
            server.__exit__(None, None, None)


async def _proxy(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder, "kubeconfig")
        async with simulated(role="edit") as (b, _), on_tcp(b) as config:
            kubeconfig.write_text(config)
            await report.program("kubernetes", kubeconfig, b.gate.user, *b.gate.groups)
            ended = [ticket.outcomes for ticket in b.gate.tickets if ticket.outcomes]
            report.equal("kubernetes: each request ended once", {len(outcomes) for outcomes in ended}, {1})


async def _served(report: Report, server: Installation) -> None:
    file, key = await asyncio.to_thread(_account, server)
    (cluster,), (user,) = file.clusters.values(), file.users.values()
    trusted = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    headers = {"Authorization": f"Bearer {user['token']}"}
    async with httpx.AsyncClient(base_url=cluster["server"], headers=headers, verify=trusted, timeout=30) as client:
        made = await client.post(PODS, json=pod("web", ["sh", "-c", "echo first line; echo second line"]))
        made.raise_for_status()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "kubeconfig")
            path.write_text(file.to_yaml())
            title, who = "kubernetes, omni serve", f"service-account:{ACCOUNT}"
            async with report.started(title, "kubernetes", path, who, GROUP) as program:
                while await program.check():
                    pass
        async with client.stream("GET", PODS, params={"watch": "1"}) as watching:
            lines = watching.aiter_lines()
            report.equal("kubernetes: a watch begins", bool(await anext(lines)), True)
            await asyncio.to_thread(server.api.post, "access-keys", key, "revoke")
            try:
                async with asyncio.timeout(WITHDRAWN):
                    async for _ in lines:
                        pass
                problem = "it ended as if it were complete"
            except httpx.HTTPError:
                problem = None
            except TimeoutError:
                problem = f"it went on for {WITHDRAWN:g} s"
            report.add("kubernetes: a watch ends with its key", problem)
        report.equal("kubernetes: a revoked key", (await client.get(PODS)).status_code, httpx.codes.UNAUTHORIZED)


def _account(server: Installation) -> tuple[Kubeconfig, str]:
    """A service account's kubeconfig as the command writes it, and the id of its key."""
    server.api.post("service-accounts", json={"name": ACCOUNT, "role": "operator"})
    wish = {"service_account": ACCOUNT, "name": "client-go"}
    file = Kubeconfig.from_yaml(
        server.api.post("clusters", CLUSTER, "service-account-kubeconfig", json=wish)["content"]
    )
    trusted = (server.config.data / "ca.crt").read_bytes()
    for cluster in file.clusters.values():
        cluster["certificate-authority-data"] = base64.b64encode(trusted).decode()
    (key,) = (row["id"] for row in server.api.list("access-keys") if row["name"] == "client-go")
    return file, key
