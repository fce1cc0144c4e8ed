"""Which machines a cluster can take, and how many of a set may change or leave at once. Pure."""

from dataclasses import dataclass
from typing import Any

from apps.reconcile.conditions import State
from talos import semver, versions

ROLLING = 1  # of a strategy's type; without it the numbers beside it do not count

LIFECYCLE = semver.parse("1.13.0")


@dataclass(frozen=True)
class Seen:
    """What is known of a machine that was picked."""

    name: str
    cluster: str = ""  # that has it now
    connected: bool = True
    api_mode: str = ""  # maintenance or secure
    talos_version: str = ""
    installed: bool = False


def blocker(uuid: str, seen: Seen | None, talos_version: str) -> tuple[str, State]:
    """Why a picked machine cannot be taken by a cluster of this Talos version: a sentence and its state, or empty."""
    if seen is None:
        return f"Waiting for machine {uuid} to join.", "wait"
    if seen.cluster:
        return f"Waiting for {seen.name} to leave cluster {seen.cluster}.", "wait"
    if not seen.connected:
        return f"Waiting for {seen.name} to connect.", "off"
    if not seen.talos_version or not seen.api_mode:
        return f"Waiting for {seen.name} to report what it is.", "wait"
    if seen.api_mode == "secure":
        return f"{seen.name} runs a configuration that is not ours. Wipe it by hand, then it can be taken.", "bad"
    problem = version_problem(seen.name, seen.talos_version, seen.installed, talos_version)
    return problem, "bad" if problem else "ok"


def version_problem(name: str, runs: str, installed: bool, wanted: str) -> str:
    """Why a machine of this Talos version cannot become one of the wanted version; empty if it can."""
    has, wants = semver.parse(runs), semver.parse(wanted)
    if (has.major, has.minor) > (wants.major, wants.minor):
        return f"{name} runs Talos {has}, newer than {wants} of the cluster. Boot it from Talos {wants}."
    if installed:
        try:
            versions.check_talos_upgrade(runs, wanted)
        except ValueError as error:
            return f"{name} runs Talos {has} and cannot go to {wants}: {error}."
        return ""
    if min(has, wants) < LIFECYCLE and (has.major, has.minor) != (wants.major, wants.minor):
        return (
            f"{name} runs Talos {has} from memory and cannot install {wants}. "
            f"Boot it from Talos {wants.major}.{wants.minor}."
        )
    return ""


def parallelism(spec: dict[str, Any], strategy: str, otherwise: int) -> int:
    """How many machines of a set may change (`update`) or leave (`delete`) at once.

    `otherwise` holds without a rolling strategy. A number below 1 counts as 1: nothing is frozen by it.
    """
    rolling = (spec.get(f"{strategy}_strategy_config") or {}).get("rolling") or {}
    if spec.get(f"{strategy}_strategy") != ROLLING or rolling.get("max_parallelism") is None:
        return otherwise
    return max(1, int(rolling["max_parallelism"]))
