"""Three hosts and a discovery service: a mesh from its first packet until one leaves.

Runs as `unshare -Urnm python -m tests.kubespan.node.mesh FOLDER`. Another service may be tried: its command follows,
with {listen} and {snapshot} where it takes its address and the file of its state.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from kubespan.client import DiscoveryClient
from kubespan.crypto import ClusterKey
from kubespan.known import Discovered
from kubespan.node.identity import Identity
from tests.kubespan.node import network
from tests.kubespan.node.network import Eavesdropper, ping

CLUSTER, SECRET = "a-cluster", bytes(range(32))
PORT = 3000
SECONDS = 30.0
"""How long anything may take on a slow machine."""
ALPHA, BETA, BETA_MOVED, ROUTER, GAMMA = (
    "198.51.100.11", "198.51.100.12", "198.51.100.22", "198.51.100.13", "10.0.0.2",
)  # fmt: skip


OURS = [sys.executable, "-m", "omni", "discovery", "--listen", "{listen}", "--snapshot", "{snapshot}"]
OURS += ["--pages", "", "--metrics", ""]


def interface(name: str) -> str:
    return f"ks-{name}"


async def until(happened: Callable[[], bool], what: str) -> None:
    """Wait for something that can only be looked at."""
    try:
        async with asyncio.timeout(SECONDS):
            while not happened():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not within {SECONDS} s: {what}") from None


class Node:
    """The daemon on a host."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._identity = folder / f"{name}.identity"
        self._log = folder / f"{name}.log"
        self.identity = Identity.load(self._identity)
        self.address = str(self.identity.address(CLUSTER))
        self.process: asyncio.subprocess.Process

    async def start(self, cluster: Path, *flags: str) -> None:
        with self._log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *("ip", "netns", "exec", self.name, sys.executable, "-m", "tests.kubespan.node.peer"),
                *("--service", f"http://{network.HOME}:{PORT}", "--cluster", str(cluster)),
                *("--identity", str(self._identity), "--hostname", self.name, "--interface", interface(self.name)),
                *("--wireguard", "wireguard-go", *flags),
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def peers(self) -> set[str]:
        """Public keys of the peers that its WireGuard has."""
        return set(network.run("wg", "show", interface(self.name), "peers").split())

    async def stop(self) -> int:
        self.process.terminate()
        async with asyncio.timeout(SECONDS):
            return await self.process.wait()


class Service:
    """The discovery service, in this namespace."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        names = {"listen": f"{network.HOME}:{PORT}", "snapshot": str(folder / "snapshot")}
        self._command = [word.format(**names) for word in command]
        self._log = folder / "service.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdout=log, stderr=log)
        async with asyncio.timeout(SECONDS):
            while self._process.returncode is None:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(network.HOME, PORT)
                    writer.close()
                    return
                await asyncio.sleep(0.1)
        raise AssertionError("the service ended by itself")

    async def stop(self) -> None:
        assert self._process
        self._process.terminate()
        async with asyncio.timeout(SECONDS):
            await self._process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


async def everybody_reaches_everybody(nodes: list[Node]) -> None:
    for one in nodes:
        for other in nodes:
            if one is not other:
                assert await ping(one.name, other.address, SECONDS), f"{one.name} does not reach {other.name}"


async def scenario(nodes: list[Node], service: Service, cluster: Path) -> None:
    alpha, beta, gamma = nodes
    with contextlib.closing(Eavesdropper()) as ear:
        assert await ping("alpha", BETA, SECONDS)
        ear.hear()
        assert ear.plain, "nothing is heard"
        ear.plain = 0

        await service.start()
        await alpha.start(cluster, "--harvest")
        await beta.start(cluster)
        await gamma.start(cluster)
        await everybody_reaches_everybody(nodes)
        # Addresses of nodes go through the tunnel too, even one that is of no use outside of its own network.
        assert await ping("alpha", GAMMA, SECONDS)
        assert await ping("gamma", BETA, SECONDS)
        ear.hear()
        assert ear.sealed > 0
        assert ear.plain == 0, "pings were heard"

    async with observed() as seen:

        def harvested() -> bool:
            """Alpha tells where it sees gamma, whose own port is another one outside."""
            endpoints = seen[gamma.identity.node_id].endpoints if gamma.identity.node_id in seen else ()
            return any(str(endpoint.ip) == ROUTER and 40000 <= endpoint.port < 41000 for endpoint in endpoints)

        await until(harvested, "the endpoint at which alpha sees gamma is published")

        await service.stop()
        assert await ping("gamma", alpha.address, SECONDS)
        await service.start()

        network.move("beta", BETA, BETA_MOVED)
        assert await ping("beta", alpha.address, SECONDS)
        assert await ping("alpha", beta.address, SECONDS)
        # The translator lets nothing in from an address that gamma never called: gamma has to find it.
        await until(
            lambda: any(str(it.ip) == BETA_MOVED for it in seen[beta.identity.node_id].endpoints),
            "beta tells its address",
        )
        assert not await ping("gamma", beta.address, 1.0)
        gamma.process.send_signal(signal.SIGUSR1)
        assert await ping("gamma", beta.address, SECONDS)

        assert not any(" left\n" in node.log for node in nodes), "a node was lost"
        assert await alpha.stop() == 0
        assert interface("alpha") not in network.inside("alpha", "ip", "-brief", "link")
        assert alpha.identity.node_id not in seen
        for node in (beta, gamma):
            await until(lambda node=node: alpha.identity.public_key not in node.peers(), f"{node.name} lets alpha go")
    assert await ping("beta", gamma.address, SECONDS)
    assert await gamma.stop() == 0

    # Whose interface is taken away cannot go on, and leaves nothing behind.
    network.inside("beta", "ip", "link", "delete", interface("beta"))
    async with asyncio.timeout(SECONDS):
        assert await beta.process.wait() == 1
    for host in ("alpha", "beta", "gamma"):
        assert "fwmark" not in network.inside(host, "ip", "rule")
        assert not network.inside(host, "nft", "list", "tables")


@contextlib.asynccontextmanager
async def observed() -> AsyncIterator[Mapping[str, Discovered]]:
    """What the service says, to somebody who is no node."""
    client = DiscoveryClient(f"http://{network.HOME}:{PORT}", CLUSTER, ClusterKey(SECRET), "observer")
    running = asyncio.create_task(client.run())
    try:
        yield client.affiliates
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def main(folder: Path, command: list[str]) -> None:
    network.make()
    for name, address in (("alpha", ALPHA), ("beta", BETA), ("router", ROUTER)):
        network.add_host(name, address)
    network.add_host_behind("router", "gamma", GAMMA, "10.0.0.1")
    network.inside("gamma", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter")  # as many hosts have it
    cluster = folder / "cluster.yaml"
    cluster.write_text(json.dumps({"cluster": {"id": CLUSTER, "secret": base64.b64encode(SECRET).decode()}}))
    nodes = [Node(name, folder) for name in ("alpha", "beta", "gamma")]
    service = Service(folder, command)
    try:
        await scenario(nodes, service, cluster)
    except BaseException:
        for log in (service.log, *(node.log for node in nodes)):
            print(log[-3000:], file=sys.stderr)
        raise


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:] or OURS))
    print("the mesh healed")
