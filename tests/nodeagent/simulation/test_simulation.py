"""Ten thousand seeds. A failure names its seed: `python -m tests.nodeagent.simulation --seed N` repeats it."""

import pytest

from tests.nodeagent.simulation.scenario import run

SEEDS = 10_000
BATCH = 1_000


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_streams_survive_the_network(first):
    for seed in range(first, first + BATCH):
        try:
            run(seed)
        except Exception as failure:
            raise AssertionError(f"seed {seed} fails") from failure


def test_a_seed_repeats_exactly():
    assert [run(seed) for seed in range(20)] == [run(seed) for seed in range(20)]
