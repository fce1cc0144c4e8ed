"""Simulated machines in a process of their own, so that what they cost is not counted as ours.

`python -m benchmarks.machines` is that process: it is told what to do by lines of JSON and answers each with one.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from benchmarks import processes
from nodeagent.simulator.api import ApiServer, Services
from nodeagent.simulator.calls import Implementation
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.rpc import all_services
from nodeagent.simulator.timings import Timings
from talos.resources import types


class Machines:
    """The process as the harness holds it; a context manager that pulls all plugs."""

    def __init__(self, count: int, api: str, factory: str = "", seed: str = "bench") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.machines"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ask(count=count, api=api, factory=factory, seed=seed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def power_on(self) -> None:
        """Start all at once."""
        self._ask(do="power on")

    def rename(self, index: int, name: str) -> float:
        """Give a machine another host name; when it did so, by the monotonic clock."""
        return float(self._ask(do="rename", index=index, name=name)["at"])

    def calls(self) -> dict[str, int]:
        """How often each method of the machine API was called so far, over all machines."""
        return dict(self._ask(do="calls")["calls"])

    def cpu(self) -> float:
        """Seconds of processor that the machines have used."""
        return processes.cpu(self._process.pid)

    def memory(self) -> int:
        """Bytes that the machines hold."""
        return processes.memory(self._process.pid)

    def _ask(self, **what: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


class _Counted:
    """The machine API with every call counted by its name."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def services(self) -> Services:
        return {
            service: {name: self._counting(f"{service.name}/{name}", call) for name, call in calls.items()}
            for service, calls in all_services().items()
        }

    def _counting(self, name: str, implementation: Implementation) -> Implementation:
        if inspect.isasyncgenfunction(implementation):

            async def stream(call: Any, request: Any) -> Any:
                self.calls[name] += 1
                async for answer in implementation(call, request):
                    yield answer

            return stream

        async def unary(call: Any, request: Any) -> Any:
            self.calls[name] += 1
            return await implementation(call, request)

        return unary


async def _serve(lines: asyncio.StreamReader, answer: Callable[..., None]) -> None:
    wanted = json.loads(await lines.readline())
    files = 256 + 16 * wanted["count"]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files if hard < 0 else min(files, hard), hard))
    counted = _Counted()
    options = FleetOptions(
        machines=wanted["count"],
        api=wanted["api"],
        seed=wanted["seed"],
        timings=Timings(),
        **({"factory": wanted["factory"]} if wanted["factory"] else {}),
    )
    fleet = Fleet(options, ApiServer(counted.services()))
    answer()
    while (line := await lines.readline()) and json.loads(line)["do"] != "power on":
        pass
    async with fleet:
        answer()
        while line := await lines.readline():
            order = json.loads(line)
            if order["do"] == "rename":
                boot = await fleet.machines[order["index"]].booted()
                at = time.monotonic()
                boot.put(types.HOSTNAME_STATUS, {"hostname": order["name"]})
                answer(at=at)
            else:
                answer(calls=counted.calls)


async def _main() -> None:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    def answer(**said: Any) -> None:
        os.write(1, json.dumps(said).encode() + b"\n")

    await _serve(lines, answer)


if __name__ == "__main__":
    asyncio.run(_main())
