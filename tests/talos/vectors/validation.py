"""Vectors of validation: load errors, warnings and the text of all errors."""

from collections.abc import Iterable
from pathlib import Path

from talos.config import document
from talos.config.validate import Mode, validate

from . import config_errors


def cases(data: list, folder: Path) -> Iterable[tuple[str, dict]]:
    for case in data:
        yield case["id"], case


def check(case: dict) -> str | None:
    try:
        config = document.load(case["config"])
    except document.ConfigError as error:
        if case["stage"] != "load":
            return f"does not load: {error}"
        return config_errors.difference(case["error"], str(error))
    if case["stage"] == "load":
        return f"loads, expected: {case['error']}"
    if "completeForBoot" in case and (config.v1alpha1 is not None) != case["completeForBoot"]:
        return f"completeForBoot is not {case['completeForBoot']}"
    report = validate(config, Mode(case["mode"]), strict=case["strict"], local=case["local"])
    if list(report.warnings) != (case["warnings"] or []):
        return f"warnings {list(report.warnings)}, expected {case['warnings']}"
    return config_errors.difference(case["error"], report.error)
