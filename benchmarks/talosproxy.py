"""Calls to a machine through the talosctl proxy, compared with the same calls by the same client to the machine itself.

Machine, gateway and client are a process each. The gateway is the real public port with TLS, gRPC server and proxy,
with a gate that lets everybody in: what proving and deciding takes is no matter of carrying. What three processes do on
two cores, two do on two when the machine is called itself: so the share of throughput is a lower bound.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.bench import Bench
from benchmarks.rows import Row

TIMEOUT = 300
MORE_AT_MOST, SHARE_AT_LEAST = 0.002, 0.6
"""Seconds that a call may take longer at the median; the throughput's share of the direct one."""


def measure(bench: Bench) -> list[Row]:
    """Milliseconds of a call, calls a second, megabytes a second."""
    with ExitStack() as ending:
        machine, _ = ending.enter_context(_process("machine"))
        gateway, process = ending.enter_context(_process("gateway", machine))
        command = _command("client", machine, gateway, process)
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT)
    found = json.loads(done.stdout)
    direct, proxied = found["direct"], found["proxied"]
    return [
        _call("p50", direct["p50"], proxied["p50"], direct["p50"] + MORE_AT_MOST),
        _call("p99", direct["p99"], proxied["p99"], None),
        Row("64 calls at once through the proxy", 1e3 / proxied["rate"], "ms/call", 1e3 / direct["rate"], "direct"),
        Row("a call through the proxy: processor", found["cpu_call"] * 1e3, "ms/call", None, ""),
        Row(
            "64 kB frames through the proxy",
            1e9 / proxied["speed"],
            "s/GB",
            1e9 / direct["speed"],
            "direct",
            1e9 / direct["speed"] / SHARE_AT_LEAST,
        ),
        Row("64 kB frames through the proxy: processor", found["cpu_byte"] * 1e9, "s/GB", None, ""),
    ]


def _call(name: str, direct: float, proxied: float, goal: float | None) -> Row:
    return Row(f"a call through the proxy, {name}", proxied * 1e3, "ms", direct * 1e3, "direct", goal and goal * 1e3)


@contextmanager
def _process(*arguments: str | int) -> Iterator[tuple[int, int]]:
    """Its port and process id."""
    process = subprocess.Popen(_command(*arguments), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()


def _command(*arguments: str | int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.talosproxy_bed", *map(str, arguments)]
