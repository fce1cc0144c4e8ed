"""`omni demo`: the whole control plane with five machines made of software, and a cluster of them with a mesh.

Everything goes through the REST API and the public port, as it would for a user with real machines.
"""

import asyncio
import contextlib
import os
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from nodeagent.simulator import hardware
from omni import child
from omni.cli.admin import new_owner_token, new_signin_link
from omni.cli.api import Api, Away
from omni.config import Config
from omni.serve import running, until_signal
from talos.config import kubespan
from talos.config.kubespan import KubeSpan
from talos.contract import VersionContract

CONTROL_PLANES, WORKERS = 3, 2
ORGANISATION, CLUSTER, TOKEN = "default", "demo", "demo"
TALOS, KUBERNETES = "v1.13.8", "v1.36.2"
SEED = "talos"
POLL = 0.5
JOIN_SECONDS, READY_SECONDS, AWAY_SECONDS = 120.0, 300.0, 60.0

T = TypeVar("T")


class DemoError(RuntimeError):
    """The demonstration did not get to its end; the text says where it stopped."""


async def demo(config: Config) -> None:
    """Run until Ctrl-C. Raises DemoError, and what `serve.running` raises."""
    started = time.monotonic()
    config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    say(started, f"starting; logs are in {config.data}")
    async with running(config, config.data / "server.log"):
        say(started, f"control plane is up at {config.public_url}")
        token = await asyncio.to_thread(new_owner_token, config, "omni demo", ORGANISATION)
        with Api(config.public_url, token, (config.key_folder / "ca.crt").read_text(), ORGANISATION) as api:
            url = await asyncio.to_thread(_machine_api, api)
            async with _machines(config, url):
                await _show(api, started)
                link = await asyncio.to_thread(new_signin_link, config, organisation=ORGANISATION)
                click.echo(farewell(config, link, await _answer(lambda: _control_plane(api))))
                await until_signal()
                click.echo("stopping", err=True)


def say(started: float, text: str) -> None:
    """One line of progress with the seconds so far."""
    click.echo(f"{time.monotonic() - started:6.1f} s  {text}")


def _machine_api(api: Api) -> str:
    """The URL with its join token that machines dial."""
    rows = [row for row in api.list("join-tokens") if row["name"] == TOKEN]
    row = rows[0] if rows else api.post("join-tokens", json={"name": TOKEN})
    arguments = str(api.post("join-tokens", row["id"], "reveal")["kernel_arguments"])
    return arguments.split()[0].partition("=")[2]


@asynccontextmanager
async def _machines(config: Config, url: str) -> AsyncIterator[None]:
    """Five simulated machines in a process of their own; their disks outlive it."""
    folder = config.data / "machines"
    folder.mkdir(exist_ok=True, mode=0o700)
    with (config.data / "machines.log").open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "omni", "simulator", "--state", str(folder), "--talos-version"),
            *(
                TALOS.removeprefix("v"),
                "--machines",
                str(CONTROL_PLANES + WORKERS),
                "--seed",
                SEED,
                "--factory",
                config.factory_url,
            ),
            *("--cut", cut()),
            env=child.environment() | {"OMNI_SIMULATOR_API": url},  # the token in it is not for the list of processes
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
        if process.returncode is None:
            process.kill()


def cut() -> str:
    """Two machines that do not reach each other over KubeSpan, as numbers: the workers, the last ones by UUID."""
    count = CONTROL_PLANES + WORKERS
    numbers = sorted(range(count), key=lambda index: hardware.build(SEED, index).uuid)
    return ",".join(str(index + 1) for index in numbers[-2:])


async def _show(api: Api, started: float) -> None:
    """Wait for the machines, make the cluster where there is none, and tell how it gets ready."""
    machines = await _joined(api, started)
    existing = await _answer(lambda: api.list("clusters"))
    if any(row["name"] == CLUSTER for row in existing):
        say(started, f"cluster {CLUSTER} is there from the last time")
    else:
        review = await _answer(lambda: api.post("templates", "sync", json={"template": template_of(machines)}))
        say(started, f"template synced: {len(review['changes'])} objects made")
    await _ready(api, started)


async def _answer(ask: Callable[[], T]) -> T:
    """What the server answers; a process of it that is being started again is waited for."""
    deadline = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return await asyncio.to_thread(ask)
        except Away:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(POLL)


async def _joined(api: Api, started: float) -> list[str]:
    """UUIDs of the machines once all are here, those of a former run included."""
    wanted, seen, deadline = CONTROL_PLANES + WORKERS, 0, time.monotonic() + JOIN_SECONDS
    while True:
        rows = await _answer(lambda: api.list("machines", q="connected=yes"))
        known = [row for row in rows if row["reachable"] and row["stage"]]
        if len(known) != seen:
            seen = len(known)
            say(started, f"{seen} of {wanted} machines have dialled in")
        if seen >= wanted:
            return sorted(row["uuid"] for row in known)[:wanted]
        if time.monotonic() > deadline:
            raise DemoError(f"only {seen} of {wanted} machines came within {JOIN_SECONDS:.0f} s; see machines.log")
        await asyncio.sleep(POLL)


def template_of(machines: list[str]) -> str:
    """A template of three control planes and two workers that find each other by our discovery service, in a mesh."""

    def listed(uuids: list[str]) -> str:
        return "\n".join(f"  - {uuid}" for uuid in uuids)

    mesh = textwrap.indent(kubespan.patch(VersionContract.parse(TALOS), KubeSpan()), " " * 6)
    return (
        f"kind: Cluster\nname: {CLUSTER}\nkubernetes:\n  version: {KUBERNETES}\ntalos:\n  version: {TALOS}\n"
        "features:\n  useEmbeddedDiscoveryService: true\n"
        f"patches:\n  - name: kubespan\n    idOverride: 500-{CLUSTER}-kubespan\n    inline: |\n{mesh}"
        f"---\nkind: ControlPlane\nmachines:\n{listed(machines[:CONTROL_PLANES])}\n"
        f"---\nkind: Workers\nmachines:\n{listed(machines[CONTROL_PLANES:])}\n"
    )


async def _ready(api: Api, started: float) -> None:
    told: dict[str, str] = {}
    deadline = time.monotonic() + READY_SECONDS
    while True:
        status: dict[str, Any] = await _answer(lambda: api.get("clusters", CLUSTER, "status"))
        for condition in status["conditions"]:
            if told.get(condition["name"]) != condition["message"]:
                told[condition["name"]] = condition["message"]
                say(started, f"{condition['name']:13} {condition['message']}")
        if status["ready"]:
            return
        if time.monotonic() > deadline:
            raise DemoError(
                f"cluster {CLUSTER} is not ready after {READY_SECONDS:.0f} s; its page says what it waits for"
            )
        await asyncio.sleep(POLL)


def _control_plane(api: Api) -> str:
    """Name of one control plane of the cluster."""
    rows = api.list("machines", q=f"cluster={CLUSTER} role=controlplane", sort="name")
    return str(rows[0]["hostname"])


def farewell(config: Config, link: str, node: str) -> str:
    """What to do next, with names and paths as they are here; `node` is one of the cluster's machines."""
    command = Path(sys.executable).parent / "omni"
    shown = os.path.relpath(command) if command.exists() else "omni"
    return f"""
The cluster is Ready.

  dashboard     {config.public_url}
  sign in       {link}
                (works once, within an hour; the certificate is this installation's own, so the browser asks)

Look around in another terminal:

  {shown} login --data {os.path.relpath(config.data)} --listen {config.listen}
  {shown} machines list
  {shown} cluster status {CLUSTER}
  {shown} mesh show {CLUSTER}
  {shown} cluster template export {CLUSTER} > demo.yaml

Its two workers do not reach each other: their network has a fault, to be seen in the mesh.

Get in with kubectl and talosctl, as yourself:

  {shown} kubeconfig --cluster {CLUSTER} --merge
  kubectl get nodes
  {shown} talosconfig --cluster {CLUSTER} --merge
  talosctl --nodes {node} dashboard

Ctrl-C stops everything. The data stays; the next start goes on from it."""
