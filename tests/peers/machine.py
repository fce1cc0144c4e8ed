"""An operator with Talos' own client library takes our simulated machines from maintenance mode to a cluster.

The machines, their configurations and the talosconfigs are ours; every call is the library's.
"""

import json
import os
import tempfile
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.image import Image
from nodeagent.simulator.timings import Timings
from talos import pki, roles, secrets, talosconfig
from talos.config import document
from talos.config.generate import GenerateInput, generate
from talos.contract import VersionContract
from talos.machinetype import MachineType
from tests.peers.report import Report

#: Talos -> Kubernetes, of which one takes the other. Before Talos 1.13 a small server answers in maintenance mode.
VERSIONS = {"v1.12.4": "1.35.0", "v1.13.8": "1.36.0", "v1.14.1": "1.37.0"}
CONTROL_PLANES = 3


async def run(report: Report) -> None:
    """One small cluster for each Talos version."""
    for talos, kubernetes in VERSIONS.items():
        contract = VersionContract.parse(talos)
        with tempfile.TemporaryDirectory() as folder:
            addresses = _addresses()
            _plan(Path(folder), talos, kubernetes, contract, addresses)
            options = FleetOptions(
                machines=len(addresses),
                image=Image(talos),
                listen_base=addresses[0],
                timings=Timings().scaled(0.1),
            )
            async with Fleet(options), report.started(f"machine {talos}", "machine", folder) as program:
                while await program.check():
                    pass


def _addresses() -> list[str]:
    """Loopback addresses that another run at the same time does not use."""
    base = ip_address(f"127.{64 + os.getpid() // 250 % 128}.{1 + os.getpid() % 250}.1")
    return [str(base + index) for index in range(CONTROL_PLANES + 1)]


def _plan(folder: Path, talos: str, kubernetes: str, contract: VersionContract, addresses: list[str]) -> None:
    now = datetime.now(UTC)
    bundle = secrets.new_bundle(now, contract)
    common = GenerateInput(
        cluster_name="peers",
        endpoint=f"https://{addresses[0]}:6443",
        kubernetes_version=kubernetes,
        bundle=bundle,
        contract=contract,
        install_disk="/dev/vda",
        install_image=f"ghcr.io/siderolabs/installer:{talos}",
        additional_sans=addresses,
        discovery=False,
    )
    *control_planes, worker = [
        {"address": address, "config": document.encode(generate(common, _type(index)))}
        for index, address in enumerate(addresses)
    ]
    plan = {
        "version": talos,
        "maintenanceServer": not contract.at_least(1, 13),
        "controlPlanes": control_planes,
        "worker": worker,
        "kubernetes": common.endpoint,
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    for name, role in {"talosconfig": roles.ADMIN, "talosconfig.reader": roles.READER}.items():
        client = pki.talos_client(bundle.os, [role], now)
        config = talosconfig.generate("peers", addresses[:1], bundle.os.crt, client)
        (folder / name).write_text(config.to_yaml())


def _type(index: int) -> MachineType:
    return MachineType.CONTROLPLANE if index < CONTROL_PLANES else MachineType.WORKER
