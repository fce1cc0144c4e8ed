"""Objects by the names that people type."""

import re
from typing import Any

import click

from omni.cli.api import Api

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def uuid_of(api: Api, machine: str) -> str:
    """The UUID of a machine given by its UUID, its name, or the start of either. Raises ClickException."""
    if UUID.fullmatch(machine):
        return machine.lower()
    rows = api.list("machines", q=machine)
    exact = [row for row in rows if row["hostname"] == machine]
    begun = [row for row in rows if row["hostname"].startswith(machine) or row["uuid"].startswith(machine.lower())]
    found = exact or begun
    if len(found) != 1:
        known = ", ".join(f"{row['hostname']} ({row['uuid']})" for row in found[:5]) or "none"
        raise click.ClickException(f"{machine!r} is not the name or UUID of one machine; these fit: {known}")
    return str(found[0]["uuid"])


def one_of(rows: list[dict[str, Any]], given: str, what: str, *keys: str) -> dict[str, Any]:
    """The row that has `given` as one of these keys. Raises ClickException for none and for several."""
    found = [row for row in rows if given in (row[key] for key in keys)]
    if not found:
        known = ", ".join(str(row[keys[0]]) for row in rows[:20]) or "none"
        raise click.ClickException(f"there is no {what} {given!r}; known: {known}")
    if len(found) > 1:
        ids = ", ".join(row["id"] for row in found)
        raise click.ClickException(f"several are called {given!r}; give one of these ids: {ids}")
    return found[0]
