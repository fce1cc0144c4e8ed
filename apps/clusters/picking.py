"""Which machines a cluster can take, and how many of a set may change or leave at once. Pure."""

from dataclasses import dataclass
from typing import Any

from apps.clusters import networks
from apps.clusters.networks import Network
from apps.reconcile.conditions import State
from talos import semver, versions
from talos.template import NO_ENDPOINT, Endpoint

ROLLING = 1  # of a strategy's type; without it the numbers beside it do not count

LIFECYCLE = semver.parse("1.13.0")
"""Since this release a machine is installed by a call in maintenance mode; before, by its configuration."""

READABLE = semver.parse("1.10.0")
"""Since this release a machine in maintenance mode tells those who are not its administrator which Talos it runs."""


@dataclass(frozen=True)
class Seen:
    """What is known of a machine that was picked."""

    name: str
    cluster: str = ""  # that has it now
    connected: bool = True
    api_mode: str = ""  # maintenance or secure
    talos_version: str = ""
    installed: bool = False
    schematic: str = ""  # of what it runs; empty when its image names none
    reaches_us: bool = True  # can its link carry connections to us
    admin_in_maintenance: bool = True  # are we more than its reader before it is configured
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What a cluster asks of a machine that becomes part of it."""

    talos_version: str
    endpoint: Endpoint = NO_ENDPOINT
    control_plane: bool = False
    schematic: str = ""  # that this machine shall run; empty for whichever it runs


def blocker(uuid: str, seen: Seen | None, wanted: Wanted) -> tuple[str, State]:
    """Why a picked machine cannot be taken as it is: a sentence and its state; the sentence is empty if it can."""
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
    problem = (
        version_problem(
            seen.name, seen.talos_version, seen.installed, wanted.talos_version, admin=seen.admin_in_maintenance
        )
        or _schematic_problem(seen, wanted)
        or endpoint_problem(seen, wanted)
    )
    if problem:
        return problem, "bad"
    if wanted.control_plane and wanted.endpoint.virtual_ip and not seen.networks:
        return f"Waiting for {seen.name} to report its networks.", "wait"
    return "", "ok"


def version_problem(name: str, runs: str, installed: bool, wanted: str, *, admin: bool = True) -> str:
    """Why a machine of this Talos version cannot become one of the wanted version; empty if it can.

    Without `admin`, nothing but its first configuration can be given to it in maintenance mode.
    """
    has, wants = semver.parse(runs), semver.parse(wanted)
    if (has.major, has.minor) > (wants.major, wants.minor):
        return f"{name} runs Talos {has}, newer than {wants} of the cluster. Boot it from Talos {wants}."
    if not admin and has < READABLE:
        return f"{name} runs Talos {has}; behind an agent it takes {READABLE.major}.{READABLE.minor} or newer."
    if installed and not admin and has != wants:
        return (
            f"{name} has Talos {has} on its disk, and behind an agent that cannot become {wants} before it is "
            f"configured. Ask for Talos {has}, or boot it once from Talos {wants} with talos.experimental.wipe=system."
        )
    if installed:
        try:
            versions.check_talos_upgrade(runs, wanted)
        except ValueError as error:
            return f"{name} runs Talos {has} and cannot go to {wants}: {error}."
        return ""
    by_config = not admin or min(has, wants) < LIFECYCLE
    if by_config and (has.major, has.minor) != (wants.major, wants.minor):
        return (
            f"{name} runs Talos {has} from memory and cannot install {wants}. "
            f"Boot it from Talos {wants.major}.{wants.minor}."
        )
    return ""


def endpoint_problem(seen: Seen, wanted: Wanted) -> str:
    """Why the cluster's endpoint does not fit this machine; empty if it does, as far as the machine told."""
    if not seen.reaches_us and not wanted.endpoint:
        return (
            f"{seen.name} is behind an agent and cannot reach the endpoint that this installation gives a cluster. "
            "Give the cluster its own: endpoint.address, or endpoint.virtualIP."
        )
    if wanted.control_plane and wanted.endpoint.virtual_ip and seen.networks:
        return networks.virtual_ip_problem(seen.name, wanted.endpoint.virtual_ip, seen.networks)
    return ""


def _schematic_problem(seen: Seen, wanted: Wanted) -> str:
    """A machine that is installed keeps its image until it is configured, where we are not its administrator."""
    if seen.admin_in_maintenance or not seen.installed or not wanted.schematic or not seen.schematic:
        return ""
    if seen.schematic == wanted.schematic:
        return ""
    return (
        f"{seen.name} has schematic {seen.schematic[:8]} on its disk, and behind an agent that cannot become "
        f"{wanted.schematic[:8]}, which systemExtensions or kernelArgs ask for, before it is configured. "
        "Leave them out, or boot it once from its medium with talos.experimental.wipe=system."
    )


def parallelism(spec: dict[str, Any], strategy: str, otherwise: int) -> int:
    """How many machines of a set may change (`update`) or leave (`delete`) at once.

    `otherwise` holds without a rolling strategy. A number below 1 counts as 1: nothing is frozen by it.
    """
    rolling = (spec.get(f"{strategy}_strategy_config") or {}).get("rolling") or {}
    if spec.get(f"{strategy}_strategy") != ROLLING or rolling.get("max_parallelism") is None:
        return otherwise
    return max(1, int(rolling["max_parallelism"]))
