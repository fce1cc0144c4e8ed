"""The engine on an interface: each scenario in namespaces of its own, and what `wg` prints."""

import base64
import subprocess
import sys

import pytest

from nodeagent.wireguard import wg
from tests.nodeagent.wireguard.interface_scenarios import SCENARIOS

KEY = base64.b64encode(bytes(range(32))).decode()
DUMP = (
    f"private\tpublic\t50180\toff\n"
    f"{KEY}\t(none)\t[2001:db8::1]:5000\tfdae::2/128\t1700000000\t10\t20\t25\n"
    f"{KEY}\t(none)\t(none)\tfdae::3/128\t0\t0\t0\toff\n"
)


@pytest.mark.netns
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_on_wireguard_go(scenario):
    done = subprocess.run(
        ["unshare", "-Urnm", sys.executable, "-m", "tests.nodeagent.wireguard.interface_scenarios", scenario],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_dump_is_read():
    linked, fresh = wg.parse_dump(DUMP)
    assert linked == wg.PeerRow(bytes(range(32)), ("2001:db8::1", 5000), 1_700_000_000.0, 10, 20)
    assert (fresh.endpoint, fresh.last_handshake) == (None, None)


def test_another_form_of_dump_is_refused():
    with pytest.raises(ValueError, match="3 fields"):
        wg.parse_dump("interface\na\tb\tc\n")


async def test_a_missing_program_is_named():
    with pytest.raises(OSError, match="no-such-program is not installed"):
        await wg.run("no-such-program")


async def test_a_failure_is_told_in_the_programs_words():
    with pytest.raises(OSError, match=r"ip link show: Device .* does not exist"):
        await wg.run("ip", "link", "show", "nothing0")
