"""People with Talos' own client library work on simulated machines through our public port, as they do with talosctl.

The server is `omni serve` as anybody runs it. Both ways to prove who one is are tried with each library: a client
certificate in the talosconfig, and a key that the library makes and a person lets in, in what is a browser here.
"""

import asyncio
import json
import tempfile
from pathlib import Path

from benchmarks.factory import Factory
from benchmarks.installation import Installation
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.image import Image
from nodeagent.simulator.timings import Timings
from tests.peers.place import CLUSTER, TALOS, Browser, make_cluster
from tests.peers.report import Report

PROGRAMS = {"before 1.14": "talosproxy-before114", "1.14": "talosproxy"}


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
                names = await asyncio.to_thread(make_cluster, server, uuids)
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
        browser = Browser(server)
        async with report.started(title, program, folder, told=browser.read) as running:
            while await running.check():
                pass
        report.equal(f"{title}: keys let in", browser.let_in, 1 if proof == "key" else 0)
