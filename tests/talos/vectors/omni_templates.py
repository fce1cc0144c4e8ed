"""Cluster templates: the resources they stand for, or what is wrong with them."""

import re
from collections.abc import Iterator
from pathlib import Path

from talos import template, yaml12
from tests.talos.vectors import unequal


def cases(data: list, folder: Path) -> Iterator[tuple[str, dict]]:
    for record in data:
        yield record["id"], record


def check(case: dict) -> str | None:
    try:
        loaded = template.load(case["template"])
        template.validate(loaded)
        resources = template.translate(loaded)
    except template.TemplateError as error:
        if case.get("error") is None:
            return f"{error.stage}: {error}"
        return unequal("stage", error.stage, case["stage"]) or unequal("error", own(str(error)), own(case["error"]))
    if case.get("error") is not None:
        return f"no error, want {case['error']!r}"
    got = list(yaml12.load_all(template.render(resources)))
    want = list(yaml12.load_all(case["resources"]))
    return (
        unequal("cluster", loaded.cluster.name, case["clusterName"])
        or unequal("ids", [ident(resource) for resource in got], [ident(resource) for resource in want])
        or next((found for pair in zip(got, want, strict=True) if (found := unequal("resource", *pair))), None)
    )


def ident(resource: dict) -> str:
    return f"{resource['metadata']['type']}/{resource['metadata']['id']}"


FOREIGN = [
    # What YAML libraries and operating systems say after the place that is named.
    re.compile(r"(?s)(error decoding (?:document at line \d+:\d+|template): ).*"),
    re.compile(r"""(failed to access "[^"]*": ).*"""),
    re.compile(r"""(failed to validate (?:inline )?patch "[^"]*": (?:decode error: )?)(?:yaml: |go-yaml ).*"""),
]


def own(text: str) -> str:
    """An error without the words of others, of which only their being there is compared."""
    for pattern in FOREIGN:
        text = pattern.sub(r"\1", text)
    return text
