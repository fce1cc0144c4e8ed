"""The one difference between releases of the YAML library that shows in our texts: words that YAML 1.1 took for
something else.

``yes``, ``off``, ``n``, ``12:30:45`` and ``<<`` are strings in YAML 1.2 and quoted out of caution: in single quotes by
the releases that Talos 1.14 is built with, in double quotes by all before.
"""

import re
from typing import Any

from talos.yaml12 import Node, scalars

_WORDS = scalars.OLD_TRUE | scalars.OLD_FALSE | {"<<"}
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")


def double_quoted(value: Any) -> Any:
    """A copy of a plain value that ``yaml12.dump`` writes with such words in double quotes."""
    if isinstance(value, dict):
        return {double_quoted(key): double_quoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [double_quoted(item) for item in value]
    if isinstance(value, str) and (value in _WORDS or _BASE_60.fullmatch(value)):
        return Node("scalar", scalars.STR, 0, value, '"')
    return value
