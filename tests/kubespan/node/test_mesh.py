"""A real mesh: hosts in namespaces, `wireguard-go`, and the discovery service as people run it."""

import subprocess
import sys

import pytest


@pytest.mark.netns
def test_three_hosts_meet_and_heal(tmp_path):
    done = subprocess.run(
        ["unshare", "-Urnm", sys.executable, "-m", "tests.kubespan.node.mesh", tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("the mesh healed\n")
