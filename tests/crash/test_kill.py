"""The processes as people run them, killed ten times while a cluster lives its life.

What dies when is drawn from a seed: `pytest tests/crash/test_kill.py --crash-seed 4711` repeats a run, or runs others.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.machine import Machine
from omni.cli.api import Api, Away
from tests.apps.gateways.lab import FAST
from tests.crash.calls import Record
from tests.omni.test_serve import Installation, wait_gone

T = TypeVar("T")

SEED = 20261126
KILLS = 10
CALLS = 20
"""Calls that change a machine and are made at least, whatever dies: META, documents, install, reboot, config, ..."""

ROLES = ["core"] * 3 + ["gateway"] * 3 + ["tree"] * 3 + ["postgres"]
PATIENCE = 150.0
"""Seconds for one change: our longest waits are a minute, and `serve` starts what dies often later each time."""


@pytest.fixture
def installation() -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="omni-kill-") as folder:
        made = Installation(Path(folder) / "data")
        yield made
        if made.server and made.server.poll() is None:
            os.kill(made.server.pid, signal.SIGKILL)
            made.server.wait()
        wait_gone(made.processes())
        log = (made.data.parent / "log").read_text().splitlines()
        print("\n".join(line for line in log if "[http]" not in line))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("seed", metafunc.config.getoption("--crash-seed") or [SEED])


@dataclass
class Killer:
    """Kills what was drawn when the call that was drawn is made."""

    installation: Installation
    plan: dict[int, tuple[str, str]]  # number of a call -> (role, moment)
    killed: list[str] = field(default_factory=list)
    while_installing: int = 0  # kills since the first installation was asked for
    tree_died: asyncio.Event = field(default_factory=asyncio.Event)
    _installing: bool = False

    @classmethod
    def draw(cls, installation: Installation, seed: int) -> Killer:
        drawn = random.Random(seed)
        roles = drawn.sample(ROLES, KILLS)
        numbers = sorted(drawn.sample(range(1, CALLS + 1), KILLS))
        return cls(
            installation,
            {number: (role, drawn.choice(["before", "after"])) for number, role in zip(numbers, roles, strict=True)},
        )

    async def meanwhile(self, moment: str, method: str, number: int) -> None:
        role, wanted = self.plan.get(number, ("", ""))
        self._installing |= method == "Install"
        if moment == wanted:
            self.while_installing += self._installing
            self.killed.append(f"{role} {moment} {method}")
            await self._kill(role)

    async def _kill(self, role: str) -> None:
        server = self.installation.server
        assert server is not None
        while role != "tree":
            try:
                os.kill(self.installation.process(role), signal.SIGKILL)
                return
            except (StopIteration, ProcessLookupError):
                await asyncio.sleep(0.1)  # it is being started: what other processes do cannot be awaited
        if server.poll() is None:
            os.kill(server.pid, signal.SIGKILL)
            self.tree_died.set()

    async def start_again(self) -> None:
        """Start the whole tree again whenever it died."""
        while True:
            await self.tree_died.wait()
            self.tree_died.clear()
            assert self.installation.server is not None
            await asyncio.to_thread(self.installation.server.wait)
            await asyncio.to_thread(wait_gone, self.installation.processes())
            await asyncio.to_thread(self.installation.serve)


@dataclass
class User:
    """Somebody at the REST API who tries again until it answers."""

    api: Api

    async def ask(self, call: Callable[[], T]) -> T:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await asyncio.to_thread(call)
                except Away:
                    await asyncio.sleep(0.2)

    async def until(self, look: Callable[[], Any], say: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (found := await self.ask(look)):
            assert time.monotonic() < deadline, await self.ask(say)
            await asyncio.sleep(0.3)  # what other processes do cannot be awaited
        return found

    async def ready(self, machines: int) -> None:
        def status() -> Any:
            return self.api.get("clusters", "lab", "status")

        def ready() -> bool:
            answer = status()
            return bool(answer["ready"] and len(answer["machines"]) == machines)

        await self.until(ready, lambda: [item["message"] for item in status()["conditions"]])

    async def sync(self, text: str) -> None:
        await self.ask(lambda: self.api.post("templates", "sync", json={"template": text}))


def template(control_plane: str, workers: list[str], patch: str = "") -> str:
    patches = f"patches: [{{name: sysctls, inline: {patch}}}]\n" if patch else ""
    return (
        f"kind: Cluster\nname: lab\nkubernetes: {{version: v1.36.3}}\ntalos: {{version: v1.13.8}}\n{patches}"
        f"---\nkind: ControlPlane\nmachines: [{control_plane}]\n---\nkind: Workers\nmachines: {workers}\n"
    )


async def test_ten_kills(monkeypatch: pytest.MonkeyPatch, installation: Installation, seed: int) -> None:
    killer = Killer.draw(installation, seed)
    print(f"seed {seed}: {killer.plan}")
    record = Record(killer.meanwhile)
    record.install(monkeypatch)
    await asyncio.to_thread(installation.serve)
    token = (await asyncio.to_thread(installation.command, "admin", "token")).stdout.strip()
    starting = asyncio.create_task(killer.start_again())
    url, authority = f"https://127.0.0.1:{installation.port}", (installation.data / "ca.crt").read_text()
    try:
        with Api(url, token, authority, "default") as api:
            user = User(api)
            await live(user, installation, record, killer)
    finally:
        starting.cancel()
        print("killed:", killer.killed)
    assert len(killer.killed) == KILLS


async def live(user: User, installation: Installation, record: Record, killer: Killer) -> None:
    """Three machines join, become a cluster, are configured otherwise, one leaves, and all are given back."""
    api = user.api
    row = await user.ask(lambda: api.post("join-tokens", json={"name": "lab"}))
    arguments = (await user.ask(lambda: api.post("join-tokens", row["id"], "reveal")))["kernel_arguments"]
    options = FleetOptions(machines=4, api=arguments.split()[0].partition("=")[2], timings=FAST, seed="kill")
    async with Fleet(options) as fleet:
        first, second, third, bystander = (machine.hardware.uuid for machine in fleet.machines)

        def joined() -> bool:
            rows = api.list("machines")
            return sum(bool(row["reachable"] and row["stage"] == "maintenance") for row in rows) == 4

        await user.until(joined, lambda: [(row["uuid"], row["stage"], row["error"]) for row in api.list("machines")])
        await user.sync(template(first, [second, third]))
        await user.ready(3)
        patch = '{machine: {sysctls: {vm.max_map_count: "262144"}}}'
        await user.sync(template(first, [second, third], patch))
        await user.ready(3)
        await user.sync(template(first, [second], patch))
        await user.ready(2)
        await user.ask(lambda: api.delete("clusters", "lab"))
        await user.until(lambda: not api.list("clusters"), lambda: api.get("clusters", "lab", "status")["conditions"])
        await user.until(joined, lambda: api.list("machines"))
        audit = [row["verb"] for row in await user.ask(lambda: api.list("audit"))]

    for verb, times in {
        "machine.join": 4,
        "cluster.create": 1,
        "cluster.bootstrapped": 1,
        "cluster.removed": 1,
    }.items():
        assert audit.count(verb) == times, verb
    for uuid in (first, second, third):
        assert record.count(uuid, "Install") == 1
        assert record.count(uuid, "Reboot") == 1
        assert record.count(uuid, "Reset") == 1
        # It completes an installation whose end nobody saw, and shows nothing until the machine reboots: another kill
        # before that has it asked for again. It writes the same image.
        assert record.count(uuid, "Upgrade") <= killer.while_installing
        assert record.count(uuid, "Bootstrap") == (uuid == first)
    assert {made.method for made in record.made if made.uuid == bystander} == {"MetaWrite", "ApplyConfiguration"}
    for machine in fleet.machines:
        assert_one_token(record, machine)


def assert_one_token(record: Record, machine: Machine) -> None:
    """No unique token was overwritten by another."""
    written = [
        made.request for made in record.made if made.uuid == machine.hardware.uuid and made.method == "MetaWrite"
    ]
    assert len({(request.key, request.value) for request in written}) == 1
