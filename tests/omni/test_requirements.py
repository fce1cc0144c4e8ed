"""What the product imports is what `requirements.lock` installs, not what tests happen to bring along."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

LOCK = Path(__file__).parents[2] / "requirements.lock"

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}")

sys.meta_path.insert(0, Missing())
"""


def test_a_worker_with_redis_finds_what_it_imports() -> None:
    held = {_plain(name) for name in re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)}
    missing = {
        name for name, owners in packages_distributions().items() if held.isdisjoint(_plain(owner) for owner in owners)
    }
    assert "pytest" in missing
    program = WITHOUT.format(missing=missing) + "import kombu.transport.redis, celery.worker.worker"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
