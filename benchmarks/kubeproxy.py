"""Requests to a cluster's API through the Kubernetes proxy, compared with the same requests by the same client to the
API itself; and what an idle watch takes.

API server, gateway and client are a process each. The gateway is the real public port with TLS and the proxy, with a
gate that lets everybody in. What three processes do on two cores, two do on two when the API is called itself: so the
share of throughput is a lower bound.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import floors
from benchmarks.bench import Bench
from benchmarks.rows import Row

TIMEOUT = 300
MORE_AT_MOST, SHARE_AT_LEAST = 0.002, 0.6
"""Seconds that a request may take longer at the median; the throughput's share of the direct one."""


def measure(bench: Bench) -> list[Row]:
    """Milliseconds of a request, seconds of a gigabyte, kilobytes of a watch."""
    with ExitStack() as ending:
        api, _ = ending.enter_context(_process("api"))
        path = Path(ending.enter_context(tempfile.TemporaryDirectory()), "kube.sock")
        gateway, process = ending.enter_context(_process("gateway", api, path))
        command = _command("client", api, gateway, process, path)
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT).stdout)
    direct, proxied = found["direct"], found["proxied"]
    bulk, idle = 1e9 / direct["speed"], floors.tls_memory() / 1e3
    return [
        _get("p50", direct["p50"], proxied["p50"], direct["p50"] + MORE_AT_MOST),
        _get("p99", direct["p99"], proxied["p99"], None),
        Row("a Kubernetes get: processor", found["cpu_get"] * 1e3, "ms", None, ""),
        Row("logs through the proxy", 1e9 / proxied["speed"], "s/GB", bulk, "direct", bulk / SHARE_AT_LEAST),
        Row("logs through the proxy: processor", found["cpu_byte"] * 1e9, "s/GB", None, ""),
        Row("each of 1,000 idle watches", found["watch"] / 1e3, "kB", idle, "an idle TLS connection"),
        Row("of that, the public port's", found["front"] / 1e3, "kB", None, ""),
    ]


def _get(name: str, direct: float, proxied: float, goal: float | None) -> Row:
    return Row(f"a Kubernetes get, {name}", proxied * 1e3, "ms", direct * 1e3, "direct", goal and goal * 1e3)


@contextmanager
def _process(*arguments: str | int | Path) -> Iterator[tuple[int, int]]:
    """Its port and process id."""
    process = subprocess.Popen(_command(*arguments), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()


def _command(*arguments: str | int | Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.kubeproxy_bed", *map(str, arguments)]
