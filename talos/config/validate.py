"""Validation of configurations with the rules, and the words, of Talos.

    report = validate(config, Mode.METAL)
    if report.error: ...

Loading already refuses what cannot be read; this is about what a machine would refuse on apply. Warnings do not make a
configuration invalid, except those of the v1alpha1 document in a strict check.
"""

from __future__ import annotations

from dataclasses import dataclass

from talos.config.document import LEGACY, Config
from talos.config.errors import error_list
from talos.config.rules import kubernetes, links, network, storage, system
from talos.config.rules.common import Context, Mode, Rule, Warn
from talos.config.rules.conflicts import conflicts
from talos.config.rules.machine import v1alpha1
from talos.config.rules.whole import whole

__all__ = ["Mode", "Report", "validate"]

LATEST_TALOS = "1.14.1"

_RULES: dict[str, Rule] = {**kubernetes.RULES, **links.RULES, **network.RULES, **storage.RULES, **system.RULES}


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found: errors in their order (each may have several lines) and warnings."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def error(self) -> str | None:
        """All errors as one text, as Talos prints it; None if the configuration is valid."""
        return error_list(self.errors) if self.errors else None


def validate(
    config: Config, mode: Mode, *, strict: bool = False, local: bool = True, talos: str = LATEST_TALOS
) -> Report:
    """Check a configuration.

    `strict`: warnings about the v1alpha1 document are errors. `local`: leave out whether the Kubernetes versions of the
    images run on the Talos version `talos`.
    """
    context = Context(mode, local, talos)
    errors: list[str] = []
    warnings: list[str] = []
    legacy = config.v1alpha1
    if legacy is not None:
        found, warned = _sorted(list(v1alpha1(legacy, context)))
        if strict and legacy.get("machine") is not None:
            found, warned = [*found, *(f"warning: {warning}" for warning in warned)], []
        warnings += warned
        if found:
            errors.append(f"v1alpha1.Config: {error_list(found)}")
    others = [document for document in config.documents if document.kind != LEGACY]
    for document in others:
        if rule := _RULES.get(document.kind):
            found, warned = _sorted(list(rule(document.values, context)))
            warnings += warned
            if found:
                errors.append(f"{document.title}: " + "\n".join(found))
    if legacy is not None:
        for document in others:
            errors += conflicts(document.kind, legacy, document.values)
    found, warned = _sorted(list(whole(config, context)))
    return Report((*errors, *found), (*warnings, *warned))


def _sorted(findings: list[str]) -> tuple[list[str], list[str]]:
    """Errors and warnings apart."""
    errors = [finding for finding in findings if not isinstance(finding, Warn)]
    return errors, [str(finding) for finding in findings if isinstance(finding, Warn)]
