"""What the discovery service takes, compared with a bare grpc.aio server that has methods of the same shape
(`discovery_bed.py`): it gives bytes that were made before, and neither reads, checks nor keeps anything.

Both are processes of their own and are measured in turn, with the same client. The service is `omni discovery` as it
comes, its journal and its rate limit included, the latter set out of reach.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import floors, processes
from benchmarks.bench import Bench
from benchmarks.discovery_bed import DATA, HOST, cluster_id, endpoints, new_port
from benchmarks.rows import Row
from kubespan.discovery import records
from talos.gen.sidero import discovery_snapshot_pb2

CLUSTERS, AFFILIATES = 1000, 100
"""Of the large state: 100,000 affiliates."""

WATCHERS, FEW = 1024, 10
SAVE_EVERY, SAVES = 4.0, 3
TIMEOUT = 900
START_SECONDS = 60.0

CPU_GOAL, REPLICAS_GOAL = 1.25, 1.1
MEMORY_GOAL = 250.0
FILE_GOAL, DELAY_GOAL = 2.0, 100.0


@dataclass(frozen=True)
class Server:
    """Processes that answer."""

    ports: list[int]
    pids: list[int]
    metrics: list[int]

    @property
    def called(self) -> tuple[list[int], list[int]]:
        """Ports and processes, as the client wants them."""
        return self.ports, self.pids

    def number(self, name: str) -> float:
        """A metric of the first of them."""
        with urllib.request.urlopen(f"http://{HOST}:{self.metrics[0]}/metrics", timeout=30) as answer:
            found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
        assert found, f"{name} is among the metrics"
        return float(found[1])

    @property
    def memory(self) -> int:
        """Bytes."""
        return sum(processes.memory(pid) for pid in self.pids)


def measure(bench: Bench) -> list[Row]:
    """Microseconds of processor, megabytes, seconds, milliseconds."""
    return [*_calls(), *_events(), *_large(), *_watched()]


def _load(name: str, servers: Iterable[tuple[list[int], list[int]]], *given: Any) -> Any:
    """What the client finds."""
    command = _bed("load", name, list(servers), *given)
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT).stdout)


def _calls() -> list[Row]:
    with _floor(affiliates=10) as bare, _services(1) as one, _services(2) as two:
        # Calls come to one of the two, which orders half of the writes itself: so as many are under way as with one.
        found = _load("calls", [bare.called, one.called, (two.ports[:1], two.pids)])
    rows = []
    for method, words in (("Hello", "Hello"), ("List", "List of 10"), ("AffiliateUpdate", "update")):
        bare_cpu, one_cpu, two_cpu = (seconds * 1e6 for seconds in found[method])
        rows += [
            Row(f"discovery, {words}: processor", one_cpu, "µs", bare_cpu, "bare grpc.aio", bare_cpu * CPU_GOAL),
            Row(
                f"discovery, {words}: two processes together",
                two_cpu,
                "µs",
                one_cpu,
                "one process",
                one_cpu * REPLICAS_GOAL,
            ),
        ]
    return rows


def _events() -> list[Row]:
    rows = []
    for clusters, watchers, count in ((16, FEW, 3), (1, WATCHERS, 2)):
        with _floor(affiliates=0) as bare, _services(1) as one, _services(2) as two:
            found = _load("events", [bare.called, one.called, two.called], clusters, watchers, count)
        bare_cpu, one_cpu, two_cpu = (seconds * 1e3 for seconds in found)
        rows += [
            Row(f"an event to {watchers:,} watchers: processor", one_cpu, "ms", bare_cpu, "bare", bare_cpu * CPU_GOAL),
            Row(
                f"an event to {watchers:,} watchers: two processes together",
                two_cpu,
                "ms",
                one_cpu,
                "one process",
                one_cpu * REPLICAS_GOAL,
            ),
        ]
    return rows


def _large() -> list[Row]:
    """100,000 affiliates in 1,000 clusters: loaded, in memory, saved while there are calls."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.binpb"
        size = _write_snapshot(path, CLUSTERS, AFFILIATES)
        parse = floors.cpu_of(lambda: _parse(path), 1)
        with _floor(affiliates=10, held=CLUSTERS * AFFILIATES) as bare:
            bare_memory = bare.memory / 1e6
            bare_calls = _load("longest", [bare.called], SAVE_EVERY * SAVES)
        with _services(1, path, "--snapshot-interval", f"{SAVE_EVERY:.0f}s") as service:
            memory = service.memory / 1e6
            load = service.number('discovery_storage_last_operation_duration_seconds{operation="load"}')
            ours = _load("longest", [service.called], SAVE_EVERY * SAVES)
            after = service.memory / 1e6
            save = service.number('discovery_storage_last_operation_duration_seconds{operation="save"}')
            saves = service.number('discovery_storage_operations_total{operation="save",status="success"}')
            assert saves >= SAVES - 1, "it saved while it was called"
            write = _write(path, size)
    many = f"{CLUSTERS * AFFILIATES:,} affiliates"
    return [
        Row(f"{many}: memory", memory, "MB", bare_memory, "bare, with their bytes", MEMORY_GOAL),
        Row(f"{many}: memory after saves and calls", after, "MB", bare_memory, "bare, with their bytes", MEMORY_GOAL),
        Row(f"{many}: load", load, "s", parse, "protobuf alone", FILE_GOAL),
        Row(f"{many}: save, beside calls", save, "s", write, "writing the bytes", FILE_GOAL),
        Row(
            "longest of all calls during saves",
            ours["longest"] * 1e3,
            "ms",
            bare_calls["longest"] * 1e3,
            "bare grpc.aio",
            DELAY_GOAL,
        ),
        Row("median of them", ours["median"] * 1e3, "ms", bare_calls["median"] * 1e3, "bare grpc.aio"),
    ]


def _watched() -> list[Row]:
    """One cluster of 1,024 nodes, all of which watch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.binpb"
        _write_snapshot(path, 1, WATCHERS)
        with _floor(affiliates=WATCHERS) as bare, _services(1, path) as one:
            floor, ours = _load("memory", [bare.called, one.called], WATCHERS, cluster_id(0))
    return [Row("1,024 affiliates and watchers: memory", ours / 1e6, "MB", floor / 1e6, "bare grpc.aio")]


# Files


def _write_snapshot(path: Path, clusters: int, affiliates: int) -> int:
    data = os.urandom(DATA)
    with path.open("wb") as file:
        for cluster in range(clusters):
            written = [
                records.affiliate(f"node-{n:039}", data, [(one, 1700.0) for one in endpoints(n)], 1700.0)
                for n in range(affiliates)
            ]
            file.write(records.cluster(cluster_id(cluster), written))
        return file.tell()


def _parse(path: Path) -> None:
    discovery_snapshot_pb2.StateSnapshot.FromString(path.read_bytes())


def _write(path: Path, size: int) -> float:
    """Seconds to write so many bytes to where the snapshot is."""
    content, began = bytes(size), time.perf_counter()
    with path.with_suffix(".floor").open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - began


# Processes


def _bed(*arguments: Any) -> list[str]:
    role, *given = arguments
    return [sys.executable, "-m", "benchmarks.discovery_bed", role, *map(json.dumps, given)]


@contextmanager
def _floor(affiliates: int, held: int = 0) -> Iterator[Server]:
    process = subprocess.Popen(_bed("floor", affiliates, held), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None, "a pipe"
        yield Server([int(process.stdout.readline())], [process.pid], [])
    finally:
        process.kill()
        process.wait()


@contextmanager
def _services(count: int, snapshot: Path | None = None, *flags: str) -> Iterator[Server]:
    """So many processes of the service, each knowing of the others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports, between, numbers = ([new_port() for _ in range(count)] for _ in range(3))
        started = []
        try:
            for at in range(count):
                command = [
                    *(sys.executable, "-m", "omni", "discovery", "--listen", f"{HOST}:{ports[at]}", "--pages", ""),
                    *("--metrics", f"{HOST}:{numbers[at]}", "--rate-limit", "1000000"),
                    *("--snapshot", str(snapshot or folder / f"{at}.binpb"), *flags),
                ]
                if count > 1:
                    peers = ",".join(f"{HOST}:{port}" for port in between)
                    command += ["--peer-listen", f"{HOST}:{between[at]}", "--peers", peers]
                with (folder / f"{at}.log").open("wb") as log:
                    started.append(subprocess.Popen(command, stdout=log, stderr=log))
            for port in numbers:
                _until_ready(port)
            yield Server(ports, [process.pid for process in started], numbers)
        finally:
            for process in started:
                process.kill()
                process.wait()


def _until_ready(port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=5):
            return
        time.sleep(0.05)
    raise TimeoutError("the discovery service does not start")
