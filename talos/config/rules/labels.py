"""Kubernetes' syntax of labels, annotations and taints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from talos.config.errors import error_list, quote

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAME = re.compile("([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_MAX_NAME = 63
_MAX_SUBDOMAIN = 253
_MAX_ANNOTATIONS = 256 * 1024  # bytes of all keys and values
_RESERVED = ("talos.dev/owned-annotations", "talos.dev/owned-labels", "talos.dev/owned-taints")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

Check = Callable[[Mapping[str, str]], Iterator[str]]


def checked(what: str, check: Check, values: Mapping[str, str] | None) -> Iterator[str]:
    """One error with all findings of a check, if there are any."""
    if findings := list(check(values or {})):
        yield f"{what}: {error_list(findings)}"


def subdomain_problem(value: str) -> str | None:
    """Why the text is not a DNS subdomain; None if it is."""
    if len(value.encode()) > _MAX_SUBDOMAIN:
        return f"domain name length exceeds limit of {_MAX_SUBDOMAIN}: {quote(value)}"
    return None if _SUBDOMAIN.fullmatch(value) else f"domain doesn't match required format: {quote(value)}"


def name_problem(value: str) -> str | None:
    """Why the text is not a name with an optional `prefix/`; None if it is."""
    prefix, slash, name = value.partition("/")
    if "/" in name:
        return f"invalid format: too many slashes: {quote(value)}"
    if not slash:
        name = prefix
    elif not prefix:
        return f"prefix cannot be empty: {quote(value)}"
    elif problem := subdomain_problem(prefix):
        return f"prefix {quote(prefix)} is invalid: {problem}"
    if not name:
        return f"name cannot be empty: {quote(value)}"
    if len(name.encode()) > _MAX_NAME:
        return f"name is too long: {quote(value)} (limit is {_MAX_NAME})"
    return None if _NAME.fullmatch(name) else f"name {quote(name)} is invalid"


def _value_problem(value: str) -> str | None:
    if len(value.encode()) > _MAX_NAME:
        return f"label value length exceeds limit of {_MAX_NAME}: {quote(value)}"
    return None if not value or _NAME.fullmatch(value) else f"label value {quote(value)} is invalid"


def check_labels(values: Mapping[str, str]) -> Iterator[str]:
    """Findings about labels."""
    for key in sorted(values):
        yield from filter(None, (name_problem(key), _value_problem(values[key])))


def check_annotations(values: Mapping[str, str]) -> Iterator[str]:
    """Findings about annotations."""
    for key in sorted(values):
        if problem := name_problem(key):
            yield problem
        if key in _RESERVED:
            yield f"annotation {quote(key)} is reserved"
    if sum(len(key.encode()) + len(value.encode()) for key, value in values.items()) > _MAX_ANNOTATIONS:
        yield f"total annotation size exceeds limit of {_MAX_ANNOTATIONS} bytes"


def check_taints(values: Mapping[str, str]) -> Iterator[str]:
    """Findings about taints, written `[value:]effect`."""
    for key in sorted(values):
        value, colon, effect = values[key].partition(":")
        if problem := name_problem(key):
            yield problem
        elif (effect if colon else value) not in _EFFECTS:
            yield f"invalid taint effect: {quote(effect if colon else value)}"
        elif colon and (problem := _value_problem(value)):
            yield problem
