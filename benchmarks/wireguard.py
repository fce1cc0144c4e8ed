"""Bulk over a link: one TCP connection inside WireGuard, from our userspace engine to a machine.

Over UDP the machine is `wireguard-go` with a real TUN and the kernel's TCP, in network namespaces of their own
(`wireguard_bed.py`); the peer that ours is compared with is a second `wireguard-go` in our place, to the same machine.
Where namespaces are not allowed, and over gRPC, which `wireguard-go` has not, both ends are ours and the floor is
sealing alone. Processor is that of our end for a gigabyte, TCP included.
"""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks import floors
from benchmarks.bench import Bench
from benchmarks.rows import Row

UNSHARE = ("unshare", "-Urnm")
TIMEOUT = 120


def measure(bench: Bench) -> list[Row]:
    """Seconds for a gigabyte, and processor for it."""
    rows = []
    ours, theirs = _run("engine", namespaces=True), _run("wireguard-go", namespaces=True)
    if ours and theirs:
        for what, name in (("s", "over UDP"), ("cpu", "over UDP: processor")):
            rows.append(Row(f"a gigabyte {name}", ours[what], "s/GB", theirs[what], "wireguard-go in its place"))
    else:
        rows += _both_ends("udp", "over UDP, both ends ours")
    return rows + _both_ends("grpc", "over gRPC, both ends ours")


def _both_ends(transport: str, name: str) -> list[Row]:
    found = _run(transport, namespaces=False)
    assert found is not None, "needs nothing but loopback"
    least = floors.gigabyte()
    return [
        Row(f"a gigabyte {name}", found["s"], "s/GB", least, "sealing alone"),
        Row(f"a gigabyte {name}: processor", found["cpu"], "s/GB", least, "sealing alone"),
    ]


def _run(scenario: str, *, namespaces: bool) -> dict[str, float] | None:
    """What a scenario of the bed measured; None when namespaces or wireguard-go are not to be had."""
    command = [*(UNSHARE if namespaces else ()), sys.executable, "-m", "benchmarks.wireguard_bed", scenario]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except FileNotFoundError:
        return None
    if done.returncode:
        if not namespaces:
            raise RuntimeError(done.stderr)
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    found: dict[str, float] = json.loads(done.stdout)
    return found
