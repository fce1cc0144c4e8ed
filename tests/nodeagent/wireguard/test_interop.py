"""Each scenario of `interop.py` in namespaces of its own."""

import subprocess
import sys

import pytest

from tests.nodeagent.wireguard.interop import SCENARIOS

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_against_wireguard_go(scenario):
    done = subprocess.run(
        ["unshare", "-Urnm", sys.executable, "-m", "tests.nodeagent.wireguard.interop", scenario],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
