"""Vectors of configuration patches: loading, applying, and the text that comes out."""

from collections.abc import Iterable
from pathlib import Path

from talos import yaml12
from talos.config import document, patch

from . import config_errors


def cases(data: list, folder: Path) -> Iterable[tuple[str, dict]]:
    for case in data:
        yield case["id"], case


def check(case: dict) -> str | None:
    patches = []
    for index, text in enumerate(case["patches"]):
        try:
            patches.append(patch.load_patch(text))
        except document.ConfigError as error:
            if case.get("stage") != "load_patch" or case["patchIndex"] != index:
                return f"patch {index} was refused: {error}"
            return config_errors.difference(case["error"], str(error))
    if case.get("stage") == "load_patch":
        return f"patch {case['patchIndex']} was accepted, expected: {case['error']}"
    kinds = ["strategic" if isinstance(item, patch.StrategicPatch) else "json6902" for item in patches]
    if kinds != case.get("patchKinds", kinds):
        return f"kinds {kinds}, expected {case['patchKinds']}"
    try:
        output = patch.apply_text(case["config"], patches)
    except document.ConfigError as error:
        if "panic" in case:
            return None
        return config_errors.difference(case.get("error"), str(error))
    if "panic" in case or case.get("error"):
        return f"accepted, expected: {case.get('error') or case['panic']}"
    return _output_difference(case, output, exact=kinds[-1:] != ["json6902"])


def _output_difference(case: dict, output: str, exact: bool) -> str | None:
    expected = case["output"]
    if exact and output != expected:
        return config_errors.text_difference(expected, output)
    if not exact and list(yaml12.load_all(output)) != list(yaml12.load_all(expected)):
        return config_errors.text_difference(expected, output)
    try:
        reencoded = document.encode(document.load(output))
    except document.ConfigError as error:
        return config_errors.difference(case.get("reloadError"), str(error))
    if "reloadError" in case:
        return f"the output loads, expected: {case['reloadError']}"
    wanted = case.get("reencoded", expected)
    return None if reencoded == wanted else config_errors.text_difference(wanted, reencoded)
