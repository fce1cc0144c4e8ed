"""Vectors of configuration differences: the text, and patches by their effect."""

from collections.abc import Iterable
from pathlib import Path

from talos.config import diff, document, patch

from . import config_errors


def cases(data: list, folder: Path) -> Iterable[tuple[str, dict]]:
    for case in data:
        yield case["id"], case


def check(case: dict) -> str | None:
    old, new = document.load(case["original"]), document.load(case["modified"])
    text = diff.unified(old, new)
    if text != case["diff"]:
        return config_errors.text_difference(case["diff"], text)
    patches = diff.patches(old, new)
    if len(patches) != len(case["patches"] or []):
        return f"{len(patches)} patches, expected {len(case['patches'] or [])}"
    for source, wanted in ((patches, document.encode(new)), (case["patches"] or [], case["applied"])):
        applied = patch.apply_text(case["original"], [patch.load_patch(item) for item in source])
        if document.encode(document.load(applied)) != document.encode(document.load(wanted)):
            return config_errors.text_difference(wanted, applied)
    return None
