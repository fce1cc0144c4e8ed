"""Schematics: canonical text and id, for the factories of today and those before."""

from collections.abc import Iterator
from pathlib import Path

from talos import schematic
from tests.talos.vectors import unequal


def cases(data: list, folder: Path) -> Iterator[tuple[str, dict]]:
    for record in data:
        yield record["case"], record


def check(case: dict) -> str | None:
    if "error" in case:
        try:
            schematic.parse(case["input"])
        except ValueError:
            return None
        return f"no error, want {case['error']!r}"
    parsed = schematic.parse(case["input"])
    older_text = case.get("canonical_yaml_rc4", case["canonical"])
    older_id = case.get("schematicId_yaml_rc4", case["schematicId"])
    return (
        unequal("canonical", parsed.canonical(), case["canonical"])
        or unequal("id", parsed.id(), case["schematicId"])
        or unequal("canonical before", parsed.canonical(older_factory=True), older_text)
        or unequal("id before", parsed.id(older_factory=True), older_id)
        or unequal("owned", parsed.owner != "", "communityEditionError" in case)
    )
