"""Vectors of redacted configurations."""

from collections.abc import Iterable
from pathlib import Path

from talos.config import document
from talos.config.redact import redact

from . import config_errors


def cases(data: list, folder: Path) -> Iterable[tuple[str, dict]]:
    for case in data:
        yield case["id"], case


def check(case: dict) -> str | None:
    try:
        config = document.load(case["config"])
    except document.ConfigError as error:
        return config_errors.difference(case["error"], str(error))
    if case["error"]:
        return f"loads, expected: {case['error']}"
    output = document.encode(redact(config, case["replacement"]))
    if output != case["output"]:
        return config_errors.text_difference(case["output"], output)
    try:
        document.load(output)
    except document.ConfigError as error:
        return config_errors.difference(case.get("reloadError"), str(error))
    return f"the output loads, expected: {case['reloadError']}" if case.get("reloadError") else None
