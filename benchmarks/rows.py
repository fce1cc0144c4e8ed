"""What a measurement says: a figure, and a floor or peer measured in the same run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `floor` is in the unit of `value`, `of` says what it is. `goal` is the most that `value` should be, None without.
    """

    what: str
    value: float
    unit: str
    floor: float | None
    of: str
    goal: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the floor it is."""
        return self.value / self.floor if self.floor else None


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def table(rows: Iterable[Row]) -> str:
    """Markdown."""
    lines = ["| measured | figure | ratio | to | goal |", "|---|---|---|---|---|"]
    for row in rows:
        ratio = "" if row.ratio is None else number(row.ratio)
        floor = row.of if row.floor is None else f"{row.of}: {number(row.floor)} {row.unit}"
        goal = "" if row.goal is None else f"{number(row.goal)} {row.unit}: {'met' if row.value <= row.goal else 'no'}"
        lines.append(f"| {row.what} | {number(row.value)} {row.unit} | {ratio} | {floor} | {goal} |")
    return "\n".join(lines)
