"""`python -m benchmarks [NAME ...]`: run all measurements, or those named, and print a table of what they found.

Every figure comes from this run. A ratio compares it with a floor, the least that the same thing costs without us, or
with a peer that does the same thing; both are measured here too, so ratios hold on any machine.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
import traceback

from benchmarks.bench import Bench
from benchmarks.processes import CORES
from benchmarks.rows import Row, table

NAMES = (
    "join", "memory", "idle", "change", "restart", "clusters", "calls", "links", "wireguard", "configs", "access",
    "talosproxy", "kubeproxy", "pages", "mesh", "discovery",
)  # fmt: skip
"""In the order they run: the first ones make servers that later ones go on with."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all without one")
    wanted = parser.parse_args().names or NAMES
    if unknown := set(wanted) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose from {', '.join(NAMES)}")
    rows: list[Row] = []
    broken: list[str] = []
    with Bench() as bench:
        for name in (known for known in NAMES if known in wanted):
            began = time.monotonic()
            print(f"{name} ...", file=sys.stderr, end=" ", flush=True)
            try:
                rows += importlib.import_module(f"benchmarks.{name}").measure(bench)
            except Exception:
                traceback.print_exc()
                broken.append(name)
            print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    one, _, fifteen = os.getloadavg()
    print(table(rows))
    print(f"\n{CORES} cores, Python {sys.version.split()[0]}, load {one:.1f} ({fifteen:.1f} over 15 min)")
    if broken:
        sys.exit(f"not measured: {', '.join(broken)}")


if __name__ == "__main__":
    main()
