"""How the vectors of configurations compare error texts.

The words of the YAML library and of Go's standard library are not compared, only what Talos puts around them.
"""

import difflib
import re

_FOREIGN = re.compile(r"yaml: |go-yaml |unexpected end of JSON|invalid character|json: |strconv\.|illegal base64")


def difference(expected: str | None, actual: str | None) -> str | None:
    """None if the texts agree, else one line that shows both."""
    if expected is None or actual is None:
        return None if expected == actual else f"expected {expected!r}, got {actual!r}"
    if foreign := _FOREIGN.search(expected):
        agree = actual.startswith(expected[: foreign.start()])
    else:
        agree = actual == expected
    return None if agree else f"expected {expected!r}, got {actual!r}"


def text_difference(expected: str, actual: str) -> str:
    """The lines in which two texts differ, shortened."""
    lines = difflib.unified_diff(expected.splitlines(), actual.splitlines(), "expected", "actual", lineterm="", n=1)
    return "\n".join(list(lines)[:20])
