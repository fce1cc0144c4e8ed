"""A user of a cluster with client-go, through our proxy, in front of the simulator's Kubernetes API."""

import tempfile
from pathlib import Path

from tests.nodeagent.kubeproxy.simulated import on_tcp, simulated
from tests.peers.report import Report


async def run(report: Report) -> None:
    """As somebody whom a group gives the role `edit`."""
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder, "kubeconfig")
        async with simulated(role="edit") as (b, _), on_tcp(b) as config:
            kubeconfig.write_text(config)
            await report.program("kubernetes", kubeconfig, b.gate.user, *b.gate.groups)
            ended = [ticket.outcomes for ticket in b.gate.tickets if ticket.outcomes]
            report.equal("kubernetes: each request ended once", {len(outcomes) for outcomes in ended}, {1})
