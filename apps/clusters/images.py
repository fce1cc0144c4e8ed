"""Which image and which disk a machine gets. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apps.clusters.decision import listed
from talos import schematic as schematics
from talos.config import cel
from talos.template import resources as kinds

SMALLEST = 5 * 10**9
"""Bytes that a disk must exceed to be chosen for an installation."""

PREFIX = "siderolabs/"

Disk = Mapping[str, Any]
"""A disk as the gateway observes it: path, size, transport, readonly, cdrom, secondary, symlinks."""


def wanted_schematic(
    running: str,
    installed_extensions: Sequence[str],
    extensions: Sequence[str] | None,
    kernel_args: Sequence[str] | None,
) -> tuple[str, schematics.Schematic | None]:
    """The id of the schematic a machine shall run, and its content if it has to be made known to the factory.

    `running` is the id of the one it runs (empty if its image names none). Nothing asked for means: keep it.
    """
    if extensions is None and kernel_args is None and running:
        return running, None
    wanted = installed_extensions if extensions is None else extensions
    names = sorted(name if "/" in name else PREFIX + name for name in wanted)
    schematic = schematics.of_extensions(names, list(kernel_args or ()))
    return schematic.id(), schematic


def most_specific(
    levels: Iterable[tuple[Mapping[str, str], Sequence[str]]], uuid: str, machine_set: str
) -> Sequence[str] | None:
    """The extensions that hold for a machine: of itself, else of its set, else of the cluster; None if none says any.

    `levels` are the labels of each configuration of extensions of its cluster, and what it lists.
    """
    found: dict[int, Sequence[str]] = {}
    for labels, extensions in levels:
        of_machine, of_set = labels.get(kinds.LABEL_CLUSTER_MACHINE), labels.get(kinds.LABEL_MACHINE_SET)
        if of_machine is not None and of_machine == uuid:
            found[3] = extensions
        elif of_machine is None and of_set is not None and of_set == machine_set:
            found[2] = extensions
        elif of_machine is None and of_set is None:
            found[1] = extensions
    return found[max(found)] if found else None


def choose_disk(name: str, disks: Sequence[Disk], system_disk: str, disk: str, selector: str) -> tuple[str, str]:
    """The disk to install on, or why none can be chosen: (path, "") or ("", sentence). Both empty: nothing reported.

    An installed machine keeps its system disk; then the disk that was named; then the smallest that is large enough,
    writable, and no part of something larger, USB disks last. A selector narrows that choice, whatever the size.
    """
    if system_disk:
        return system_disk, ""
    if not disks:
        return "", ""
    if disk:
        return _named(name, disks, disk)
    try:
        fitting = [item for item in disks if (_selected(item, selector) if selector else _fits(item))]
    except (cel.EvaluationError, cel.SyntaxProblem) as error:
        return "", f"{name} has the disk selector “{selector}”, which does not work on its disks: {error}."
    if not fitting and selector:
        return "", f"{name} has no disk that fits “{selector}”; it has {_listed(disks)}."
    if not fitting:
        return "", f"{name} has no disk of more than {SMALLEST // 10**9} GB that can be written to: name its disk."
    best = min(fitting, key=lambda item: (item.get("transport") == "usb", int(item.get("size", 0)), str(item["path"])))
    return str(best["path"]), ""


def _named(name: str, disks: Sequence[Disk], wanted: str) -> tuple[str, str]:
    for item in disks:
        if wanted == item.get("path") or wanted in item.get("symlinks", ()):
            return wanted, ""
    return "", f"{name} has no disk {wanted}; it has {_listed(disks)}. Name one of them."


def _listed(disks: Sequence[Disk]) -> str:
    return listed(sorted(str(item.get("path")) for item in disks))


def _writable(disk: Disk) -> bool:
    return not (disk.get("readonly") or disk.get("cdrom") or disk.get("secondary"))


def _fits(disk: Disk) -> bool:
    return _writable(disk) and int(disk.get("size", 0)) > SMALLEST


def _selected(disk: Disk, selector: str) -> bool:
    """Whether a CEL selector takes the disk; one that cannot be written to is never taken."""
    return _writable(disk) and cel.select_disk(selector, {**disk, "dev_path": disk.get("path", "")}, system_disk=False)
