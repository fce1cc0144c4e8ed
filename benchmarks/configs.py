"""Machine configurations made in a second: documents generated from a cluster's secrets, and written as YAML.

Compared with the time that libyaml, in C, takes to write the same documents.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache

import yaml

from benchmarks import floors
from benchmarks.bench import Bench
from benchmarks.rows import Row
from talos import secrets
from talos.config.document import encode
from talos.config.generate import GenerateInput, generate
from talos.contract import VersionContract
from talos.machinetype import MachineType

CONTRACT, KUBERNETES = "v1.13", "1.36.2"
TIMES = 100


def measure(bench: Bench) -> list[Row]:
    """Of a control plane, in one process."""
    text = encode(generate(_input(), MachineType.CONTROLPLANE))
    documents = list(yaml.safe_load_all(text))
    began = time.perf_counter()
    for _ in range(TIMES):
        yaml.dump_all(documents, Dumper=yaml.CSafeDumper)
    least = (time.perf_counter() - began) / TIMES
    took = one()
    return [
        Row("one machine configuration", took * 1000, "ms", least * 1000, "libyaml alone"),
        Row("machine configurations", 1 / took, "a second and core", None, ""),
    ]


@cache
def one() -> float:
    """Seconds of processor for one configuration."""
    given = _input()
    return floors.cpu_of(lambda: encode(generate(given, MachineType.CONTROLPLANE)), TIMES)


@cache
def _input() -> GenerateInput:
    contract = VersionContract.parse(CONTRACT)
    return GenerateInput(
        cluster_name="bench",
        endpoint="https://192.0.2.1:6443",
        kubernetes_version=KUBERNETES,
        bundle=secrets.new_bundle(datetime.now(UTC), contract),
        contract=contract,
    )
