"""Vectors of what configuration patches may not contain."""

from collections.abc import Callable, Iterable
from pathlib import Path

from talos import yaml12
from talos.config import forbidden
from talos.config.document import ConfigError

from . import config_errors


def cases(data: list, folder: Path) -> Iterable[tuple[str, dict]]:
    for case in data:
        yield case["id"], case


def check(case: dict) -> str | None:
    refused = _error(lambda: forbidden.check(case["patch"]))
    if problem := _difference(case["error"], refused):
        return problem
    sanitized = ""

    def sanitize() -> None:
        nonlocal sanitized
        sanitized = forbidden.sanitize(case["patch"])

    if problem := _difference(case["sanitizeError"], _error(sanitize)):
        return problem
    if list(yaml12.load_all(sanitized)) != list(yaml12.load_all(case["sanitized"])):
        return config_errors.text_difference(case["sanitized"], sanitized)
    return None


def _error(action: Callable[[], None]) -> str | None:
    try:
        action()
    except ConfigError as error:
        return str(error)
    return None


def _difference(expected: str | None, actual: str | None) -> str | None:
    """Compare error texts; lists of errors as sets."""
    if expected and actual and "\n\t* " in expected:
        return None if sorted(expected.splitlines()) == sorted(actual.splitlines()) else f"{expected!r}, got {actual!r}"
    return config_errors.difference(expected, actual)
