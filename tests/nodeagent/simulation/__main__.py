"""Run seeds; stop at the first that fails, and name it."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
import traceback

from tests.nodeagent.simulation.scenario import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.nodeagent.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed only, and say what it was like")
    parser.add_argument("--seeds", type=int, default=10_000, help="how many seeds to run")
    parser.add_argument("--forever", action="store_true", help="run new random seeds until one fails")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        print(run(arguments.seed))
        return 0
    seeds = (random.getrandbits(48) for _ in itertools.count()) if arguments.forever else range(arguments.seeds)
    started = time.monotonic()
    for count, seed in enumerate(seeds, 1):
        try:
            run(seed)
        except Exception:
            traceback.print_exc()
            print(f"seed {seed} fails; repeat with: python -m tests.nodeagent.simulation --seed {seed}")
            return 1
        if count % 1000 == 0:
            print(f"{count} seeds, {count / (time.monotonic() - started):.0f}/s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
