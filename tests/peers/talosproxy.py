"""People with Talos' own client library work on simulated machines through our public port, as they do with talosctl.

The server is `omni serve` as anybody runs it. Both ways to prove who one is are tried with each library: a client
certificate in the talosconfig, and a key that the library makes and a person lets in, in what is a browser here.
"""

import asyncio
import json
import re
import ssl
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from benchmarks.factory import Factory
from benchmarks.installation import Installation
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.image import Image
from nodeagent.simulator.timings import Timings
from tests.peers.report import Report

TALOS, KUBERNETES = "v1.13.8", "v1.36.2"
CLUSTER = "peers"
PROGRAMS = {"before 1.14": "talosproxy-before114", "1.14": "talosproxy"}
PATIENCE = 120.0
LOOK = 0.2


async def run(report: Report) -> None:
    """One server, a cluster of a control plane and a worker, and a machine that waits."""
    with Factory() as factory:
        server = await asyncio.to_thread(Installation(factory.url).__enter__)
        try:
            url = await asyncio.to_thread(server.join_url)
            options = FleetOptions(
                machines=3, api=url, image=Image(TALOS), factory=factory.url, timings=Timings().scaled(0.1)
            )
            async with Fleet(options) as fleet:
                uuids = [machine.hardware.uuid for machine in fleet.machines]
                names = await asyncio.to_thread(_cluster, server, uuids)
                plan = {"talos": TALOS, "nodes": [names[uuids[0]], uuids[1]], "maintenance": uuids[2]}
                for library, program in PROGRAMS.items():
                    for proof in ("certificate", "key"):
                        await _work(report, server, plan, f"talosproxy, library {library}, {proof}", program, proof)
        finally:
            server.__exit__(None, None, None)


async def _work(
    report: Report, server: Installation, plan: dict[str, object], title: str, program: str, proof: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "keys").mkdir()
        (folder / "plan.json").write_text(json.dumps(plan))
        given = server.api.post("talosconfig", json={"cluster": CLUSTER, "proof": proof})
        (folder / "talosconfig").write_text(given["content"])
        browser = _Browser(server)
        async with report.started(title, program, folder, told=browser.read) as running:
            while await running.check():
                pass
        report.equal(f"{title}: keys let in", browser.let_in, 1 if proof == "key" else 0)


def _cluster(server: Installation, uuids: list[str]) -> dict[str, str]:
    """Make a cluster of the first two machines; the host name of each by its UUID."""
    server.wait_for(lambda: _there(server) == len(uuids), PATIENCE, "the machines to come")
    template = (
        f"kind: Cluster\nname: {CLUSTER}\nkubernetes:\n  version: {KUBERNETES}\ntalos:\n  version: {TALOS}\n"
        f"---\nkind: ControlPlane\nmachines:\n  - {uuids[0]}\n---\nkind: Workers\nmachines:\n  - {uuids[1]}\n"
    )
    server.api.post("templates", "sync", json={"template": template})
    with server.database() as database:

        def ready() -> bool:
            row = database.execute("SELECT count(*) FROM clusters_clusterstatus WHERE ready").fetchone()
            return row is not None and row[0] == 1

        server.wait_for(ready, PATIENCE, "the cluster to be ready")
    return {row["uuid"]: row["hostname"] for row in server.api.list("machines")}


def _there(server: Installation) -> int:
    return sum(bool(row["hostname"]) for row in server.api.list("machines"))


class _Browser:
    """Where a person is signed in, and grants what asks."""

    def __init__(self, server: Installation) -> None:
        self.let_in = 0
        link = server.omni("admin", "signin-link").strip()
        context = ssl.create_default_context(cadata=(server.config.data / "ca.crt").read_text())
        self._client = httpx.Client(verify=context, follow_redirects=True, timeout=30)
        self._submit(link)

    def read(self, line: str) -> None:
        """A line that a program shows its user: go where it says."""
        if found := re.search(r"https://\S+", line):
            self._submit(found[0], answer="grant")
            self.let_in += 1

    def _submit(self, url: str, **pressed: str) -> None:
        """Open a page and send its form as it is. Raises httpx.HTTPStatusError."""
        page = self._client.get(url).raise_for_status()
        fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        roles = re.findall(r'<option value="([^"]+)" selected', page.text)
        data = {**fields, **({"role": roles[0]} if roles else {}), **pressed}
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        self._client.post(str(page.url), data=data, headers={"Origin": origin, "Referer": url}).raise_for_status()
