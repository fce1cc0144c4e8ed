"""The CEL expressions that select disks, volumes and links: checked with the error texts of Talos (`problem`), and, for
disks, evaluated (`select_disk`)."""

from __future__ import annotations

from talos.config.cel.check import Checker
from talos.config.cel.environments import (
    DISK,
    LINK,
    MEMBER_VOLUME,
    OOM_SCORE,
    OOM_TRIGGER,
    VOLUME,
    Environment,
)
from talos.config.cel.evaluate import EvaluationError, select_disk
from talos.config.cel.parse import Parser, SyntaxProblem
from talos.config.cel.types import name

__all__ = [
    "DISK",
    "LINK",
    "MEMBER_VOLUME",
    "OOM_SCORE",
    "OOM_TRIGGER",
    "VOLUME",
    "Environment",
    "EvaluationError",
    "SyntaxProblem",
    "problem",
    "select_disk",
]


def problem(expression: str, environment: Environment) -> str | None:
    """Why the expression cannot be used in the environment; None if it can."""
    try:
        tree = Parser(expression).parse()
    except SyntaxProblem as error:
        return _shown(expression, error.problems)
    checker = Checker(environment)
    result = checker.check(tree)
    if checker.problems:
        return _shown(expression, sorted(checker.problems))
    if result != environment.result:
        return f"expression output type is {name(result)}, expected {name(environment.result)}"
    return None


def _shown(expression: str, problems: list[tuple[int, str]]) -> str:
    """The problems with line, column, and a mark below the place."""
    lines = expression.split("\n")
    result = []
    for position, text in problems:
        line = expression.count("\n", 0, position)
        column = position - (expression.rfind("\n", 0, position) + 1)
        if not expression:
            result.append(f"ERROR: <input>:1:0: {text}")
        else:
            before, there = lines[line][:column], lines[line][column : column + 1]
            marker = "".join("." if char.isascii() else "．" for char in before) + ("^" if there.isascii() else "＾")
            result.append(f"ERROR: <input>:{line + 1}:{column + 1}: {text}\n | {lines[line]}\n | {marker}")
    return "\n".join(result)
