"""What all rules share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from talos import goduration, images

Values = Mapping[str, Any]


class Mode(StrEnum):
    """Where the machine runs."""

    METAL = "metal"
    CLOUD = "cloud"
    CONTAINER = "container"


class Warn(str):
    """A finding that does not make a configuration invalid."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Context:
    """How to check. Only a check that is not `local` knows the Talos version and looks at Kubernetes versions."""

    mode: Mode
    local: bool
    talos: str


Rule = Callable[[Values, Context], Iterator[str]]


def at(values: Any, path: str) -> Any:
    """What lies at a dotted path; None if it is not there."""
    for key in path.split("."):
        if not isinstance(values, Mapping):
            return None
        values = values.get(key)
    return values


def nanoseconds(duration: str | None) -> int:
    """A duration field as a number; 0 for an unset one."""
    return goduration.parse(duration) if duration else 0


def required_name(values: Values, text: str) -> Iterator[str]:
    """The error `text` unless the document has a name."""
    if not values.get("name"):
        yield text


def kubernetes_image(image: str, what: str, context: Context) -> Iterator[str]:
    """Findings about a component's image: its version has to run on the Talos version."""
    if context.local:
        return
    try:
        images.check_kubernetes_image(image, context.talos)
    except ValueError as error:
        yield f"{what} image is not valid: {error}"


def unsupported_resources(resources: Values | None) -> Iterator[str]:
    """Pod resources other than CPU and memory; the first one is named."""
    for part in ("requests", "limits"):
        for key in at(resources, part) or {}:
            if key not in ("cpu", "memory"):
                yield f'unsupported pod resource "{key}"'
                return


def first(findings: Iterable[str]) -> Iterator[str]:
    """Only the first finding."""
    for finding in findings:
        yield finding
        return
