"""What deploy/agent/ ships fits the program."""

import configparser
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from omni.cli.agent import agent

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy" / "agent"


def locked(path: Path) -> dict[str, str]:
    """Name to the whole entry, hashes included."""
    entries = re.split(r"\n(?=[A-Za-z])", path.read_text())
    return {entry.split("==")[0]: entry.strip() for entry in entries if "==" in entry.split("\n")[0]}


def test_its_requirements_are_those_of_the_whole() -> None:
    whole, part = locked(ROOT / "requirements.lock"), locked(DEPLOY / "requirements.lock")
    assert part
    assert part.items() <= whole.items()


def test_its_requirements_and_rooms_are_enough() -> None:
    """The command imports, reads its options and makes its TLS with nothing else installed."""
    distributions = packages_distributions()
    given = {name.lower() for name in locked(DEPLOY / "requirements.lock")}
    absent = sorted(
        module
        for module, names in distributions.items()
        if not {name.lower().replace("_", "-") for name in names} & given
    )
    program = f"""
import sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r} + ["apps", "kubespan", "tests"]:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from omni.cli import main
main(["agent", "--server", "https://127.0.0.1:1", "--node", "10.0.0.1", "--state", "/proc/agent"])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "/proc/agent cannot keep the agent's state" in done.stderr
    assert "ModuleNotFoundError" not in done.stderr


def variables() -> set[str]:
    return {str(option.envvar) for option in agent.params if option.envvar}  # type: ignore[attr-defined]


def test_the_unit_gives_what_the_program_reads() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "omni-agent.service")
    service = unit["Service"]
    assert service["ExecStart"].split()[1:] == ["agent"]
    assert service["Environment"].partition("=")[0] in variables()
    assert service["DynamicUser"] == "yes"
    assert service["CapabilityBoundingSet"] == ""


def test_the_environment_file_names_options_that_exist() -> None:
    names = re.findall(r"^#?([A-Z_]+)=", (DEPLOY / "agent.env").read_text(), re.MULTILINE)
    assert set(names) <= variables() | {"HTTPS_PROXY"}


def test_the_container_copies_what_is_there() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    sources = re.findall(r"^COPY (\S+) ", text, re.MULTILINE)
    assert sources
    assert all((ROOT / source).exists() for source in sources)
    assert re.search(r"^USER (?!0|root)", text, re.MULTILINE)
