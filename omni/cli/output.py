"""How client commands print: a table for people, YAML or JSON for programs."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

Column = tuple[str, str | Callable[[dict[str, Any]], Any]]
"""Title, and a key of the row (with dots for what is inside) or a function of it."""

_ACTED_ON = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal acts on instead of showing it, but ends of lines and tabs. Machines say what they like."""

output_option = click.option(
    "-o", "--output", type=click.Choice(["table", "yaml", "json"]), default="table", help="How to print [table]."
)


def show(rows: Any, columns: Sequence[Column], output: str, empty: str = "Nothing to show.") -> None:
    """Print rows (or one row) in the form asked for."""
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    elif output == "yaml":
        click.echo(as_yaml(rows), nl=False)
    else:
        listed = rows if isinstance(rows, list) else [rows]
        if not listed:
            click.echo(empty, err=True)
            return
        table([[_cell(row, source) for _, source in columns] for row in listed], [title for title, _ in columns])


def show_each(rows: Iterable[dict[str, Any]], output: str, text: Callable[[dict[str, Any]], str]) -> None:
    """Print rows one by one as they come: as lines, as JSON objects a line each, or as YAML documents."""
    for row in rows:
        if output == "json":
            click.echo(json.dumps(row))
        elif output == "yaml":
            click.echo(f"---\n{as_yaml(row)}", nl=False)
        else:
            click.echo(inert(text(row)))


def inert(text: str) -> str:
    """A text that a terminal shows and does nothing else with."""
    return _ACTED_ON.sub("\N{REPLACEMENT CHARACTER}", text)


def as_yaml(value: Any) -> str:
    """A value as YAML, keys in their order."""
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120))


def table(rows: list[list[str]], titles: list[str]) -> None:
    """Print columns as wide as their content."""
    lines = [[title.upper() for title in titles], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(titles))]
    for line in lines:
        click.echo(inert("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()))


def _cell(row: dict[str, Any], source: str | Callable[[dict[str, Any]], Any]) -> str:
    value: Any = row
    if callable(source):
        value = source(row)
    else:
        for part in source.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" if item else str(key) for key, item in value.items())
    return "" if value is None else str(value)


def ago(key: str) -> Callable[[dict[str, Any]], Any]:
    """A column that says how long ago a time of the row was."""

    def text(row: dict[str, Any]) -> str:
        stamp = row.get(key)
        if not stamp:
            return ""
        seconds = int((datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds())
        if seconds < 120:
            return f"{max(0, seconds)}s"
        if seconds < 7200:
            return f"{seconds // 60}m"
        return f"{seconds // 3600}h" if seconds < 172800 else f"{seconds // 86400}d"

    return text
